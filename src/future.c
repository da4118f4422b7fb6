/* SPDX-License-Identifier: MIT
 *
 * future.c - futures: an outcome that is to come, who watches for it, and errors
 * that nobody looks at. A Task begins with a future (task.c).
 *
 * The outcome is in user value 1 before neap__complete is called. Completing tells
 * the watchers in the order of their arrival; none of them runs Lua.
 */
#include "internal.h"

#include <string.h>

/* ---- watchers -------------------------------------------------------------- */

void neap__watch(neap__future *future, neap__watcher *watcher) {
  neap__watcher *first = future->first;
  if (first == NULL) {
    watcher->next = watcher->prev = watcher;
    future->first = watcher;
    return;
  }
  watcher->next = first;
  watcher->prev = first->prev;
  first->prev->next = watcher;
  first->prev = watcher;
}

void neap__unwatch(neap__future *future, neap__watcher *watcher) {
  if (watcher->next == NULL) return;
  if (watcher->next == watcher) {
    future->first = NULL;
  } else {
    watcher->prev->next = watcher->next;
    watcher->next->prev = watcher->prev;
    if (future->first == watcher) future->first = watcher->next;
  }
  watcher->next = watcher->prev = NULL;
}

void neap__complete(neap__future *future, enum neap__state state) {
  neap__watcher *watcher;
  future->state = (unsigned char)state;
  while ((watcher = future->first) != NULL) {
    neap__unwatch(future, watcher);
    watcher->notify(watcher, future);
  }
  future->lost = NULL;
}

/* ---- errors that nobody looks at --------------------------------------------- */

static void drop_lost(neap_runtime *rt, neap__lost *lost) {
  lost->prev->next = lost->next;
  lost->next->prev = lost->prev;
  neap__alloc(rt, lost, sizeof *lost, 0);
}

void neap__lost_free(neap_runtime *rt) {
  while (rt->lost.next != &rt->lost)
    drop_lost(rt, rt->lost.next);
}

void neap__seen(neap__future *future) {
  future->quiet = 1;
  if (future->state != NEAP__RAISED || future->lost == NULL) return;
  neap__lost *lost = future->lost;
  future->lost = NULL;
  drop_lost(lost->loop->rt, lost);
}

/* A userdata that is collected with the future, which is its user value, has the
 * finalizer that reports. */
void neap__track_lost(lua_State *L, neap_runtime *rt, neap__future *future) {
  if (future->quiet || rt->shut) return;
  luaL_checkstack(L, 6, NULL);
  int index = lua_gettop(L);
  lua_newuserdatauv(L, 0, 1);
  neap__push_class(L, rt, NEAP__K_LOST);
  lua_setmetatable(L, -2);
  neap__push_extra(L, index);
  lua_pushvalue(L, -2);
  lua_setfield(L, -2, "lost");
  lua_pop(L, 1);
  lua_pushvalue(L, index);
  lua_setiuservalue(L, -2, 1);
  neap__reg_get(L, NEAP__R_LOST);
  lua_pushvalue(L, index);
  lua_rawsetp(L, -2, future);
  lua_pop(L, 2);
  neap__lost *lost = neap__alloc(rt, NULL, 0, sizeof *lost);
  if (lost == NULL) luaL_error(L, "not enough memory");
  *lost = (neap__lost){&rt->lost, rt->lost.prev, future, future->loop};
  lost->prev->next = lost;
  rt->lost.prev = lost;
  future->lost = lost;
}

/* Reports the error of the future on top of the stack. [-1, +0, m] */
static void report_one(lua_State *L, neap__future *future) {
  int index = lua_gettop(L);
  neap__loop *loop = future->loop;
  neap__seen(future);
  lua_getiuservalue(L, index, NEAP__OUTCOME);
  if (lua_getiuservalue(L, index, NEAP__EXTRA) == LUA_TTABLE) {
    lua_getfield(L, -1, "traceback");
    lua_remove(L, -2);
  }
  neap__report(L, loop,
               future->is_task ? "Task exception was never retrieved"
                               : "Future exception was never retrieved",
               future->is_task ? "task" : "future", index);
  lua_settop(L, index - 1);
}

static int l_lost_gc(lua_State *L) {
  if (neap__rt(L)->closing) return 0;
  lua_settop(L, 1);
  lua_getiuservalue(L, 1, 1);
  neap__future *future = lua_touserdata(L, 2);
  if (future != NULL && future->state == NEAP__RAISED && future->lost != NULL)
    report_one(L, future);
  return 0;
}

/* Pushes the future of an error, or nil when it was collected unreported. */
static bool push_lost(lua_State *L, const neap__lost *lost) {
  neap__reg_get(L, NEAP__R_LOST);
  lua_rawgetp(L, -1, lost->future);
  lua_remove(L, -2);
  neap__future *future = lua_touserdata(L, -1); /* or a later one, same place */
  return future != NULL && future->state == NEAP__RAISED &&
         future->lost == lost;
}

