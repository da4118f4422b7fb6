/* SPDX-License-Identifier: MIT
 *
 * timeout.c - time-outs around a block: past the deadline the block is cancelled and
 * leaves with TimeoutError.
 *
 * The deadline is a node of the task that entered the block, in its list: it goes
 * when the block is left and at the latest when the task ends, and is then used
 * again. Node memory lives as long as the runtime; a Timeout object knows by the
 * node's serial whether it is still its own. So neither needs a finalizer.
 *
 * A deadline that is due takes its place in the ready list, like the callback of
 * asyncio: what was ready before it may still be in time.
 */
#include "internal.h"

#include <math.h>

enum state { ACTIVE, EXPIRING, EXPIRED, FINISHED };

struct neap__deadline {
  neap__call call;
  neap__timer timer;
  neap__deadline *next, *prev; /* of the task; next: of the free ones */
  neap_task *task;
  neap__loop *loop;
  uint64_t serial;        /* 0: free */
  uint32_t loop_serial;   /* the struct may be used again */
  const neap__site *site; /* where it was made; NULL if nobody asks */
  bool expiring;          /* the task was cancelled */
};

/* What Lua has. */
typedef struct timeout {
  const void *tag;
  neap__deadline *node;
  uint64_t serial;
  int64_t ns;  /* NONE: no deadline */
  double when; /* as it was given, or NAN */
  neap__before before;
  enum state state;
} timeout;
#define NONE INT64_MIN

/* ---- nodes -------------------------------------------------------------------- */

static void give_back(neap_runtime *rt, neap__deadline *node) {
  node->next = rt->free_deadlines;
  rt->free_deadlines = node;
}

/* The block was left, or its task has ended. */
static void release(neap__deadline *node) {
  neap__timer_disarm(node->loop, &node->timer);
  if (node->prev != NULL) {
    node->prev->next = node->next;
  } else {
    node->task->deadlines = node->next;
  }
  if (node->next != NULL) node->next->prev = node->prev;
  node->serial = 0;
  /* One that stands in the ready list is given back from there. */
  if (!node->call.item.queued) give_back(node->loop->rt, node);
}

void neap__deadlines_drop(neap_task *task) {
  while (task->deadlines != NULL)
    release(task->deadlines);
}

void neap__deadlines_drop_since(neap_task *task, uint64_t serial) {
  while (task->deadlines != NULL && task->deadlines->serial > serial)
    release(task->deadlines);
}

void neap__deadlines_list(lua_State *L, const neap_task *task,
                          uint64_t serial) {
  for (const neap__deadline *node = task->deadlines;
       node != NULL && node->serial > serial; node = node->next) {
    if (node->site != NULL) {
      lua_pushfstring(L, "%s:%d", node->site->source, node->site->line);
    } else {
      lua_pushliteral(L, "?");
    }
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  }
}

void neap__deadlines_free(neap_runtime *rt) {
  while (rt->free_deadlines != NULL) {
    neap__deadline *node = rt->free_deadlines;
    rt->free_deadlines = node->next;
    neap__alloc(rt, node, sizeof *node, 0);
  }
}

static void on_due(neap__timer *timer) {
  neap__deadline *node = neap__container_of(timer, neap__deadline, timer);
  neap__ready(node->loop, &node->call.item);
}

/* Its turn has come. */
static void expire(neap__call *call) {
  neap__deadline *node = neap__container_of(call, neap__deadline, call);
  if (node->serial == 0) {
    give_back(node->loop->rt, node);
  } else if (!node->loop->closed) {
    node->expiring = true;
    neap__cancel(node->task, NULL, 0);
  }
}

static inline void arm(neap__deadline *node, int64_t when, int64_t now) {
  if (when <= now) {
    neap__ready(node->loop, &node->call.item);
  } else {
    neap__timer_arm(node->loop, &node->timer, when, now);
  }
}

/* [-0, +0, m] */
static neap__deadline *new_node(lua_State *L, neap_runtime *rt) {
  neap__deadline *node = neap__alloc(rt, NULL, 0, sizeof *node);
  if (node == NULL) luaL_error(L, "not enough memory");
  *node = (neap__deadline){
      .call = {.item = {.kind = NEAP__CALL}, .run = expire},
      .timer = {.fire = on_due},
  };
  return node;
}

/* ---- Lua functions ------------------------------------------------------------- */

static timeout *self(lua_State *L) {
  return neap__check_tagged(L, neap__rt(L), 1, NEAP__K_TIMEOUT, "Timeout");
}

static bool is_open(const timeout *t) {
  return t->node != NULL && t->node->serial == t->serial;
}

static enum state state_of(const timeout *t) {
  if (!is_open(t)) return t->state == EXPIRED ? EXPIRED : FINISHED;
  return t->node->expiring ? EXPIRING : ACTIVE;
}

