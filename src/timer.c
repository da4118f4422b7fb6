/* SPDX-License-Identifier: MIT
 *
 * timer.c - sleeping. A sleeping task's deadline lives inside the task, so a sleep
 * costs no memory and no system call; sleep(0) only goes to the end of the ready list.
 */
#include "internal.h"

#include <math.h>

static void on_due(neap__timer *timer) {
  neap_wake(neap__container_of(timer, neap_wait, link), 0);
}

static neap_aborted sleep_abort(neap_wait *wait) {
  neap__timer_disarm(wait->task->future.loop, &neap__link_of(wait)->timer);
  return NEAP_ABORT_DONE;
}

/* The arguments are still on the stack: all but the delay are given back. */
static int sleep_finish(lua_State *L, neap_wait *wait) {
  if (NEAP__UNLIKELY(wait->status < 0))
    return neap__raise_cancelled(L, neap__rt(L));
  return lua_gettop(L) - 1;
}

/* sleep(delay, ...) -> ... after `delay` seconds; 0 or less: after every task that is
 * ready has had its turn. Waits. */
static int l_sleep(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  int is_integer;
  lua_Number delay = 0;
  if (lua_tointegerx(L, 1, &is_integer) != 0 || !is_integer) {
    delay = luaL_checknumber(L, 1);
    if (NEAP__UNLIKELY(delay != delay))
      luaL_argerror(L, 1, "seconds expected, got NaN");
  }
  neap__check_park(rt, L, "neap.sleep");
  neap_task *task = rt->current;
  neap_wait *wait = &task->own;
  neap__loop *loop =
      task->co != NULL ? task->future.loop : neap__the_loop(L, rt);
  if (delay <= 0) {
    if (NEAP__LIKELY(task->co != NULL)) return neap__yield(rt, L, "neap.sleep");
    neap__own_wait(rt, sleep_abort, sleep_finish, "neap.sleep");
    wait->flags |= NEAP__WOKEN;
    neap__ready(loop, &task->item);
    return neap__park(rt, L, wait);
  }
  neap__timer_reserve(L, loop);
  neap__own_wait(rt, sleep_abort, sleep_finish, "neap.sleep");
  neap__timer *timer = &neap__link_of(wait)->timer;
  timer->fire = on_due;
  int64_t now = neap__now_near(rt);
  neap__timer_arm(loop, timer, neap__after(now, delay), now);
  return neap__park(rt, L, wait);
}

void neap__timer_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg functions[] = {{"sleep", l_sleep}, {NULL, NULL}};
  neap__set_funcs(L, rt, functions);
}