void neap__report_lost(lua_State *L, neap_runtime *rt, neap__loop *loop) {
  for (neap__lost *lost = rt->lost.next; lost != &rt->lost;) {
    if (lost->loop != loop) {
      lost = lost->next;
      continue;
    }
    if (push_lost(L, lost)) {
      report_one(L, lost->future);
    } else {
      lua_pop(L, 1);
      drop_lost(rt, lost);
      neap__unhandled(rt, "Task exception was never retrieved",
                      "Task exception was never retrieved\n"
                      "(not enough memory to report it in time)");
    }
    lost = rt->lost.next; /* a handler may have looked at others */
  }
}

/* ---- outcomes ------------------------------------------------------------------ */

neap__future *neap__test_future(lua_State *L, neap_runtime *rt, int index) {
  void *p = lua_touserdata(L, index);
  if (p == NULL || !lua_getmetatable(L, index)) return NULL;
  const void *mt = lua_topointer(L, -1);
  lua_pop(L, 1);
  return mt == rt->mt[NEAP__K_TASK] || mt == rt->mt[NEAP__K_FUTURE] ? p : NULL;
}

neap__future *neap__check_future(lua_State *L, neap_runtime *rt, int index) {
  neap__future *future = neap__test_future(L, rt, index);
  if (future == NULL) luaL_typeerror(L, index, "Task or Future");
  return future;
}

void neap__push_cancelled(lua_State *L, int index) {
  lua_getiuservalue(L, index, NEAP__OUTCOME);
  if (!neap__error_is(L, -1, NEAP__CANCELLEDERROR))
    neap__error_new(L, NEAP__CANCELLEDERROR); /* it was the message */
}

void neap__push_extra(lua_State *L, int index) {
  index = lua_absindex(L, index);
  if (lua_getiuservalue(L, index, NEAP__EXTRA) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_createtable(L, 0, 2);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, index, NEAP__EXTRA);
}

int neap__take(lua_State *L, neap_runtime *rt, int index) {
  neap__future *future = lua_touserdata(L, index);
  index = lua_absindex(L, index);
  luaL_checkstack(L, 6, NULL);
  switch (future->state) {
  case NEAP__RETURNED:
    if (future->nresults == 0) return 0;
    lua_getiuservalue(L, index, NEAP__OUTCOME);
    if (future->nresults == 1) return 1;
    luaL_checkstack(L, future->nresults, "too many results");
    index = lua_gettop(L);
    for (int i = 1; i <= future->nresults; i++)
      lua_rawgeti(L, index, i);
    return future->nresults;
  case NEAP__RAISED:
    neap__seen(future);
    if (lua_getiuservalue(L, index, NEAP__EXTRA) == LUA_TTABLE) {
      lua_getfield(L, -1, "traceback");
      lua_remove(L, -2);
    }
    lua_getiuservalue(L, index, NEAP__OUTCOME);
    if (lua_isstring(L, -2)) neap__note_inner(L, rt);
    return lua_error(L);
  case NEAP__CANCELLED:
    neap__push_cancelled(L, index);
    return lua_error(L);
  default:
    return neap__raise(L, NEAP__INVALIDSTATEERROR, "Result is not ready.");
  }
}

/* ---- await ----------------------------------------------------------------------- */

static void on_await_done(neap__watcher *watcher, neap__future *future) {
  neap_wait *wait = neap__container_of(watcher, neap_wait, link);
  (void)future;
  neap_wake(wait, 0);
}

void neap__cancel_future(neap_runtime *rt, neap__future *future) {
  if (future->state != NEAP__PENDING) return;
  if (future->is_task) {
    neap__cancel_push(rt, (neap_task *)(void *)future);
  } else {
    neap__complete(future, NEAP__CANCELLED);
  }
}

static neap_aborted await_abort(neap_wait *wait) {
  neap__future *future = neap__link_of(wait)->object;
  neap__cancel_future(future->loop->rt, future);
  return NEAP__ABORT_FORWARDED;
}

static int await_finish(lua_State *L, neap_wait *wait) {
  neap__future *future = neap__link_of(wait)->object;
  neap_runtime *rt = future->loop->rt;
  neap_task *task = rt->current;
  if (future->state == NEAP__PENDING)
    neap__unwatch(future, &neap__link_of(wait)->watcher);
  if (L == NULL) return 0;
  neap__check_stopped(L, rt);
  if (wait->status == UV_ECANCELED) {
    if (future->state == NEAP__RAISED) neap__seen(future);
    return neap__raise_cancelled(L, rt);
  }
  if (future->state == NEAP__CANCELLED && task->cancelling > 0 &&
      (wait->flags & NEAP__FORWARDED)) {
    if (!future->is_task) return neap__raise_cancelled(L, rt);
    neap__note_raised(task);
  }
  return neap__take(L, rt, 1);
}

