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

/* thaw(): the clock goes on from where it stands, so that it never goes back and
 * what is armed has as long to go as it had. */
static int l_thaw(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  if (rt->frozen) rt->ahead = rt->virtual_now - (int64_t)uv_hrtime();
  rt->frozen = false;
  return 0;
}

/* frozen() -> whether the clock stands still. */
static int l_frozen(lua_State *L) {
  lua_pushboolean(L, neap__rt(L)->frozen);
  return 1;
}

/* now() -> ns of the clock, an integer. */
static int l_now(lua_State *L) {
  lua_pushinteger(L, neap__now(neap__rt(L)));
  return 1;
}

/* step(target) -> true: the clock was set to the next deadline of the loop; false:
 * there is none up to `target` (ns), and it was set to that. What is due becomes
 * ready in the next turn. */
static int l_step(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  lua_Integer target = luaL_checkinteger(L, 1);
  if (!rt->frozen) return luaL_error(L, "the clock is not frozen");
  neap__loop *loop = neap__the_loop(L, rt);
  bool found = loop->heap_len > 0 && loop->heap[0].when <= target;
  int64_t to = found ? loop->heap[0].when : target;
  if (to > rt->virtual_now) rt->virtual_now = to;
  if (found) loop->due_soon = true;
  lua_pushboolean(L, found);
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
    {"freeze", l_freeze}, {"thaw", l_thaw}, {"frozen", l_frozen},
    {"now", l_now},       {"step", l_step}, {"shuffle", l_shuffle},
    {"settle", l_settle}, {NULL, NULL},
};

int neap__open_testing(lua_State *L) {
  lua_createtable(L, 0, 16);
  neap__set_funcs(L, neap_of(L), functions);
  return 1;
}
