/* SPDX-License-Identifier: MIT
 *
 * wait.c - park and wake: the bridge between operations and tasks. The only
 * caller of lua_yieldk for a task, and the only place that knows how the root waits:
 * it cannot yield, so it runs the loop in place.
 *
 * A parked task's wait is woken or aborted at most once. Its `finish` runs once, in
 * the task, and the wait's memory is the operation's until then.
 */
#include "internal.h"

#include <signal.h>

/* How often a task may swallow its cancellation before a shutdown stops asking. */
#define GIVE_UP 1000

/* ---- may the caller wait? ------------------------------------------------- */

static int cannot_yield(lua_State *L, lua_State *where, const char *by,
                        const char *name) {
  luaL_checkstack(L, 4, NULL);
  if (by != NULL) {
    lua_pushstring(L, by);
  } else {
    neap__push_culprit(where, where == L ? 1 : 0);
    if (where != L) lua_xmove(where, L, 1);
  }
  return luaL_error(
      L,
      "cannot wait in '%s' here: Lua cannot suspend a task inside %s (do the "
      "waiting before that call, or in a task of its own: neap.create_task)",
      name, lua_tostring(L, -1));
}

void neap__check_place(neap_runtime *rt, lua_State *L, const char *name) {
  neap_task *task = rt->current;
  if (rt->shut)
    luaL_error(L, "cannot wait in '%s': the runtime is shut down", name);
  if (task == NULL)
    luaL_error(
        L,
        "cannot wait in '%s' inside a loop callback (start a task there: "
        "neap.create_task)",
        name);
  if (task == &rt->root) {
    neap__the_loop(L,
                   rt); /* what is started next needs it, and must not fail */
    return;
  }
  if (L != task->co) {
    neap__link_co *link = rt->chain;
    if (link == NULL || link->co != L)
      luaL_error(
          L,
          "cannot wait in '%s': this coroutine was not resumed by neap's "
          "coroutine.resume or wrap (require \"neap\" before keeping them in "
          "locals)",
          name);
    if (link->blocked) {
      while (link->by == NULL && lua_isyieldable(link->from) &&
             link->prev != NULL)
        link = link->prev;
      const char *by = link->by;
      if (by == NULL && link->prev != NULL && link->prev->co == link->from)
        by = link->prev->by; /* a coroutine inside a handler */
      cannot_yield(L, link->from, by, name);
    }
  }
  if (!lua_isyieldable(L)) cannot_yield(L, L, NULL, name);
}

/* The second half of giving other tasks a turn before a swallowed cancellation is
 * raised again: a loop around a pcall must not hold the event loop. */
static int again_finish(lua_State *L, neap_wait *wait) {
  (void)wait;
  return neap__raise_cancelled(L, neap_of(L));
}

static neap_aborted again_abort(neap_wait *wait) {
  (void)wait;
  return NEAP_ABORT_DONE;
}

/* In the root: what ends the program. A pcall that catches it only puts it off until
 * the next wait, where the host may end the program on the spot. */
static void raise_exit(lua_State *L, neap_runtime *rt) {
  rt->exiting = true;
  rt->root.swallowed = 0;
  rt->root.raises++;
  neap__raise(L, NEAP__SYSTEMEXIT, NULL);
}

void neap__check_park_slow(neap_runtime *rt, lua_State *L, const char *name,
                           bool waits) {
  neap_task *task = rt->current;
  if (task == &rt->root && atomic_load(&rt->interrupt) != 0)
    neap__check_interrupt(L, rt);
  if (task == &rt->root && task->swallowed && rt->exiting) {
    task->swallowed = 0; /* <close> handlers that the host runs may wait */
    if (rt->exit != NULL) rt->exit(rt->ud);
    raise_exit(L, rt);
  }
  if (task != NULL && task->swallowed) {
    if (task->cancelling == 0) {
      task->swallowed = 0;
    } else if (task != &rt->root && lua_isyieldable(L) &&
               (L == task->co || (rt->chain != NULL && rt->chain->co == L &&
                                  !rt->chain->blocked))) {
      neap_wait *wait = neap__own_wait(rt, again_abort, again_finish, name);
      /* At shutdown and in a cancel sweep, one that will not end is left parked. */
      if (!(rt->finishing || task->watched) || task->raises < GIVE_UP) {
        neap__ready(task->future.loop, &task->item);
        wait->flags |= NEAP__WOKEN;
      }
      neap__park(rt, L, wait); /* does not return */
    } else {
      neap__raise_cancelled(L, rt);
    }
  }
  if (waits) neap__check_place(rt, L, name);
}

