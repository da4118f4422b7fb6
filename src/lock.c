/* SPDX-License-Identifier: MIT
 *
 * lock.c - Lock: one holder, others in line.
 *
 * release() wakes the first in line and leaves the lock free until that task runs,
 * as asyncio does (locked() says so), but nobody overtakes it: `granted` counts. A
 * woken task that is cancelled before it runs passes the lock on.
 */
#include "lock.h"

static inline bool is_free(const neap__lock *lock) {
  return !lock->locked && lock->granted == NULL && lock->queue.head == NULL;
}

static void grant(neap__lock *lock) {
  if (lock->locked || lock->granted != NULL) return;
  lock->granted = neap__waitq_wake(&lock->queue, 0);
}

static neap_aborted lock_abort(neap_wait *wait) {
  neap__lock *lock = neap__link_of(wait)->object;
  neap__waitq_remove(&lock->queue, wait);
  return NEAP_ABORT_DONE;
}

static inline void take(neap_runtime *rt, neap__lock *lock) {
  lock->locked = true;
  lock->holder = rt->current != NULL ? rt->current->id : NEAP__CALLBACK;
}

bool neap__lock_taken(neap__lock *lock, neap_wait *wait) {
  if (lock->granted == wait) lock->granted = NULL;
  if (wait->status == UV_ECANCELED) {
    grant(lock); /* it may have been meant for this task */
    return false;
  }
  lock->locked = true;
  lock->holder = neap__container_of(wait, neap_task, own)->id;
  return true;
}

static int lock_finish(lua_State *L, neap_wait *wait) {
  neap__lock *lock = neap__link_of(wait)->object;
  if (!neap__lock_taken(lock, wait))
    return L == NULL ? 0 : neap__raise_cancelled(L, neap__rt(L));
  lua_settop(L, 1);
  return 1;
}

bool neap__lock_try(neap_runtime *rt, neap__lock *lock) {
  if (!is_free(lock)) return false;
  take(rt, lock);
  return true;
}

void neap__lock_enqueue(neap__lock *lock, neap_wait *wait) {
  wait->abort = lock_abort;
  neap__link_of(wait)->object = lock;
  neap__waitq_push(&lock->queue, wait);
}

void neap__lock_release(lua_State *L, neap__lock *lock) {
  if (!lock->locked) luaL_error(L, "Lock is not acquired.");
  lock->locked = false;
  grant(lock);
}

static neap__lock *self(lua_State *L) {
  return neap__check_tagged(L, neap__rt(L), 1, NEAP__K_LOCK, "Lock");
}

int neap__lock_acquire(lua_State *L, neap_runtime *rt, neap__lock *lock) {
  if (is_free(lock)) {
    neap__check_again(rt, L, "Lock:acquire");
    take(rt, lock);
    lua_settop(L, 1);
    return 1;
  }
  neap__check_park(rt, L, "Lock:acquire");
  neap_wait *wait = neap__own_wait(rt, lock_abort, lock_finish, "Lock:acquire");
  neap__lock_enqueue(lock, wait);
  return neap__park(rt, L, wait);
}

/* lock:acquire() -> the lock, once it is ours. Waits. */
static int l_acquire(lua_State *L) {
  return neap__lock_acquire(L, neap__rt(L), self(L));
}

/* lock:try_acquire() -> true, or false when it is held or others are in line. */
static int l_try_acquire(lua_State *L) {
  lua_pushboolean(L, neap__lock_try(neap__rt(L), self(L)));
  return 1;
}

/* lock:release(): lets the next in line have it. Raises when it is not held. */
static int l_release(lua_State *L) {
  neap__lock_release(L, self(L));
  return 0;
}

/* lock:locked() -> whether somebody holds it. */
static int l_locked(lua_State *L) {
  lua_pushboolean(L, self(L)->locked);
  return 1;
}

void neap__lock_push(lua_State *L, const void *lock) {
  lua_pushfstring(L, "<Lock %s>",
                  ((const neap__lock *)lock)->locked ? "locked" : "unlocked");
}

static uint64_t holder(const void *object) {
  const neap__lock *lock = object;
  return lock->locked ? lock->holder : NEAP__NOBODY;
}

static int l_tostring(lua_State *L) {
  neap__lock_push(L, self(L));
  return 1;
}

void neap__lock_new(lua_State *L, neap_runtime *rt) {
  neap__lock *lock = lua_newuserdatauv(L, sizeof *lock, 0);
  *lock = (neap__lock){.tag = neap__tag(rt, NEAP__K_LOCK)};
  neap__push_class(L, rt, NEAP__K_LOCK);
  lua_setmetatable(L, -2);
  neap__note_made(L, rt);
}

/* Lock() -> a free lock. */
static int l_new(lua_State *L) {
  neap__lock_new(L, neap__rt(L));
  return 1;
}

void neap__lock_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {
      {"acquire", l_acquire}, {"try_acquire", l_try_acquire},
      {"release", l_release}, {"locked", l_locked},
      {"__close", l_release}, {"__tostring", l_tostring},
      {NULL, NULL},
  };
  static const luaL_Reg functions[] = {{"Lock", l_new}, {NULL, NULL}};
  static const neap__teller teller = {.push = neap__lock_push,
                                      .holder = holder};
  neap__new_class(L, rt, NEAP__K_LOCK, "neap.Lock", methods);
  lua_pop(L, 1);
  neap__set_teller(rt, NEAP__K_LOCK, &teller);
  neap__set_funcs(L, rt, functions);
}
