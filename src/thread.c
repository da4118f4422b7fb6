/* SPDX-License-Identifier: MIT */
#include "job.h"

int neap__open_thread(lua_State *L) {
  lua_createtable(L, 0, 0);
  return 1;
}
