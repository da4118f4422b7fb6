/* SPDX-License-Identifier: MIT
 *
 * fs.c - calls to the file system. The module "neap.core.fs".
 */
#include "internal.h"

int neap__open_fs(lua_State *L) {
  lua_createtable(L, 0, 8);
  return 1;
}
