/* SPDX-License-Identifier: MIT
 *
 * eventloop.c - the Loop object of Lua, which loop is the current one, and neap.run.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- which one ------------------------------------------------------------------ */

/* Pushes a new Loop object with a loop of its own. [-0, +1, m] */
static neap__loop *new_loop(lua_State *L, neap_runtime *rt, uv_loop_t *lent) {
  if (rt->shut) luaL_error(L, "the runtime is shut down");
  luaL_checkstack(L, 6, NULL);
  neap__loop_object *object = lua_newuserdatauv(L, sizeof *object, 1);
  object->loop = NULL;
  neap__push_class(L, rt, NEAP__K_LOOP);
  lua_setmetatable(L, -2);
  neap__reg_get(L, NEAP__R_LOOPS);
  int status = neap__loop_init(rt, lent, &object->loop);
  if (status < 0) neap_fail(L, status, "new_event_loop");
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, object->loop);
  lua_pop(L, 1);
  return object->loop;
}

neap__loop *neap__the_loop(lua_State *L, neap_runtime *rt) {
  if (NEAP__LIKELY(rt->running != NULL)) return rt->running;
  if (rt->loop == NULL) {
    neap__set_current(rt, new_loop(L, rt, rt->lent_uv));
    rt->lent_uv = NULL; /* only the first loop lives there */
    lua_pop(L, 1);
  }
  return rt->loop;
}

void neap__push_loop(lua_State *L, neap__loop *loop) {
  neap__reg_get(L, NEAP__R_LOOPS);
  lua_rawgetp(L, -1, loop);
  lua_remove(L, -2);
}

neap__loop *neap__check_loop(lua_State *L, neap_runtime *rt) {
  neap__loop_object *object = neap__check(L, rt, 1, NEAP__K_LOOP, "event loop");
  if (object->loop == NULL) luaL_error(L, "Event loop is closed");
  return object->loop;
}

static neap__loop *self(lua_State *L) {
  return neap__check_loop(L, neap__rt(L));
}

/* ---- running ---------------------------------------------------------------------- */

static void check_can_run(lua_State *L, neap_runtime *rt,
                          const neap__loop *loop) {
  if (loop->running) luaL_error(L, "This event loop is already running");
  if (rt->running != NULL || rt->current != &rt->root)
    luaL_error(L, "Cannot run the event loop while another loop is running");
}

/* Raises what ended a drive early. */
static void check_driven(lua_State *L, neap__loop *loop, int status) {
  neap_runtime *rt = loop->rt;
  if (status == UV_ECANCELED) {
    neap__raise_cancelled(L, rt);
  } else if (status == UV_EINTR) {
    atomic_store(&rt->stop, false);
    neap__check_interrupt(L, rt);
  } else if (status == NEAP_EDEADLK) {
    neap__push_deadlock(L, loop);
    lua_error(L);
  }
}

/* stop() before a run means: one turn. */
static void stop_after_turn(lua_State *L, neap__loop *loop) {
  if (!loop->stopping) return;
  loop->stopping = false;
  lua_pushnil(L);
  neap__handle *stop = neap__handle_new(L, loop->rt, loop, 0);
  stop->nargs = NEAP__STOPS;
  stop->slot = neap__anchor(L, loop->rt);
  neap__ready(loop, &stop->item);
}

/* Drives the loop until the future is done. The status of the drive. */
static int run_until(lua_State *L, neap__loop *loop, neap__future *future) {
  neap_runtime *rt = loop->rt;
  stop_after_turn(L, loop);
  lua_pushnil(L);
  neap__handle *stop = neap__handle_new(L, rt, loop, 0);
  stop->nargs = NEAP__STOPS;
  lua_pushvalue(L, -1);
  stop->slot = neap__anchor(L, rt);
  neap__watch_callback(future, stop);
  int status = neap__loop_drive(loop, L, future, true);
  stop->cancelled = 1;
  if (stop->watcher.next != NULL) {
    neap__unwatch(future, &stop->watcher);
    neap__unanchor(L, rt, stop->slot);
    stop->slot = 0;
  }
  lua_pop(L, 1);
  return status;
}

/* loop:run_until_complete(awaitable, ...) -> its results; raises its error. Not while
 * a loop is running. */
static int l_run_until_complete(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__loop *loop = self(L);
  check_can_run(L, rt, loop);
  luaL_checkany(L, 2);
  neap__future *future = neap__ensure_future(L, rt, loop, lua_gettop(L) - 2, 2);
  if (future->loop != loop)
    luaL_error(L, "The future belongs to a different loop than the one "
                  "specified");
  int status = run_until(L, loop, future);
  check_driven(L, loop, status);
  if (future->state == NEAP__PENDING)
    return neap__raise(L, NEAP__INVALIDSTATEERROR,
                       "Event loop stopped before Future completed.");
  return neap__take(L, rt, 2);
}

