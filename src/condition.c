/* SPDX-License-Identifier: MIT
 *
 * condition.c - Condition: wait for a notification while letting go of a lock.
 *
 * wait() takes the lock back whatever happens, cancellation included, and only then
 * raises. A notification that reaches a task which is cancelled before it could go on
 * is passed to the next, so none is lost.
 */
#include "lock.h"

typedef struct condition {
  const void *tag;
  neap__waitq queue;
  neap__lock *lock; /* user value 1 keeps it */
} condition;

/* What happened to a wait(); kept as an integer at index 2 of its frame. */
enum { NOTIFIED = 1, CANCELLED = 2 };

static condition *self(lua_State *L) {
  return neap__check_tagged(L, neap__rt(L), 1, NEAP__K_CONDITION, "Condition");
}

static neap_aborted condition_abort(neap_wait *wait) {
  condition *cond = neap__link_of(wait)->object;
  neap__waitq_remove(&cond->queue, wait);
  neap__link_of(wait)->object = NULL; /* was not notified */
  return NEAP_ABORT_DONE;
}

static void notify(condition *cond, lua_Integer n) {
  while (n-- > 0 && neap__waitq_wake(&cond->queue, 0) != NULL) {
  }
}

static int wait_over(lua_State *L, condition *cond, int what) {
  if (what & CANCELLED) {
    if (what & NOTIFIED) notify(cond, 1);
    return neap__raise_cancelled(L, neap__rt(L));
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int retake(lua_State *L, condition *cond, int what);

static int retake_finish(lua_State *L, neap_wait *wait) {
  if (L == NULL) {
    neap__lock_taken(neap__link_of(wait)->object, wait);
    return 0;
  }
  condition *cond = lua_touserdata(L, 1);
  int what = (int)lua_tointeger(L, 2);
  if (neap__lock_taken(cond->lock, wait)) return wait_over(L, cond, what);
  return retake(L, cond, what | CANCELLED);
}

/* Takes the lock back, waiting as long as that takes. */
static int retake(lua_State *L, condition *cond, int what) {
  neap_runtime *rt = neap__rt(L);
  lua_settop(L, 1);
  if (neap__lock_try(rt, cond->lock)) return wait_over(L, cond, what);
  lua_pushinteger(L, what);
  neap_wait *wait = neap__own_wait(rt, NULL, retake_finish, "Condition:wait");
  neap__lock_enqueue(cond->lock, wait);
  return neap__park(rt, L, wait);
}

static int wait_finish(lua_State *L, neap_wait *wait) {
  if (L == NULL) {
    notify(neap__link_of(wait)->object, 1); /* it was notified in vain */
    return 0;
  }
  condition *cond = lua_touserdata(L, 1);
  int what = neap__link_of(wait)->object != NULL ? NOTIFIED : 0;
  if (wait->status < 0) what |= CANCELLED;
  return retake(L, cond, what);
}

/* condition:wait() -> true once notified; the lock is held before and after, not
 * meanwhile. Waits. */
static int l_wait(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  condition *cond = self(L);
  lua_settop(L, 1);
  if (!cond->lock->locked)
    return luaL_error(L, "cannot wait on un-acquired lock");
  neap__check_park(rt, L, "Condition:wait");
  neap_wait *wait =
      neap__own_wait(rt, condition_abort, wait_finish, "Condition:wait");
  neap__link_of(wait)->object = cond;
  neap__waitq_push(&cond->queue, wait);
  neap__lock_release(L, cond->lock);
  return neap__park(rt, L, wait);
}

static int asked_k(lua_State *L, int status, lua_KContext context);

/* Condition at 1, predicate at 2: asks it. */
static int ask(lua_State *L) {
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  lua_callk(L, 0, 1, 0, asked_k);
  return asked_k(L, LUA_OK, 0);
}

static int waited_k(lua_State *L, int status, lua_KContext context) {
  (void)status;
  (void)context;
  return ask(L);
}

static int asked_k(lua_State *L, int status, lua_KContext context) {
  (void)status;
  (void)context;
  if (lua_toboolean(L, -1)) return 1;
  lua_getfield(L, 1, "wait");
  lua_pushvalue(L, 1);
  lua_callk(L, 1, 0, 0, waited_k);
  return waited_k(L, LUA_OK, 0);
}

/* condition:wait_for(predicate) -> what predicate() gave when it was true. Waits. */
static int l_wait_for(lua_State *L) {
  self(L);
  luaL_checkany(L, 2);
  return ask(L);
}

/* condition:notify(n): wakes up to n waiting tasks (default 1). */
static int l_notify(lua_State *L) {
  condition *cond = self(L);
  lua_Integer n = luaL_optinteger(L, 2, 1);
  if (!cond->lock->locked)
    return luaL_error(L, "cannot notify on un-acquired lock");
  notify(cond, n);
  return 0;
}

/* condition:notify_all(): wakes all. */
static int l_notify_all(lua_State *L) {
  lua_settop(L, 1);
  lua_pushinteger(L, LUA_MAXINTEGER);
  return l_notify(L);
}

/* condition:acquire() -> the condition, with its lock taken. Waits. */
static int l_acquire(lua_State *L) {
  return neap__lock_acquire(L, neap__rt(L), self(L)->lock);
}

static int l_try_acquire(lua_State *L) {
  lua_pushboolean(L, neap__lock_try(neap__rt(L), self(L)->lock));
  return 1;
}

static int l_release(lua_State *L) {
  neap__lock_release(L, self(L)->lock);
  return 0;
}

static int l_locked(lua_State *L) {
  lua_pushboolean(L, self(L)->lock->locked);
  return 1;
}

static void push_text(lua_State *L, const condition *cond) {
  lua_pushfstring(L, "<Condition %s>",
                  cond->lock->locked ? "locked" : "unlocked");
}

static void push_awaited(lua_State *L, const void *object) {
  lua_pushliteral(L, "a notification of ");
  push_text(L, object);
  lua_concat(L, 2);
}

static int l_tostring(lua_State *L) {
  push_text(L, self(L));
  return 1;
}

/* Condition(lock) -> a condition on that lock, or on a new one. */
static int l_new(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  if (lua_isnoneornil(L, 1)) {
    lua_settop(L, 0);
    neap__lock_new(L, rt);
  }
  neap__lock *lock = neap__check_tagged(L, rt, 1, NEAP__K_LOCK, "Lock");
  condition *cond = lua_newuserdatauv(L, sizeof *cond, 1);
  *cond = (condition){.tag = neap__tag(rt, NEAP__K_CONDITION), .lock = lock};
  neap__push_class(L, rt, NEAP__K_CONDITION);
  lua_setmetatable(L, -2);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  return 1;
}

void neap__condition_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {
      {"wait", l_wait},       {"wait_for", l_wait_for},
      {"notify", l_notify},   {"notify_all", l_notify_all},
      {"acquire", l_acquire}, {"try_acquire", l_try_acquire},
      {"release", l_release}, {"locked", l_locked},
      {"__close", l_release}, {"__tostring", l_tostring},
      {NULL, NULL},
  };
  static const luaL_Reg functions[] = {{"Condition", l_new}, {NULL, NULL}};
  static const neap__teller teller = {.push = push_awaited};
  neap__new_class(L, rt, NEAP__K_CONDITION, "neap.Condition", methods);
  lua_pop(L, 1);
  neap__set_teller(rt, NEAP__K_CONDITION, &teller);
  neap__set_funcs(L, rt, functions);
}
