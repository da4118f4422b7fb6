/* SPDX-License-Identifier: MIT
 *
 * waitfor.c - waiting for one thing in a particular way: wait_for gives it a limit
 * of time, shield keeps the caller's cancellation away from it.
 */
#include "internal.h"

/* ---- wait_for -------------------------------------------------------------------- */

/* Lives in a userdata of the caller's frame. */
typedef struct waitfor {
  const void *tag;
  neap__call call; /* the deadline has its place in the ready list */
  neap__timer timer;
  neap__watcher watcher;
  neap__future *future;
  neap__loop *loop;
  neap_wait *wait;
  bool expired;
} waitfor;

static void on_future_done(neap__watcher *watcher, neap__future *future) {
  waitfor *w = neap__container_of(watcher, waitfor, watcher);
  (void)future;
  neap_wake(w->wait, 0);
}

static void on_due(neap__timer *timer) {
  waitfor *w = neap__container_of(timer, waitfor, timer);
  neap__ready(w->loop, &w->call.item);
}

/* Too late: it is cancelled, and its end is waited for. */
static void give_up(waitfor *w) {
  w->expired = true;
  if (w->future->is_task) {
    neap__cancel((neap_task *)(void *)w->future, NULL, 0);
  } else {
    neap__complete(w->future, NEAP__CANCELLED);
  }
}

static void expire(neap__call *call) {
  waitfor *w = neap__container_of(call, waitfor, call);
  if (w->loop->closed || w->future->state != NEAP__PENDING) return;
  give_up(w);
}

static neap_aborted waitfor_abort(neap_wait *wait) {
  waitfor *w = neap__link_of(wait)->object;
  neap__cancel_future(w->loop->rt, w->future);
  return NEAP__ABORT_FORWARDED;
}

/* Frame: 1 the future, 2 the waitfor. */
static int waitfor_finish(lua_State *L, neap_wait *wait) {
  waitfor *w = neap__link_of(wait)->object;
  neap__future *future = w->future;
  neap__timer_disarm(w->loop, &w->timer);
  neap__unready(w->loop, &w->call.item);
  if (future->state == NEAP__PENDING) neap__unwatch(future, &w->watcher);
  if (L == NULL) return 0;
  neap_runtime *rt = neap__rt(L);
  neap__check_stopped(L, rt);
  if (wait->status < 0) {
    if (future->state == NEAP__RAISED) neap__seen(future);
    return neap__raise_cancelled(L, rt);
  }
  if (future->state == NEAP__CANCELLED) {
    if ((wait->flags & NEAP__FORWARDED) && rt->current->cancelling > 0)
      return neap__raise_cancelled(L, rt);
    if (w->expired) return neap__raise(L, NEAP__TIMEOUTERROR, NULL);
  }
  return neap__take(L, rt, 1);
}

/* wait_for(awaitable, timeout, ...) -> its results. After `timeout` seconds (nil: no
 * limit) it is cancelled; when it has ended, TimeoutError is raised. Waits. */
static int l_wait_for(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  luaL_checkany(L, 1);
  lua_Number limit = luaL_optnumber(L, 2, 0);
  bool limited = !lua_isnoneornil(L, 2);
  luaL_argcheck(L, limit == limit, 2, "seconds expected, got NaN");
  neap__future *future = neap__test_future(L, rt, 1);
  if (future != NULL && future->state != NEAP__PENDING) {
    neap__check_again(rt, L, "neap.wait_for");
    return neap__take(L, rt, 1);
  }
  neap__check_park(rt, L, "neap.wait_for");
  neap__loop *loop = neap__the_loop(L, rt);
  neap__timer_reserve(L, loop);
  waitfor *w = lua_newuserdatauv(L, sizeof *w, 0);
  *w = (waitfor){
      .tag = neap__tag(rt, NEAP__K_WAITFOR),
      .call = {.item = {.kind = NEAP__CALL}, .run = expire},
      .timer = {.fire = on_due},
      .watcher = {.notify = on_future_done},
      .loop = loop,
  };
  lua_replace(L, 2);
  if (future != NULL) {
    neap__check_here(L, rt, future, "await");
    lua_settop(L, 2);
  } else {
    /* the awaitable and its arguments, without the userdata in between */
    lua_pushvalue(L, 2);
    lua_insert(L, 1);
    lua_remove(L, 3);
    future = neap__ensure_future(L, rt, loop, lua_gettop(L) - 2, 1);
    lua_insert(L, 1);
  }
  w->future = future;
  neap_wait *wait =
      neap__own_wait(rt, waitfor_abort, waitfor_finish, "neap.wait_for");
  neap__link_of(wait)->object = w;
  w->wait = wait;
  neap__watch(future, &w->watcher);
  if (limited && limit > 0) {
    int64_t now = neap__now_near(rt);
    neap__timer_arm(loop, &w->timer, neap__after(now, limit), now);
  } else if (limited) { /* no time at all: a new task does not even begin */
    wait->task = rt->current;
    wait->task->future.loop = loop;
    give_up(w);
  }
  return neap__park(rt, L, wait);
}

/* ---- shield ---------------------------------------------------------------------- */

static void on_shielded_done(neap__watcher *watcher, neap__future *future) {
  (void)future;
  neap_wake(neap__container_of(watcher, neap_wait, link), 0);
}

static neap_aborted shield_abort(neap_wait *wait) {
  neap__link *link = neap__link_of(wait);
  neap__unwatch(link->object, &link->watcher);
  return NEAP_ABORT_DONE;
}

static int shield_finish(lua_State *L, neap_wait *wait) {
  if (L == NULL) return 0;
  neap_runtime *rt = neap__rt(L);
  if (wait->status < 0) return neap__raise_cancelled(L, rt);
  return neap__take(L, rt, 1);
}

/* shield(awaitable, ...) -> its results; cancelling the caller does not reach it. A
 * caller that has swallowed its own cancellation may use it. Waits. */
static int l_shield(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  luaL_checkany(L, 1);
  neap__future *future = neap__test_future(L, rt, 1);
  if (future != NULL && future->state != NEAP__PENDING)
    return neap__take(L, rt, 1);
  neap__check_place(rt, L, "neap.shield");
  if (future != NULL) {
    neap__check_here(L, rt, future, "await");
    lua_settop(L, 1);
  } else {
    neap__loop *loop = neap__the_loop(L, rt);
    future = neap__ensure_future(L, rt, loop, lua_gettop(L) - 1, 1);
  }
  neap_wait *wait =
      neap__own_wait(rt, shield_abort, shield_finish, "neap.shield");
  neap__link *link = neap__link_of(wait);
  wait->flags |= NEAP__ON_FUTURE;
  link->object = future;
  link->watcher.notify = on_shielded_done;
  neap__watch(future, &link->watcher);
  return neap__park(rt, L, wait);
}

/* For reports. */
static const neap__future *next_pending(const void *object, size_t *cursor) {
  const waitfor *w = object;
  return (*cursor)++ == 0 ? w->future : NULL;
}

void neap__waitfor_open(lua_State *L, neap_runtime *rt) {
  static const neap__teller teller = {.child = next_pending};
  neap__set_teller(rt, NEAP__K_WAITFOR, &teller);
  static const luaL_Reg functions[] = {
      {"wait_for", l_wait_for},
      {"shield", l_shield},
      {NULL, NULL},
  };
  neap__set_funcs(L, rt, functions);
}
