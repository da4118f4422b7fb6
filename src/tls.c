/* SPDX-License-Identifier: MIT
 *
 * tls.c - TLS as a filter of streams. The module "neap.core.tls".
 */
#include "internal.h"

int neap__open_tls(lua_State *L) {
  lua_createtable(L, 0, 8);
  return 1;
}
