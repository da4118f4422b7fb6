/* SPDX-License-Identifier: MIT
 *
 * testing.c - what neap.test (lua/neap/test) needs of the core: a clock that stands
 * still, the order of ready tasks, and waiting until all others wait. The module
 * "neap.core.test"; programs use neap.test.
 */
#include "stream.h"

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
  if (rt->frozen) {
    rt->ahead = rt->virtual_now - (int64_t)uv_hrtime();
    rt->pace = (neap__pace){.window = 0}; /* was measured before the jumps */
  }
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
  rt->seed = luaL_checkinteger(L, 1);
  /* Neighbouring seeds are to give different orders, and 0 is no state. */
  uint64_t state = ((uint64_t)rt->seed + 1) * UINT64_C(0x9E3779B97F4A7C15);
  rt->shuffle = state != 0 ? state : 1;
  return 0;
}

/* order() -> state, seed: for set_order. */
static int l_order(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  lua_pushinteger(L, (lua_Integer)rt->shuffle);
  lua_pushinteger(L, rt->seed);
  return 2;
}

/* set_order(state, seed): goes on from there. */
static int l_set_order(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  lua_Integer state = luaL_checkinteger(L, 1);
  rt->seed = luaL_checkinteger(L, 2);
  rt->shuffle = (uint64_t)state;
  return 0;
}

/* log(text): to where the reports of the loops go. */
static int l_log(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  if (rt->log != NULL) rt->log(rt->ud, text, length);
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

/* linger(ms): how long a closed stream has for what was written; 0: as usual. */
static int l_linger(lua_State *L) {
  lua_Integer ms = luaL_checkinteger(L, 1);
  luaL_argcheck(L, ms >= 0 && ms <= 1000000, 1, "out of range");
  neap__rt(L)->linger = (uint32_t)ms;
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

/* ---- gates: a wait with a name of its own --------------------------------------- */

/* Open for ever once it was opened. User value 1 is the name of the wait. */
typedef struct gate {
  const void *tag;
  neap__waitq queue;
  const char *name;
  bool open;
} gate;

static gate *self(lua_State *L) {
  return neap__check_tagged(L, neap__rt(L), 1, NEAP__K_GATE, "Gate");
}

static neap_aborted gate_abort(neap_wait *wait) {
  gate *g = neap__link_of(wait)->object;
  neap__waitq_remove(&g->queue, wait);
  return NEAP_ABORT_DONE;
}

static int gate_finish(lua_State *L, neap_wait *wait) {
  if (wait->status < 0)
    return L == NULL ? 0 : neap__raise_cancelled(L, neap__rt(L));
  return 0;
}

/* gate:wait(): until it is open. Waits. */
static int l_gate_wait(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  gate *g = self(L);
  if (g->open) {
    neap__check_again(rt, L, g->name);
    return 0;
  }
  neap__check_park(rt, L, g->name);
  neap_wait *wait = neap__own_wait(rt, gate_abort, gate_finish, g->name);
  neap__link_of(wait)->object = g;
  neap__waitq_push(&g->queue, wait);
  return neap__park(rt, L, wait);
}

/* gate:open() */
static int l_gate_open(lua_State *L) {
  gate *g = self(L);
  g->open = true;
  while (neap__waitq_wake(&g->queue, 0) != NULL) {
  }
  return 0;
}

/* gate(name) -> a closed gate. name: what a task that waits there is said to do. */
static int l_gate(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  const char *name = luaL_checkstring(L, 1);
  gate *g = lua_newuserdatauv(L, sizeof *g, 1);
  *g = (gate){.tag = neap__tag(rt, NEAP__K_GATE), .name = name};
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  neap__push_class(L, rt, NEAP__K_GATE);
  lua_setmetatable(L, -2);
  return 1;
}

static const luaL_Reg functions[] = {
    {"freeze", l_freeze},
    {"thaw", l_thaw},
    {"frozen", l_frozen},
    {"now", l_now},
    {"step", l_step},
    {"shuffle", l_shuffle},
    {"order", l_order},
    {"set_order", l_set_order},
    {"settle", l_settle},
    {"log", l_log},
    {"linger", l_linger},
    {"gate", l_gate},
    {"watchdog", neap__l_watchdog},
    {NULL, NULL},
};

int neap__open_testing(lua_State *L) {
  static const luaL_Reg gate_methods[] = {
      {"wait", l_gate_wait},
      {"open", l_gate_open},
      {NULL, NULL},
  };
  neap_runtime *rt = neap_of(L);
  if (rt->mt[NEAP__K_GATE] == NULL) { /* it may be loaded again */
    neap__new_class(L, rt, NEAP__K_GATE, "neap.core.test.Gate", gate_methods);
    lua_pop(L, 1);
  }
  lua_createtable(L, 0, 32);
  neap__set_funcs(L, rt, functions);
  neap__leftover_open(L, rt);
  neap__rawfd_open(L, rt);
  return 1;
}
