/* SPDX-License-Identifier: MIT
 *
 * tty.c - terminals. The module "neap.core.tty".
 */
#include "internal.h"

int neap__open_tty(lua_State *L) {
  lua_createtable(L, 0, 8);
  return 1;
}
