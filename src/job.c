/* SPDX-License-Identifier: MIT */
#include "job.h"

void neap__jobs_close(neap__loop *loop, lua_State *L) {
  (void)loop, (void)L;
}
