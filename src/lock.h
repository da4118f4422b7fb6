/* SPDX-License-Identifier: MIT
 *
 * lock.h - what a Condition needs of its Lock.
 */
#ifndef NEAP_LOCK_H
#define NEAP_LOCK_H

#include "internal.h"

typedef struct neap__lock {
  const void *tag;
  neap__waitq queue;
  neap_wait *granted; /* woken, but its task has not run yet */
  uint64_t holder; /* while it is locked: id of the task, or NEAP__CALLBACK */
  bool locked;
} neap__lock;

/* Pushes a new Lock. [-0, +1, m] */
void neap__lock_new(lua_State *L, neap_runtime *rt);
/* Takes the lock when it is free and nobody is in line. */
bool neap__lock_try(neap_runtime *rt, neap__lock *lock);
/* Puts a wait in line; it is woken when its turn has come. */
void neap__lock_enqueue(neap__lock *lock, neap_wait *wait);
/* In the finish of such a wait, a task's own: true, the lock is taken; false,
 * cancelled. */
bool neap__lock_taken(neap__lock *lock, neap_wait *wait);
/* Pushes "<Lock locked>". [-0, +1, m] */
void neap__lock_push(lua_State *L, const void *lock);
/* Raises when it is not held. */
void neap__lock_release(lua_State *L, neap__lock *lock);
/* Acquires for the object at index 1, which it returns. Waits, raises. */
int neap__lock_acquire(lua_State *L, neap_runtime *rt, neap__lock *lock);

#endif