void neap_check_park(lua_State *L, const char *name) {
  neap_runtime *rt = neap_of(L);
  if (rt == NULL) luaL_error(L, "'%s' needs neap", name);
  neap__check_park(rt, L, name);
}

/* ---- park ------------------------------------------------------------------ */

neap_wait *neap__own_wait(neap_runtime *rt, neap_abort abort,
                          neap_finish finish, const char *name) {
  neap_wait *wait = &rt->current->own;
  wait->abort = abort;
  wait->finish = finish;
  wait->name = name;
  wait->status = 0;
  wait->flags = NEAP__INTERNAL;
  neap__link_of(wait)->object = NULL;
  return wait;
}

#ifdef NEAP_DEBUG
static void stress(neap_runtime *rt, lua_State *L) {
  if (rt->gc_stress) lua_gc(L, LUA_GCCOLLECT);
}
#else
#define stress(rt, L) ((void)0)
#endif

/* One of the moments of a wait at which neap.test may cancel its task. */
static void watch(lua_State *L, neap_task *task, const char *name, bool woken) {
  neap_runtime *rt = task->future.loop->rt;
  neap__sentry *w = &rt->sentry;
  if (w->task != task || w->hit || w->count != w->at || w->on_wake != woken)
    return;
  w->hit = true;
  w->name = name;
  w->site = neap__site_at(L, rt, 1);
  neap__cancel(task, NULL, 0);
}

static int finish(lua_State *L, neap_task *task, neap_wait *wait) {
  task->wait = NULL;
  wait->task = NULL;
  if (NEAP__UNLIKELY(task->attention)) {
    if (task->watched) watch(L, task, wait->name, true);
    if (task->must_cancel) {
      task->must_cancel = 0;
      wait->status = UV_ECANCELED;
    }
  }
  return wait->finish(L, wait);
}

static int resumed_by_others(lua_State *L, const neap_wait *wait) {
  return luaL_error(L,
                    "a coroutine that waits in '%s' was resumed by a function "
                    "that does not know neap",
                    wait->name);
}

/* The task runs again. */
static int parked_k(lua_State *L, int status, lua_KContext context) {
  neap_wait *wait = (neap_wait *)context;
  neap_task *task = wait->task;
  (void)status;
  neap_runtime *rt = task->future.loop->rt;
  if (NEAP__UNLIKELY(rt->current != task || !(wait->flags & NEAP__WOKEN)))
    return resumed_by_others(L, wait);
  stress(rt, L);
  return finish(L, task, wait);
}

/* Asks the root's wait to stop, once. */
static void abort_root(neap_task *root, neap_wait *wait) {
  if (wait->flags & (NEAP__ABORTING | NEAP__WOKEN)) return;
  neap_runtime *rt = root->future.loop->rt;
  rt->stopped_in = wait->name;
  neap_aborted answer = wait->abort(wait);
  if (wait->flags & NEAP__SHARED) answer = NEAP_ABORT_PENDING;
  wait->flags |= NEAP__ABORTING;
  if (answer == NEAP_ABORT_DONE) {
    neap_wake(wait, UV_ECANCELED);
  } else if (answer == NEAP_ABORT_PENDING) {
    root->must_cancel = 1;
  }
  neap__cancel_flush(rt);
}

/* Keeps the report of a deadlock: the abort that follows changes what it tells. */
static int l_keep_deadlock(lua_State *L) {
  neap__push_deadlock(L, lua_touserdata(L, 1));
  neap__reg_set(L, NEAP__R_DEADLOCK);
  return 0;
}

static void note_deadlock(neap_runtime *rt, lua_State *L, neap__loop *loop) {
  rt->deadlock = true;
  if (!lua_checkstack(L, 2)) return;
  lua_pushcfunction(L, l_keep_deadlock);
  lua_pushlightuserdata(L, loop);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) lua_pop(L, 1);
}

