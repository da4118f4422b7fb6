/* SPDX-License-Identifier: MIT
 *
 * semaphore.c - Semaphore and BoundedSemaphore.
 *
 * A unit is handed to the first in line when it becomes free: its wait is woken with
 * the unit taken already. `coming` counts those whose tasks have not run yet; while
 * there are any, newcomers queue up, so nobody is overtaken.
 */
#include "internal.h"

typedef struct semaphore {
  const void *tag;
  neap__waitq queue;
  lua_Integer value, bound; /* bound < 0: none */
  lua_Integer initial;
  size_t coming;
} semaphore;

static semaphore *self(lua_State *L) {
  return neap__check_tagged(L, neap__rt(L), 1, NEAP__K_SEMAPHORE, "Semaphore");
}

static bool is_locked(const semaphore *sem) {
  return sem->value == 0 || sem->queue.head != NULL || sem->coming > 0;
}

static void wake_next(semaphore *sem) {
  if (neap__waitq_wake(&sem->queue, 0) == NULL) return;
  sem->value--;
  sem->coming++;
}

static neap_aborted semaphore_abort(neap_wait *wait) {
  semaphore *sem = neap__link_of(wait)->object;
  neap__waitq_remove(&sem->queue, wait);
  neap__link_of(wait)->object = NULL; /* was given nothing */
  return NEAP_ABORT_DONE;
}

static int semaphore_finish(lua_State *L, neap_wait *wait) {
  semaphore *sem = neap__link_of(wait)->object;
  if (sem != NULL) sem->coming--;
  if (sem == NULL || wait->status < 0) {
    if (sem != NULL) { /* the unit that was meant for this task */
      sem->value++;
      wake_next(sem);
    }
    return L == NULL ? 0 : neap__raise_cancelled(L, neap__rt(L));
  }
  if (sem->value > 0) wake_next(sem);
  lua_settop(L, 1);
  return 1;
}

/* semaphore:acquire() -> the semaphore, with one unit taken. Waits. */
static int l_acquire(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  semaphore *sem = self(L);
  if (!is_locked(sem)) {
    neap__check_again(rt, L, "Semaphore:acquire");
    sem->value--;
    lua_settop(L, 1);
    return 1;
  }
  neap__check_park(rt, L, "Semaphore:acquire");
  neap_wait *wait = neap__own_wait(rt, semaphore_abort, semaphore_finish,
                                   "Semaphore:acquire");
  neap__link_of(wait)->object = sem;
  neap__waitq_push(&sem->queue, wait);
  return neap__park(rt, L, wait);
}

/* semaphore:try_acquire() -> true, or false when none is free or others wait. */
static int l_try_acquire(lua_State *L) {
  semaphore *sem = self(L);
  bool free_one = !is_locked(sem);
  if (free_one) sem->value--;
  lua_pushboolean(L, free_one);
  return 1;
}

/* semaphore:release(): gives one unit back. A BoundedSemaphore raises when it would
 * exceed its initial value. */
static int l_release(lua_State *L) {
  semaphore *sem = self(L);
  if (sem->bound >= 0 && sem->value >= sem->bound)
    return luaL_error(L, "BoundedSemaphore released too many times");
  if (sem->value == LUA_MAXINTEGER)
    return luaL_error(L, "Semaphore released too many times");
  sem->value++;
  wake_next(sem);
  return 0;
}

/* semaphore:locked() -> whether acquire would have to wait. */
static int l_locked(lua_State *L) {
  lua_pushboolean(L, is_locked(self(L)));
  return 1;
}

static void push_text(lua_State *L, const semaphore *sem) {
  lua_pushfstring(L, "<%s value=%I%s>",
                  sem->bound >= 0 ? "BoundedSemaphore" : "Semaphore",
                  (LUAI_UACINT)sem->value, is_locked(sem) ? " locked" : "");
}

/* Nobody knows who has the units. */
static void push_awaited(lua_State *L, const void *object) {
  const semaphore *sem = object;
  push_text(L, sem);
  if (sem->value == 0)
    lua_pushfstring(L, " (%I unit%s, none free)", (LUAI_UACINT)sem->initial,
                    sem->initial == 1 ? "" : "s");
  else
    lua_pushliteral(L, "");
  lua_concat(L, 2);
}

static int l_tostring(lua_State *L) {
  push_text(L, self(L));
  return 1;
}

static int new_semaphore(lua_State *L, bool bounded) {
  neap_runtime *rt = neap__rt(L);
  lua_Integer value = luaL_optinteger(L, 1, 1);
  luaL_argcheck(L, value >= 0, 1, "Semaphore initial value must be >= 0");
  semaphore *sem = lua_newuserdatauv(L, sizeof *sem, 0);
  *sem = (semaphore){.tag = neap__tag(rt, NEAP__K_SEMAPHORE),
                     .value = value,
                     .initial = value,
                     .bound = bounded ? value : -1};
  neap__push_class(L, rt, NEAP__K_SEMAPHORE);
  lua_setmetatable(L, -2);
  neap__note_made(L, rt);
  return 1;
}

/* Semaphore(n) -> a semaphore of n units (default 1). */
static int l_semaphore(lua_State *L) {
  return new_semaphore(L, false);
}

/* BoundedSemaphore(n) -> one that cannot be released above n. */
static int l_bounded(lua_State *L) {
  return new_semaphore(L, true);
}

void neap__semaphore_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {
      {"acquire", l_acquire}, {"try_acquire", l_try_acquire},
      {"release", l_release}, {"locked", l_locked},
      {"__close", l_release}, {"__tostring", l_tostring},
      {NULL, NULL},
  };
  static const luaL_Reg functions[] = {
      {"Semaphore", l_semaphore},
      {"BoundedSemaphore", l_bounded},
      {NULL, NULL},
  };
  static const neap__teller teller = {.push = push_awaited};
  neap__new_class(L, rt, NEAP__K_SEMAPHORE, "neap.Semaphore", methods);
  lua_pop(L, 1);
  neap__set_teller(rt, NEAP__K_SEMAPHORE, &teller);
  neap__set_funcs(L, rt, functions);
}
