/* SPDX-License-Identifier: MIT
 *
 * testing.c - what neap.test (lua/neap/test) needs of the core: a clock that stands
 * still, the order of ready tasks, and waiting until all others wait. The module
 * "neap.core.test"; programs use neap.test.
 */
#include "internal.h"

/* freeze(jumps): the clock stands still from now on. jumps: it goes to the next
 * deadline as soon as every task waits and no operation is under way. */
static int l_freeze(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  if (!rt->frozen) rt->virtual_now = neap__now(rt);
  rt->frozen = true;
  rt->jumps = lua_toboolean(L, 1);
  return 0;
}

/* thaw(): the clock goes on in real time. Deadlines armed meanwhile are left as they
 * are, at times of the clock that stood still. */
static int l_thaw(lua_State *L) {
  neap__rt(L)->frozen = false;
  return 0;
}

/* set_time(t): what is due by then becomes due in the next turn. t: seconds of
 * loop:time(), not before now. */
static int l_set_time(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  lua_Number t = luaL_checknumber(L, 1);
  luaL_argcheck(L, t == t, 1, "seconds expected, got NaN");
  if (!rt->frozen) return luaL_error(L, "the clock is not frozen");
  int64_t ns = neap__to_ns(t);
  if (ns > rt->virtual_now) rt->virtual_now = ns;
  for (neap__loop *loop = rt->loops; loop != NULL; loop = loop->next)
    loop->due_soon = true;
  return 0;
}

/* next_deadline() -> time of loop:time() of the next deadline of the loop, or nil. */
static int l_next_deadline(lua_State *L) {
  neap__loop *loop = neap__the_loop(L, neap__rt(L));
  if (loop->heap_len == 0) {
    lua_pushnil(L);
  } else {
    lua_pushnumber(L, (lua_Number)loop->heap[0].when / 1e9);
  }
  return 1;
}

/* shuffle(seed or nil): the order of ready tasks; nil: first come, first served. */
static int l_shuffle(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  if (lua_isnoneornil(L, 1)) {
    rt->shuffle = 0;
    return 0;
  }
  /* Neighbouring seeds are to give different orders, and 0 is no state. */
  uint64_t seed = (uint64_t)luaL_checkinteger(L, 1);
  seed = (seed + 1) * UINT64_C(0x9E3779B97F4A7C15);
  rt->shuffle = seed != 0 ? seed : 1;
  return 0;
}

static neap_aborted settle_abort(neap_wait *wait) {
  neap__waitq_remove(&wait->task->future.loop->settlers, wait);
  return NEAP_ABORT_DONE;
}

static int settle_finish(lua_State *L, neap_wait *wait) {
  if (wait->status < 0) return neap__raise_cancelled(L, neap__rt(L));
  return 0;
}

/* settle(): waits until every other task waits for something that is not ready. */
static int l_settle(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__check_park(rt, L, "neap.test.settle");
  neap__loop *loop = neap__the_loop(L, rt);
  neap_wait *wait =
      neap__own_wait(rt, settle_abort, settle_finish, "neap.test.settle");
  neap__waitq_push(&loop->settlers, wait);
  return neap__park(rt, L, wait);
}

static const luaL_Reg functions[] = {
    {"freeze", l_freeze},
    {"thaw", l_thaw},
    {"set_time", l_set_time},
    {"next_deadline", l_next_deadline},
    {"shuffle", l_shuffle},
    {"settle", l_settle},
    {NULL, NULL},
};

int neap__open_testing(lua_State *L) {
  lua_createtable(L, 0, 16);
  neap__set_funcs(L, neap_of(L), functions);
  return 1;
}
