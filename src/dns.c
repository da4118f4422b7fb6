/* SPDX-License-Identifier: MIT
 *
 * dns.c - names to addresses. The module "neap.core.dns".
 */
#include "internal.h"

int neap__open_dns(lua_State *L) {
  lua_createtable(L, 0, 8);
  return 1;
}
