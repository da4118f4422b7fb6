/* SPDX-License-Identifier: MIT
 *
 * cancel.c - cancelling a task and, without recursion, what it waits for.
 *
 * A list of tasks is worked off like a stack: aborting the wait of one may push
 * others, which are dealt with before it is through. So those on the way from the
 * first to the present one are known, and a circle is found where one of them comes
 * up again. A group that is being cancelled already does not cancel its tasks once
 * more; they are only looked at, for circles. Allocates nothing.
 */
#include "internal.h"

/* How many tasks are only looked at for one cancellation: shutting down 50,000 groups
 * within each other is not to take forever. */
#define LOOKS 1000

/* ---- the list --------------------------------------------------------------- */

static void push(neap_runtime *rt, neap_task *task) {
  task->cancel_mark = rt->cancel_mark + 1;
  task->cancel_next = rt->cancel_list != NULL ? rt->cancel_list : task;
  rt->cancel_list = task;
}

void neap__cancel_push(neap_runtime *rt, neap_task *task) {
  if (task->future.state != NEAP__PENDING) return;
  if (task->on_path) { /* it waits for itself in the end */
    task->ring = true;
    return;
  }
  task->cancelling++;
  /* Several may wait for the same task: once a list is enough. */
  if (task->cancel_mark == rt->cancel_mark + 1) {
    if (!task->look) return;
    task->look = false;
    if (task->cancel_next != NULL) return; /* it is still to come */
  }
  task->look = false;
  push(rt, task);
}

void neap__cancel_look(neap_runtime *rt, neap_task *task) {
  if (task->future.state != NEAP__PENDING) return;
  if (task->on_path) {
    task->ring = true;
    return;
  }
  if (task->cancel_mark == rt->cancel_mark + 1 || rt->looks >= LOOKS) return;
  rt->looks++;
  task->look = true;
  push(rt, task);
}

/* Pushes what the task waits for, to be looked at. */
static void look(neap_runtime *rt, const neap_task *task) {
  neap_wait *wait = task->wait;
  if (wait == NULL || !(wait->flags & NEAP__INTERNAL) ||
      (wait->flags & NEAP__WOKEN))
    return;
  const void *object = neap__link_of(wait)->object;
  const neap__future *future = object;
  if (object == NULL) return;
  if (wait->flags & NEAP__ON_FUTURE) {
    if (future->is_task) neap__cancel_look(rt, (neap_task *)(uintptr_t)future);
    return;
  }
  const void *const *tag = *(const void *const *const *)object;
  const neap__teller *teller = rt->tellers[tag - rt->mt];
  size_t cursor = 0;
  while (teller != NULL && teller->child != NULL &&
         (future = teller->child(object, &cursor)) != NULL)
    if (future->is_task) neap__cancel_look(rt, (neap_task *)(uintptr_t)future);
}

static void cancel_one(neap_task *task) {
  neap_wait *wait = task->wait;
  if (wait == NULL || (wait->flags & (NEAP__WOKEN | NEAP__ABORTING))) {
    neap_runtime *rt = task->future.loop->rt;
    task->must_cancel = 1;
    /* The root drives a loop: the turn must not wait for events now. */
    if (wait == NULL && task == &rt->root) rt->root_turn = true;
    return;
  }
  neap_aborted answer = wait->abort(wait);
  if (wait->flags & NEAP__SHARED) answer = NEAP_ABORT_PENDING;
  if (answer == NEAP_ABORT_DONE) {
    task->must_cancel = 1;
    neap_wake(wait, UV_ECANCELED);
  } else if (answer == NEAP_ABORT_PENDING) {
    task->must_cancel = 1;
    wait->flags |= NEAP__ABORTING;
  } else {
    wait->flags |= NEAP__FORWARDED; /* a second cancel may come through again */
  }
}

static void set_message(lua_State *L, neap_task *task, int message) {
  neap_runtime *rt = task->future.loop->rt;
  lua_pushvalue(L, message);
  if (task == &rt->root) {
    neap__reg_set(L, NEAP__R_ROOT);
    return;
  }
  neap__push_task(L, task);
  lua_insert(L, -2);
  lua_setiuservalue(L, -2, NEAP__OUTCOME);
  lua_pop(L, 1);
}

/* Whether a cancellation is on its way to the task by its wait: that one's message
 * stays, as in asyncio. */
static bool is_told(const neap_task *task) {
  const neap_wait *wait = task->wait;
  if (wait == NULL) return false;
  if (wait->flags & NEAP__WOKEN) return wait->status == UV_ECANCELED;
  return (wait->flags & NEAP__ABORTING) != 0;
}

/* What the task waits for was dealt with. Where that waits for the task, nobody else
 * could let it go. */
static void leave_path(neap_task *task) {
  task->on_path = false;
  if (!task->ring) return;
  task->ring = false;
  if (task->look || task->wait == NULL || (task->wait->flags & NEAP__WOKEN))
    return;
  task->must_cancel = 1;
  neap_wake(task->wait, UV_ECANCELED);
}

/* Works off the list, a stack: each may push what it waits for, which is done before
 * the task itself is through. */
static void flush(neap_runtime *rt, lua_State *L, int message) {
  neap_task *task;
  while ((task = rt->cancel_list) != NULL) {
    if (task->on_path) {
      rt->cancel_list = task->cancel_next == task ? NULL : task->cancel_next;
      task->cancel_next = NULL;
      leave_path(task);
      continue;
    }
    task->on_path = true;
    if (task->look) {
      look(rt, task);
      continue;
    }
    if (message != 0 && !is_told(task) && lua_checkstack(L, 4))
      set_message(L, task, message);
    cancel_one(task);
  }
  rt->cancel_mark++;
  rt->looks = 0;
}

void neap__cancel_flush(neap_runtime *rt) {
  flush(rt, NULL, 0);
}

void neap__cancel_parked(lua_State *L, neap_task *task) {
  neap_runtime *rt = task->future.loop->rt;
  int message = 0;
  task->must_cancel = 0;
  task->on_path = true;
  cancel_one(task);
  if (task != &rt->root && lua_checkstack(L, 4)) {
    neap__push_task(L, task);
    lua_getiuservalue(L, -1, NEAP__OUTCOME);
    message = lua_gettop(L);
  }
  flush(rt, L, message);
  leave_path(task);
  if (message != 0) lua_settop(L, message - 2);
}

/* ---- cancelling, raising ---------------------------------------------------- */

bool neap__cancel(neap_task *task, lua_State *L, int message) {
  if (task->future.state != NEAP__PENDING) return false;
  neap_runtime *rt = task->future.loop->rt;
  neap__cancel_push(rt, task);
  flush(rt, L, message != 0 ? lua_absindex(L, message) : 0);
  return true;
}

int neap__raise_cancelled(lua_State *L, neap_runtime *rt) {
  neap_task *task = rt->current;
  if (task == &rt->root) neap__check_stopped(L, rt);
  /* First, so that it is not lost where there is no memory to raise it with. */
  neap__note_raised(task);
  luaL_checkstack(L, 6, NULL);
  if (task == NULL) {
    lua_pushnil(L);
  } else if (task == &rt->root) {
    neap__reg_get(L, NEAP__R_ROOT);
  } else {
    neap__push_task(L, task);
    lua_getiuservalue(L, -1, NEAP__OUTCOME);
    lua_remove(L, -2);
  }
  neap__error_new(L, NEAP__CANCELLEDERROR);
  return lua_error(L);
}

void neap__note_raised(neap_task *task) {
  if (task == NULL || task->cancelling == 0) return;
  task->raises++;
  task->swallowed = 0;
}
