/* SPDX-License-Identifier: MIT */
#include "share.h"

int neap__open_buffer(lua_State *L) {
  lua_createtable(L, 0, 0);
  return 1;
}
