/* SPDX-License-Identifier: MIT
 *
 * process.c - child processes. The module "neap.core.process".
 */
#include "internal.h"

int neap__open_process(lua_State *L) {
  lua_createtable(L, 0, 8);
  return 1;
}
