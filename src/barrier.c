/* SPDX-License-Identifier: MIT
 *
 * barrier.c - Barrier: a number of tasks wait for each other, again and again.
 *
 * `count` tasks are inside: they wait, or have been let go (or broken) and have not run
 * yet. Until the last of those is out the barrier drains or resets, and newcomers stand
 * at the door; then as many as it takes come in, in the order of arrival. Nobody stands
 * at the door while it fills or is broken.
 */
#include "internal.h"

#include <limits.h>

enum state { FILLING, DRAINING, RESETTING, BROKEN };

typedef struct barrier {
  const void *tag;
  neap__waitq inside, door;
  int parties, count;
  unsigned char state;
} barrier;

static barrier *self(lua_State *L) {
  return neap__check_tagged(L, neap__rt(L), 1, NEAP__K_BARRIER, "Barrier");
}

static int inside_finish(lua_State *L, neap_wait *wait);
static neap_aborted inside_abort(neap_wait *wait);

/* Lets those inside go; the one that came last is `passed` or goes first. Their index,
 * from 1, is the status of their waits. */
static void release(barrier *b, bool passed) {
  b->state = DRAINING;
  if (!passed) {
    neap_wait *last = b->inside.tail;
    neap__waitq_remove(&b->inside, last);
    neap_wake(last, b->parties);
  }
  for (int index = 1; neap__waitq_wake(&b->inside, index) != NULL; index++) {
  }
}

/* One of those inside has gone. */
static void leave(barrier *b) {
  b->count--;
  if (b->count > 0) return;
  if (b->state == DRAINING || b->state == RESETTING) b->state = FILLING;
  neap_wait *wait;
  while (b->state == FILLING && (wait = b->door.head) != NULL) {
    neap__waitq_remove(&b->door, wait);
    wait->abort = inside_abort;
    wait->finish = inside_finish;
    neap__waitq_push(&b->inside, wait);
    if (++b->count == b->parties) release(b, false);
  }
}

static neap_aborted inside_abort(neap_wait *wait) {
  barrier *b = neap__link_of(wait)->object;
  neap__waitq_remove(&b->inside, wait);
  neap__link_of(wait)->object = NULL; /* has left */
  leave(b);
  return NEAP_ABORT_DONE;
}

static int inside_finish(lua_State *L, neap_wait *wait) {
  barrier *b = neap__link_of(wait)->object;
  int index = wait->status;
  bool whole = b != NULL && b->state == DRAINING;
  if (b != NULL) leave(b);
  if (L == NULL) return 0;
  if (index < 0) return neap__raise_cancelled(L, neap__rt(L));
  if (!whole || index == 0)
    return neap__raise(L, NEAP__BROKENBARRIERERROR,
                       "Abort or reset of barrier");
  lua_pushinteger(L, index);
  return 1;
}

static neap_aborted door_abort(neap_wait *wait) {
  barrier *b = neap__link_of(wait)->object;
  neap__waitq_remove(&b->door, wait);
  neap__link_of(wait)->object = NULL;
  return NEAP_ABORT_DONE;
}

static int raise_aborted(lua_State *L) {
  return neap__raise(L, NEAP__BROKENBARRIERERROR, "Barrier aborted");
}

/* Only abort() wakes those at the door. */
static int door_finish(lua_State *L, neap_wait *wait) {
  if (L == NULL) return 0;
  if (wait->status < 0) return neap__raise_cancelled(L, neap__rt(L));
  return raise_aborted(L);
}

static bool is_last(const barrier *b) {
  return b->state == FILLING && b->count + 1 == b->parties;
}

/* barrier:wait() -> in which place we came, 1 to parties, once all are there. Waits.
 * Raises BrokenBarrierError. */
static int l_wait(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  barrier *b = self(L);
  if (b->state == BROKEN || is_last(b)) {
    neap__check_again(rt, L, "Barrier:wait");
  } else {
    neap__check_park(rt, L, "Barrier:wait"); /* may run finalizers */
  }
  if (b->state == BROKEN) return raise_aborted(L);
  if (is_last(b)) {
    b->count++;
    release(b, true);
    leave(b);
    lua_pushinteger(L, b->parties);
    return 1;
  }
  bool fills = b->state == FILLING;
  neap_wait *wait =
      neap__own_wait(rt, fills ? inside_abort : door_abort,
                     fills ? inside_finish : door_finish, "Barrier:wait");
  neap__link_of(wait)->object = b;
  neap__waitq_push(fills ? &b->inside : &b->door, wait);
  if (fills) b->count++;
  return neap__park(rt, L, wait);
}

static void break_inside(barrier *b) {
  while (neap__waitq_wake(&b->inside, 0) != NULL) {
  }
}

/* barrier:reset(): those who wait get BrokenBarrierError; then it is as new. */
static int l_reset(lua_State *L) {
  barrier *b = self(L);
  neap__check_again(neap__rt(L), L, "Barrier:reset");
  b->state = b->count > 0 ? RESETTING : FILLING;
  break_inside(b);
  return 0;
}

/* barrier:abort(): breaks it, for those who wait and those who come, until reset(). */
static int l_abort(lua_State *L) {
  barrier *b = self(L);
  b->state = BROKEN;
  break_inside(b);
  while (neap__waitq_wake(&b->door, 0) != NULL) {
  }
  return 0;
}

/* barrier:parties() -> how many must come. */
static int l_parties(lua_State *L) {
  lua_pushinteger(L, self(L)->parties);
  return 1;
}

static int waiting(const barrier *b) {
  return b->state == FILLING ? b->count : 0;
}

/* barrier:n_waiting() -> how many have come. */
static int l_n_waiting(lua_State *L) {
  lua_pushinteger(L, waiting(self(L)));
  return 1;
}

/* barrier:broken() -> whether abort() was called, and not reset() since. */
static int l_broken(lua_State *L) {
  lua_pushboolean(L, self(L)->state == BROKEN);
  return 1;
}

static void push_text(lua_State *L, const void *object) {
  static const char *const names[] = {"filling", "draining", "resetting",
                                      "broken"};
  const barrier *b = object;
  lua_pushfstring(L, "<Barrier %s waiters=%d/%d>", names[b->state], waiting(b),
                  b->parties);
}

static int l_tostring(lua_State *L) {
  push_text(L, self(L));
  return 1;
}

/* Barrier(parties) -> a barrier for that many tasks. */
static int l_new(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  lua_Integer parties = luaL_checkinteger(L, 1);
  luaL_argcheck(L, parties > 0, 1, "parties must be > 0");
  luaL_argcheck(L, parties <= INT_MAX, 1, "too many parties");
  barrier *b = lua_newuserdatauv(L, sizeof *b, 0);
  *b =
      (barrier){.tag = neap__tag(rt, NEAP__K_BARRIER), .parties = (int)parties};
  neap__push_class(L, rt, NEAP__K_BARRIER);
  lua_setmetatable(L, -2);
  return 1;
}

void neap__barrier_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {
      {"wait", l_wait},           {"reset", l_reset},
      {"abort", l_abort},         {"parties", l_parties},
      {"n_waiting", l_n_waiting}, {"broken", l_broken},
      {"__tostring", l_tostring}, {NULL, NULL},
  };
  static const luaL_Reg functions[] = {{"Barrier", l_new}, {NULL, NULL}};
  static const neap__teller teller = {.push = push_text};
  neap__set_teller(rt, NEAP__K_BARRIER, &teller);
  neap__new_class(L, rt, NEAP__K_BARRIER, "neap.Barrier", methods);
  lua_pop(L, 1);
  neap__set_funcs(L, rt, functions);
}