static int park_root(neap_runtime *rt, lua_State *L, neap_wait *wait) {
  neap_task *root = &rt->root;
  neap__loop *loop = root->future.loop;
  neap__loop *outer = rt->running;
  neap__set_running(rt, loop);
  loop->running = true;
  root->since = loop->now = neap__now(rt);
  stress(rt, L);
  rt->root_turn = false;
  while (
      !rt->root_turn) { /* until it has come to its place in the ready list */
    if (!(wait->flags & NEAP__WOKEN)) {
      bool stop =
          loop->stopping ||
          atomic_load_explicit(&rt->interrupt, memory_order_relaxed) != 0;
      bool stuck = !neap__may_wake(loop);
      if (stuck && (wait->flags & NEAP__ABORTING)) {
        neap_wake(wait, UV_ECANCELED); /* nothing else will do it */
      } else if (stop || stuck) {
        if (!stop) note_deadlock(rt, L, loop);
        abort_root(root, wait);
      }
    }
    neap__turn(loop, L, -1);
  }
  rt->root_turn = false;
  loop->running = false;
  neap__set_running(rt, outer);
  rt->current = root;
  return finish(L, root, wait);
}

/* A coroutine inside the task leaves the mark that coro.c looks for; the task's own
 * needs none, since only sched.c resumes it. */
static inline int yield(lua_State *L, neap_runtime *rt, lua_KContext context,
                        lua_KFunction k) {
  int mark = L != rt->current->co;
  if (NEAP__UNLIKELY(mark)) lua_pushlightuserdata(L, rt);
  return lua_yieldk(L, mark, context, k);
}

int neap__park(neap_runtime *rt, lua_State *L, neap_wait *wait) {
  neap_task *task = rt->current;
  wait->task = task;
  task->wait = wait;
  if (NEAP__UNLIKELY(task == &rt->root))
    task->future.loop = neap__the_loop(L, rt);
  task->since = task->future.loop->now;
  if (!(wait->flags & NEAP__INTERNAL)) task->future.loop->nexternal++;
  if (NEAP__UNLIKELY(task->attention)) {
    if (task->watched) rt->sentry.count++;
    if (task->must_cancel) {
      neap__cancel_parked(L, task);
    } else {
      watch(L, task, wait->name, false);
    }
  }
  if (NEAP__UNLIKELY(task == &rt->root)) return park_root(rt, L, wait);
  stress(rt, L);
  return yield(L, rt, (lua_KContext)wait, parked_k);
}

/* The task that let others go first runs again. */
static int yielded_k(lua_State *L, int status, lua_KContext context) {
  neap_task *task = (neap_task *)context;
  neap_runtime *rt = task->future.loop->rt;
  (void)status;
  if (NEAP__UNLIKELY(rt->current != task || task->item.queued))
    return resumed_by_others(L, &task->own);
  stress(rt, L);
  task->wait = NULL;
  task->own.task = NULL;
  if (NEAP__UNLIKELY(task->attention)) {
    if (task->watched) { /* it was ready all the time: both moments are now */
      rt->sentry.count++;
      watch(L, task, task->own.name, rt->sentry.on_wake);
    }
    if (task->must_cancel) {
      task->must_cancel = 0;
      return neap__raise_cancelled(L, rt);
    }
  }
  return lua_gettop(L) - 1;
}

int neap__yield(neap_runtime *rt, lua_State *L, const char *name) {
  neap_task *task = rt->current;
  neap_wait *wait = &task->own;
  wait->name = name;
  wait->status = 0;
  wait->flags = NEAP__INTERNAL | NEAP__WOKEN;
  wait->task = task;
  neap__link_of(wait)->object = NULL;
  task->wait = wait;
  neap__ready(task->future.loop, &task->item);
  stress(rt, L);
  return yield(L, rt, (lua_KContext)task, yielded_k);
}

int neap_park(lua_State *L, neap_wait *wait) {
  neap_runtime *rt = neap_of(L);
  wait->flags &= NEAP__SHARED;
  /* Another thread may have written it already. */
  if (!(wait->flags & NEAP__SHARED)) wait->status = 0;
  return neap__park(rt, L, wait);
}

/* ---- wake ------------------------------------------------------------------ */

void neap_wake(neap_wait *wait, int status) {
  neap_task *task = wait->task;
  if (NEAP__UNLIKELY(wait->flags & NEAP__ORPHAN)) {
    wait->flags = 0;
    wait->status = UV_ECANCELED;
    wait->finish(NULL, wait);
    return;
  }
  if (NEAP__UNLIKELY(task == NULL || (wait->flags & NEAP__WOKEN))) return;
  neap__loop *loop = task->future.loop;
  wait->flags |= NEAP__WOKEN;
  wait->status = status;
  if (!(wait->flags & NEAP__INTERNAL)) loop->nexternal--;
  neap__ready(loop, &task->item);
  if (NEAP__UNLIKELY(loop->lent)) neap__loop_rearm(loop);
}