void neap__check_here(lua_State *L, neap_runtime *rt,
                      const neap__future *future, const char *how) {
  if (rt->current != NULL && future == &rt->current->future)
    luaL_error(L, "a task cannot %s itself", how);
  if (future->loop != neap__the_loop(L, rt))
    luaL_error(L, "cannot %s a %s that belongs to another event loop", how,
               future->is_task ? "Task" : "Future");
}

int neap__await(lua_State *L, neap_runtime *rt, neap__future *future) {
  if (future->state != NEAP__PENDING) {
    neap__check_again(rt, L, "await");
    return neap__take(L, rt, 1);
  }
  neap__check_park(rt, L, "await");
  neap__check_here(L, rt, future, "await");
  neap_wait *wait = neap__own_wait(rt, await_abort, await_finish, "await");
  wait->flags |= NEAP__ON_FUTURE;
  neap__link *link = neap__link_of(wait);
  link->object = future;
  link->watcher.notify = on_await_done;
  neap__watch(future, &link->watcher);
  return neap__park(rt, L, wait);
}

int neap_wait_task(lua_State *L, int index) {
  neap_runtime *rt = neap_of(L);
  if (rt == NULL) return luaL_error(L, "this Lua state has no neap");
  neap__check_future(L, rt, index);
  lua_pushvalue(L, index);
  lua_insert(L, 1);
  return neap__await(L, rt, lua_touserdata(L, 1));
}

/* ---- Lua functions ----------------------------------------------------------------- */

static neap__future *self(lua_State *L) {
  return neap__check_future(L, neap__rt(L), 1);
}

/* A Future, not a Task: only those are given outcomes from outside. */
static neap__future *self_to_set(lua_State *L) {
  neap__future *future = self(L);
  if (future->is_task)
    luaL_error(L, "a Task does not support this: its function decides");
  if (future->state != NEAP__PENDING)
    neap__raise(L, NEAP__INVALIDSTATEERROR, "invalid state");
  return future;
}

/* future:await() -> results. Waits; raises the future's error. */
static int l_await(lua_State *L) {
  neap__future *future = self(L);
  lua_settop(L, 1);
  return neap__await(L, neap__rt(L), future);
}

/* future:result() -> results; raises its error, InvalidStateError while pending. */
static int l_result(lua_State *L) {
  self(L);
  lua_settop(L, 1);
  return neap__take(L, neap__rt(L), 1);
}

/* future:exception() -> its error or nil; raises CancelledError when it was
 * cancelled, InvalidStateError while pending. */
static int l_exception(lua_State *L) {
  neap__future *future = self(L);
  lua_settop(L, 1);
  if (future->state == NEAP__CANCELLED) return neap__take(L, neap__rt(L), 1);
  if (future->state == NEAP__PENDING)
    return neap__raise(L, NEAP__INVALIDSTATEERROR, "Exception is not set.");
  neap__seen(future);
  if (future->state == NEAP__RETURNED) {
    lua_pushnil(L);
  } else {
    lua_getiuservalue(L, 1, NEAP__OUTCOME);
  }
  return 1;
}

/* future:done() -> whether it has an outcome. */
static int l_done(lua_State *L) {
  lua_pushboolean(L, self(L)->state != NEAP__PENDING);
  return 1;
}

/* future:cancelled() -> whether its outcome is a cancellation. */
static int l_cancelled(lua_State *L) {
  lua_pushboolean(L, self(L)->state == NEAP__CANCELLED);
  return 1;
}

/* future:cancel(message) -> false when it was done already. */
static int l_cancel(lua_State *L) {
  neap__future *future = self(L);
  lua_settop(L, 2);
  bool pending = future->state == NEAP__PENDING;
  if (pending && future->is_task) {
    neap__cancel((neap_task *)(void *)future, L, 2);
  } else if (pending) {
    lua_setiuservalue(L, 1, NEAP__OUTCOME);
    neap__complete(future, NEAP__CANCELLED);
  }
  lua_pushboolean(L, pending);
  return 1;
}

/* future:set_result(...): done, with these results. */
static int l_set_result(lua_State *L) {
  neap__future *future = self_to_set(L);
  int n = lua_gettop(L) - 1;
  if (n > 1) {
    lua_createtable(L, n, 0);
    lua_insert(L, 2);
    for (int i = n; i >= 1; i--)
      lua_rawseti(L, 2, i);
  }
  if (n > 0) lua_setiuservalue(L, 1, NEAP__OUTCOME);
  future->nresults = n;
  neap__complete(future, NEAP__RETURNED);
  return 0;
}

