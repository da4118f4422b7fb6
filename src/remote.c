/* SPDX-License-Identifier: MIT */
#include "job.h"

void neap__remote_open(lua_State *L, neap_runtime *rt) {
  (void)L, (void)rt;
}
