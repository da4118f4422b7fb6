/* SPDX-License-Identifier: MIT
 *
 * net.c - TCP and Unix sockets: connecting and listening. The module "neap.core.net".
 */
#include "internal.h"

int neap__open_net(lua_State *L) {
  lua_createtable(L, 0, 8);
  return 1;
}
