/* SPDX-License-Identifier: MIT
 *
 * signals.c - waiting for signals. The module "neap.core.signal".
 */
#include "internal.h"

int neap__open_signals(lua_State *L) {
  lua_createtable(L, 0, 8);
  return 1;
}
