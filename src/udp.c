/* SPDX-License-Identifier: MIT
 *
 * udp.c - datagrams. The module "neap.core.udp".
 */
#include "internal.h"

int neap__open_udp(lua_State *L) {
  lua_createtable(L, 0, 8);
  return 1;
}