void neap_arm_threadsafe(neap_runtime *rt, neap_wait *wait) {
  neap_task *task = rt->current;
  neap__loop *loop = rt->running != NULL ? rt->running : rt->loop;
  if (task != NULL && task != &rt->root) loop = task->future.loop;
  wait->flags = NEAP__SHARED;
  neap__link_of(wait)->object = loop;
  if (loop->nshared++ == 0) neap__hold(loop, true);
}

void neap_wake_threadsafe(neap_wait *wait, int status) {
  neap__link *link = neap__link_of(wait);
  neap__loop *loop = link->object;
  uv_mutex_lock(&loop->mutex);
  wait->status = status;
  link->queue.next = loop->shared;
  loop->shared = wait;
  /* Inside the lock: the loop cannot be closed before this call is over. */
  uv_async_send(&loop->async);
  uv_mutex_unlock(&loop->mutex);
}

void neap__take_shared(neap__loop *loop) {
  uv_mutex_lock(&loop->mutex);
  neap_wait *list = loop->shared;
  loop->shared = NULL;
  uv_mutex_unlock(&loop->mutex);
  neap_wait *first = NULL; /* it came last in, first out */
  while (list != NULL) {
    neap_wait *next = neap__link_of(list)->queue.next;
    neap__link_of(list)->queue.next = first;
    first = list;
    list = next;
  }
  while (first != NULL) {
    neap_wait *next = neap__link_of(first)->queue.next;
    if (--loop->nshared == 0) neap__hold(loop, false);
    first->flags &= ~(unsigned)NEAP__SHARED;
    neap_wake(first, first->status);
    first = next;
  }
}

/* ---- the task is ended by others ---------------------------------------------- */

void neap__orphan(neap_task *task) {
  neap_wait *wait = task->wait;
  task->wait = NULL;
  if (wait == NULL) return;
  neap__loop *loop = task->future.loop;
  if (!(wait->flags & (NEAP__INTERNAL | NEAP__WOKEN))) loop->nexternal--;
  if (wait->flags & NEAP__INTERNAL) {
    /* Its memory is the task's own. Nobody may know it any more. */
    if (!(wait->flags & (NEAP__WOKEN | NEAP__ABORTING)) &&
        wait->abort(wait) == NEAP__ABORT_FORWARDED)
      neap__cancel_flush(loop->rt);
    wait->task = NULL;
    wait->status = UV_ECANCELED;
    if (neap__link_of(wait)->object != NULL) wait->finish(NULL, wait);
    return;
  }
  wait->task = NULL;
  if (!(wait->flags & NEAP__WOKEN)) {
    if ((wait->flags & (NEAP__ABORTING | NEAP__SHARED)) ||
        wait->abort(wait) != NEAP_ABORT_DONE) {
      wait->flags |= NEAP__ORPHAN;
      return;
    }
  }
  wait->flags = 0;
  wait->status = UV_ECANCELED;
  wait->finish(NULL, wait);
}

/* ---- the root is stopped ------------------------------------------------------ */

void neap__check_interrupt(lua_State *L, neap_runtime *rt) {
  int signal = atomic_exchange(&rt->interrupt, 0);
  if (signal == 0) return;
  if (signal == NEAP__OVERDUE) neap__raise_overdue(L, rt);
  rt->stopped_in = NULL;
  if (signal != SIGINT) raise_exit(L, rt);
  neap__raise(L, NEAP__KEYBOARDINTERRUPT, NULL);
}

void neap__check_stopped(lua_State *L, neap_runtime *rt) {
  if (rt->current != &rt->root) return;
  bool deadlock = rt->deadlock;
  rt->deadlock = false;
  if (atomic_load(&rt->interrupt) != 0) neap__check_interrupt(L, rt);
  rt->stopped_in = NULL;
  if (deadlock) {
    neap__reg_get(L, NEAP__R_DEADLOCK);
    lua_pushnil(L);
    neap__reg_set(L, NEAP__R_DEADLOCK);
    if (lua_isnil(L, -1)) neap__push_deadlock(L, rt->root.future.loop);
    lua_error(L);
  }
  neap__loop *loop = rt->root.future.loop; /* NULL before its first wait */
  if (loop != NULL && loop->stopping) {
    loop->stopping = false;
    neap__raise(L, NEAP__INVALIDSTATEERROR,
                "Event loop stopped before Future completed.");
  }
}