/* loop:run_forever(): runs until loop:stop(). */
static int l_run_forever(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__loop *loop = self(L);
  check_can_run(L, rt, loop);
  stop_after_turn(L, loop);
  check_driven(L, loop, neap__loop_drive(loop, L, NULL, true));
  return 0;
}

/* loop:stop(): the run ends after the present turn. */
static int l_stop(lua_State *L) {
  self(L)->stopping = true;
  return 0;
}

/* loop:close(): not while it runs; a second call does nothing. */
static int l_close(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__loop_object *object = neap__check(L, rt, 1, NEAP__K_LOOP, "event loop");
  neap__loop *loop = object->loop;
  if (loop == NULL) return 0;
  if (loop->running || loop->in_turn)
    luaL_error(L, "Cannot close a running event loop");
  neap__loop_close(loop, L);
  return 0;
}

/* run(main, ...) -> results of main(...), run as a task in a new loop; raises its
 * error. What is left is cancelled, the loop is closed. */
static int l_run(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  luaL_checkany(L, 1);
  if (rt->running != NULL || rt->current != &rt->root)
    luaL_error(L, "neap.run() cannot be called from a running event loop");
  neap__check_awaitable(L, rt, 1, 1); /* before there is a loop to be closed */
  neap__loop *loop = new_loop(L, rt, NULL);
  lua_insert(L, 1);
  neap__loop *outer = rt->loop;
  neap__future *future = neap__ensure_future(L, rt, loop, lua_gettop(L) - 2, 1);
  if (future->loop != loop) {
    neap__loop_close(loop, L);
    luaL_argerror(L, 1, "it belongs to another event loop");
  }
  neap__set_current(rt, loop);
  int status = run_until(L, loop, future);
  int interrupt = atomic_exchange(&rt->interrupt, 0);
  if (status == NEAP_EDEADLK) neap__push_deadlock(L, loop);
  bool stopped = status == 0 && future->state == NEAP__PENDING;
  neap__loop_finish(loop, L);
  neap__seen(future); /* its error is raised here, or gives way */
  neap__loop_close(loop, L);
  neap__set_current(rt, outer);
  if (status == NEAP_EDEADLK) return lua_error(L);
  if (interrupt != 0) atomic_store(&rt->interrupt, interrupt);
  check_driven(L, loop, status);
  if (stopped)
    return neap__raise(L, NEAP__INVALIDSTATEERROR,
                       "Event loop stopped before Future completed.");
  return neap__take(L, rt, 2);
}

/* ---- callbacks ---------------------------------------------------------------------- */

/* loop:call_soon(fn, ...) -> Handle. */
static int l_call_soon(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__loop *loop = self(L);
  neap__check_callback(L, 2);
  neap__handle *handle = neap__handle_new(L, rt, loop, lua_gettop(L) - 2);
  lua_pushvalue(L, -1);
  handle->slot = neap__anchor(L, rt);
  neap__ready(loop, &handle->item);
  return 1;
}

static int call_at(lua_State *L, neap__loop *loop, double when, int64_t ns,
                   int64_t now) {
  neap__check_callback(L, 3);
  neap__timer_reserve(L, loop);
  neap__handle *handle = neap__handle_new(L, loop->rt, loop, lua_gettop(L) - 3);
  handle->when = when;
  lua_pushvalue(L, -1);
  handle->slot = neap__anchor(L, loop->rt);
  neap__timer_arm(loop, &handle->timer, ns, now);
  return 1;
}

/* loop:call_later(delay, fn, ...) -> Handle. delay: seconds. */
static int l_call_later(lua_State *L) {
  neap__loop *loop = self(L);
  lua_Number delay = luaL_checknumber(L, 2);
  luaL_argcheck(L, delay == delay, 2, "seconds expected, got NaN");
  int64_t now = neap__now(loop->rt);
  return call_at(L, loop, (double)now / 1e9 + delay, neap__after(now, delay),
                 now);
}

/* loop:call_at(when, fn, ...) -> Handle. when: seconds of loop:time(). */
static int l_call_at(lua_State *L) {
  neap__loop *loop = self(L);
  lua_Number when = luaL_checknumber(L, 2);
  luaL_argcheck(L, when == when, 2, "seconds expected, got NaN");
  return call_at(L, loop, when, neap__to_ns(when), neap__now(loop->rt));
}

/* loop:create_task(fn, ...) -> Task of this loop. */
static int l_create_task(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__loop *loop = self(L);
  luaL_checkany(L, 2);
  if (neap__test_future(L, rt, 2) != NULL)
    luaL_argerror(L, 2, "function or coroutine expected, got a Task or Future");
  neap__ensure_future(L, rt, loop, lua_gettop(L) - 2, 2);
  return 1;
}