static int new_timeout(lua_State *L, neap_runtime *rt, double when, int64_t ns,
                       int64_t now) {
  neap_task *task = rt->current;
  if (NEAP__UNLIKELY(task == NULL))
    return luaL_error(L, "a time-out needs a task around it; this is a loop "
                         "callback (start a task there: neap.create_task)");
  neap__loop *loop = neap__the_loop(L, rt);
  task->future.loop = loop; /* the root has none before its first wait */
  neap__timer_reserve(L, loop);
  timeout *t = lua_newuserdatauv(L, sizeof *t, 0);
  t->tag = neap__tag(rt, NEAP__K_TIMEOUT);
  t->serial = 0; /* not open yet */
  t->node = NULL;
  t->when = when;
  t->ns = ns;
  t->before = neap__before_block(task);
  neap__push_class(L, rt, NEAP__K_TIMEOUT);
  lua_setmetatable(L, -2);
  neap__deadline *node = rt->free_deadlines;
  if (NEAP__LIKELY(node != NULL)) {
    rt->free_deadlines = node->next;
  } else {
    node = new_node(L, rt);
  }
  node->task = task;
  node->loop = loop;
  node->loop_serial = loop->serial;
  node->expiring = false;
  node->site = NEAP__UNLIKELY(rt->tracing) ? neap__site_at(L, rt, 1) : NULL;
  node->prev = NULL;
  node->next = task->deadlines;
  if (node->next != NULL) node->next->prev = node;
  task->deadlines = node;
  t->node = node;
  t->serial = node->serial = ++rt->last_deadline;
  if (ns != NONE) arm(node, ns, now);
  return 1;
}

/* timeout(delay or nil) -> Timeout, for <close>: the block that follows leaves with
 * TimeoutError after `delay` seconds. nil: no deadline yet. */
static int l_timeout(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  int is_number;
  lua_Number delay = lua_tonumberx(L, 1, &is_number);
  if (NEAP__UNLIKELY(!is_number || delay != delay)) {
    if (lua_isnoneornil(L, 1)) return new_timeout(L, rt, NAN, NONE, 0);
    luaL_checknumber(L, 1);
    luaL_argerror(L, 1, "seconds expected, got NaN");
  }
  int64_t now = neap__now_near(rt);
  double when = NAN; /* as it is armed */
  if (NEAP__UNLIKELY(!(delay >= 0 && delay < 1e9)))
    when = (double)now / 1e9 + delay;
  return new_timeout(L, rt, when, neap__after(now, delay), now);
}

/* timeout_at(when or nil) -> the same with a time of loop:time(). */
static int l_timeout_at(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  if (lua_isnoneornil(L, 1)) return new_timeout(L, rt, NAN, NONE, 0);
  lua_Number when = luaL_checknumber(L, 1);
  luaL_argcheck(L, when == when, 1, "seconds expected, got NaN");
  return new_timeout(L, rt, when, neap__to_ns(when), neap__now(rt));
}

static double when_of(const timeout *t) {
  return isnan(t->when) ? (double)t->ns / 1e9 : t->when;
}

/* timeout:when() -> time of loop:time(), or nil. */
static int l_when(lua_State *L) {
  timeout *t = self(L);
  if (t->ns == NONE) {
    lua_pushnil(L);
  } else {
    lua_pushnumber(L, when_of(t));
  }
  return 1;
}

static const char *name_of(enum state state) {
  static const char *const names[] = {"active", "expiring", "expired",
                                      "finished"};
  return names[state];
}

/* timeout:reschedule(when or nil): another deadline, or none. Raises when the block
 * was left or its deadline has passed. */
static int l_reschedule(lua_State *L) {
  timeout *t = self(L);
  lua_Number when = luaL_optnumber(L, 2, NAN);
  luaL_argcheck(L, lua_isnoneornil(L, 2) || when == when, 2,
                "seconds expected, got NaN");
  enum state state = state_of(t);
  if (state != ACTIVE)
    return luaL_error(L, "Cannot change state of %s Timeout", name_of(state));
  neap__loop *loop = t->node->loop;
  if (loop->closed || loop->serial != t->node->loop_serial)
    return luaL_error(L, "Event loop is closed");
  neap__timer_reserve(L, loop);
  neap__timer_disarm(loop, &t->node->timer);
  neap__unready(loop, &t->node->call.item);
  t->when = when;
  t->ns = isnan(when) ? NONE : neap__to_ns(when);
  if (t->ns != NONE) arm(t->node, t->ns, neap__now(loop->rt));
  return 0;
}

/* timeout:expired() -> whether the block was cancelled by it. */
static int l_expired(lua_State *L) {
  enum state state = state_of(self(L));
  lua_pushboolean(L, state == EXPIRING || state == EXPIRED);
  return 1;
}

/* The end of the block; a second time does nothing. */
static int l_close(lua_State *L) {
  timeout *t = self(L);
  if (NEAP__UNLIKELY(!is_open(t))) return 0;
  neap__deadline *node = t->node;
  neap_task *task = node->task;
  bool expired = node->expiring;
  t->state = expired ? EXPIRED : FINISHED;
  release(node);
  if (NEAP__LIKELY(!expired)) return 0;
  if (neap__take_back(task, &t->before) &&
      neap__error_is(L, 2, NEAP__CANCELLEDERROR))
    return neap__raise(L, NEAP__TIMEOUTERROR, NULL);
  return 0;
}

static int l_tostring(lua_State *L) {
  timeout *t = self(L);
  enum state state = state_of(t);
  if (state == ACTIVE && t->ns != NONE) {
    lua_pushfstring(L, "<Timeout [active] when=%f>",
                    (LUAI_UACNUMBER)when_of(t));
  } else {
    lua_pushfstring(L, "<Timeout [%s]>", name_of(state));
  }
  return 1;
}

void neap__timeout_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {
      {"when", l_when},       {"reschedule", l_reschedule},
      {"expired", l_expired}, {"close", l_close},
      {"__close", l_close},   {"__tostring", l_tostring},
      {NULL, NULL},
  };
  static const luaL_Reg functions[] = {
      {"timeout", l_timeout},
      {"timeout_at", l_timeout_at},
      {NULL, NULL},
  };
  neap__new_class(L, rt, NEAP__K_TIMEOUT, "neap.Timeout", methods);
  lua_pop(L, 1);
  neap__set_funcs(L, rt, functions);
}