/* future:set_exception(err): done, with this error. */
static int l_set_exception(lua_State *L) {
  luaL_checkany(L, 2);
  neap__future *future = self_to_set(L);
  luaL_argcheck(L, !lua_isnil(L, 2), 2, "an error is needed, got nil");
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, NEAP__OUTCOME);
  neap__complete(future, NEAP__RAISED);
  neap__track_lost(L, neap__rt(L), future);
  return 0;
}

static void on_callback_due(neap__watcher *watcher, neap__future *future) {
  neap__handle *handle = neap__container_of(watcher, neap__handle, watcher);
  (void)future;
  neap__ready(handle->loop, &handle->item);
}

void neap__watch_callback(neap__future *future, neap__handle *handle) {
  if (future->state == NEAP__PENDING) {
    handle->watcher.notify = on_callback_due;
    neap__watch(future, &handle->watcher);
  } else {
    neap__ready(handle->loop, &handle->item);
  }
}

/* future:add_done_callback(fn): the loop calls fn(future) once it is done. */
static int l_add_done_callback(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__future *future = self(L);
  neap__check_callback(L, 2);
  lua_settop(L, 2);
  neap__push_extra(L, 1);
  if (lua_getfield(L, -1, "callbacks") != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "callbacks");
  }
  lua_pushvalue(L, 2);
  lua_pushvalue(L, 1);
  neap__handle *handle = neap__handle_new(L, rt, future->loop, 1);
  lua_pushvalue(L, -1);
  lua_rawseti(L, -3, (lua_Integer)lua_rawlen(L, -3) + 1);
  handle->slot = neap__anchor(L, rt);
  neap__watch_callback(future, handle);
  return 0;
}

/* future:remove_done_callback(fn) -> how many were removed. */
static int l_remove_done_callback(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__future *future = self(L);
  lua_settop(L, 2);
  lua_Integer removed = 0;
  neap__push_extra(L, 1);
  if (lua_getfield(L, -1, "callbacks") != LUA_TTABLE) {
    lua_pushinteger(L, 0);
    return 1;
  }
  lua_Integer n = (lua_Integer)lua_rawlen(L, -1), kept = 0;
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, -1, i);
    neap__handle *handle = lua_touserdata(L, -1);
    lua_getiuservalue(L, -1, 1);
    if (handle->watcher.next != NULL && lua_compare(L, -1, 2, LUA_OPEQ)) {
      neap__unwatch(future, &handle->watcher);
      neap__unanchor(L, rt, handle->slot);
      handle->slot = 0;
      removed++;
      lua_pop(L, 2);
    } else {
      lua_pop(L, 1);
      lua_rawseti(L, -2, ++kept);
    }
  }
  for (lua_Integer i = kept + 1; i <= n; i++) {
    lua_pushnil(L);
    lua_rawseti(L, -2, i);
  }
  lua_pushinteger(L, removed);
  return 1;
}

static int l_tostring(lua_State *L) {
  static const char *const states[] = {"pending", "finished", "failed",
                                       "cancelled"};
  neap__future *future = self(L);
  lua_pushfstring(L, "<Future %s>", states[future->state]);
  return 1;
}

/* Future() -> a future of the current loop. */
static int l_future(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__future_new(L, rt, neap__the_loop(L, rt));
  return 1;
}

neap__future *neap__future_new(lua_State *L, neap_runtime *rt,
                               neap__loop *loop) {
  neap__future *future = lua_newuserdatauv(L, sizeof *future, 2);
  memset(future, 0, sizeof *future);
  future->loop = loop;
  neap__push_class(L, rt, NEAP__K_FUTURE);
  lua_setmetatable(L, -2);
  return future;
}

const luaL_Reg neap__future_methods[] = {
    {"await", l_await},
    {"result", l_result},
    {"exception", l_exception},
    {"done", l_done},
    {"cancelled", l_cancelled},
    {"cancel", l_cancel},
    {"add_done_callback", l_add_done_callback},
    {"remove_done_callback", l_remove_done_callback},
    {NULL, NULL},
};

static const luaL_Reg future_only[] = {
    {"set_result", l_set_result},
    {"set_exception", l_set_exception},
    {"__tostring", l_tostring},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {{"Future", l_future}, {NULL, NULL}};

void neap__future_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg lost[] = {{"__gc", l_lost_gc}, {NULL, NULL}};
  neap__new_class(L, rt, NEAP__K_FUTURE, "neap.Future", neap__future_methods);
  neap__set_funcs(L, rt, future_only);
  lua_pop(L, 1);
  neap__new_class(L, rt, NEAP__K_LOST, "neap.lost", lost);
  lua_pop(L, 1);
  neap__set_funcs(L, rt, functions);
}