/* loop:create_future() -> Future of this loop. */
static int l_create_future(lua_State *L) {
  neap__future_new(L, neap__rt(L), self(L));
  return 1;
}

/* loop:run_in_executor(executor or nil, fn, ...) -> Future. What it is about is in
 * lua/neap/thread/executor.lua. */
static int l_run_in_executor(lua_State *L) {
  self(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "neap.thread.executor");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "run_in_executor");
  lua_insert(L, 1);
  lua_pop(L, 1);
  lua_call(L, lua_gettop(L) - 1, 1);
  return 1;
}

/* ---- the rest -------------------------------------------------------------------------- */

static int l_is_running(lua_State *L) {
  neap__loop_object *object =
      neap__check(L, neap__rt(L), 1, NEAP__K_LOOP, "event loop");
  neap__loop *loop = object->loop;
  lua_pushboolean(L, loop != NULL && (loop->running || loop->in_turn));
  return 1;
}

static int l_is_closed(lua_State *L) {
  neap__loop_object *object =
      neap__check(L, neap__rt(L), 1, NEAP__K_LOOP, "event loop");
  lua_pushboolean(L, object->loop == NULL);
  return 1;
}

/* loop:time() -> seconds of the monotonic clock. */
static int l_time(lua_State *L) {
  lua_pushnumber(L, (lua_Number)neap__now(self(L)->rt) / 1e9);
  return 1;
}

/* loop:set_exception_handler(fn or nil): fn(loop, context) gets what nobody handled. */
static int l_set_exception_handler(lua_State *L) {
  self(L);
  if (!lua_isnoneornil(L, 2)) neap__check_callback(L, 2);
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, 1);
  return 0;
}

/* loop:call_exception_handler(context) */
static int l_call_exception_handler(lua_State *L) {
  neap__loop *loop = self(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  neap__call_handler(L, loop);
  return 0;
}

/* loop:default_exception_handler(context) */
static int l_default_exception_handler(lua_State *L) {
  neap__loop *loop = self(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  neap__default_handler(L, loop);
  return 0;
}

static int l_tostring(lua_State *L) {
  neap__loop_object *object =
      neap__check(L, neap__rt(L), 1, NEAP__K_LOOP, "event loop");
  neap__loop *loop = object->loop;
  bool closed = loop == NULL;
  lua_pushfstring(L, "<EventLoop %s>",
                  closed                           ? "closed"
                  : loop->running || loop->in_turn ? "running"
                                                   : "idle");
  return 1;
}

/* get_event_loop() -> the running loop, or else the current one, made if needed. */
static int l_get_event_loop(lua_State *L) {
  neap__push_loop(L, neap__the_loop(L, neap__rt(L)));
  return 1;
}

/* get_running_loop() -> the loop that runs this task or callback; raises elsewhere. */
static int l_get_running_loop(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  if (rt->running == NULL && (rt->current == &rt->root || rt->loop == NULL))
    return luaL_error(L, "no running event loop");
  neap__push_loop(L, neap__the_loop(L, rt));
  return 1;
}

/* new_event_loop() -> a loop. */
static int l_new_event_loop(lua_State *L) {
  new_loop(L, neap__rt(L), NULL);
  return 1;
}

/* set_event_loop(loop or nil): makes it the current one. */
static int l_set_event_loop(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__set_current(rt, lua_isnoneornil(L, 1) ? NULL : self(L));
  return 0;
}

static const luaL_Reg methods[] = {
    {"run_until_complete", l_run_until_complete},
    {"run_forever", l_run_forever},
    {"stop", l_stop},
    {"close", l_close},
    {"is_running", l_is_running},
    {"is_closed", l_is_closed},
    {"time", l_time},
    {"call_soon", l_call_soon},
    {"call_soon_threadsafe", l_call_soon}, /* nothing has to cross */
    {"call_later", l_call_later},
    {"call_at", l_call_at},
    {"create_task", l_create_task},
    {"create_future", l_create_future},
    {"run_in_executor", l_run_in_executor},
    {"set_exception_handler", l_set_exception_handler},
    {"call_exception_handler", l_call_exception_handler},
    {"default_exception_handler", l_default_exception_handler},
    {"dump", neap__l_dump},
    {"__tostring", l_tostring},
    {"__close", l_close},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"run", l_run},
    {"get_event_loop", l_get_event_loop},
    {"get_running_loop", l_get_running_loop},
    {"new_event_loop", l_new_event_loop},
    {"set_event_loop", l_set_event_loop},
    {NULL, NULL},
};

void neap__loop_open(lua_State *L, neap_runtime *rt) {
  neap__new_class(L, rt, NEAP__K_LOOP, "neap.EventLoop", methods);
  lua_pop(L, 1);
  neap__set_funcs(L, rt, functions);
}
