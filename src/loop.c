/* SPDX-License-Identifier: MIT
 *
 * loop.c - event loops: their life, and the Loop object of Lua.
 *
 * A loop owns its ready list, its deadlines and a uv_loop_t, or uses a lent one: then
 * three handles of ours make turns happen when the embedder calls uv_run himself, and
 * nothing of his is ever touched. Loop objects are kept by the runtime until closed.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

typedef struct loop_object {
  neap__loop *loop; /* NULL: not made, or closed */
} loop_object;

/* ---- life -------------------------------------------------------------------- */

static void on_async(uv_async_t *async) {
  neap__take_shared(async->data);
}

static void on_closed(uv_handle_t *handle) {
  neap__loop *loop = handle->data;
  loop->open_handles--;
}

/* A lent loop that somebody else runs: keeps it from sleeping past our work. */
static void on_prepare(uv_prepare_t *prepare) {
  neap__loop_rearm(prepare->data);
}

static void on_nothing(uv_idle_t *idle) {
  (void)idle;
}

static void on_deadline(uv_timer_t *timer) {
  (void)timer;
}

/* The one place where our work is done inside somebody else's uv_run. */
static void turn_here(uv_check_t *check) {
  neap__loop *loop = check->data;
  if (loop->running || loop->in_turn) return;
  neap__timer_run(loop);
  if (loop->nready > 0) {
    neap__set_running(loop->rt, loop);
    neap__turn_ready(loop, loop->rt->L);
    neap__set_running(loop->rt, NULL);
  }
  neap__loop_rearm(loop);
}

/* Keeps a lent loop alive exactly while we have something to do on it. */
void neap__loop_rearm(neap__loop *loop) {
  if (!loop->lent || loop->running) return;
  int64_t wait = neap__patience(loop);
  if (wait == 0) {
    uv_idle_start(&loop->idle, on_nothing);
  } else {
    uv_idle_stop(&loop->idle);
    if (wait > 0) {
      uint64_t ms = (uint64_t)(wait / 1000000) + (wait % 1000000 != 0);
      uv_update_time(loop->uv);
      uv_timer_start(&loop->timer, on_deadline, ms, 0);
    } else {
      uv_timer_stop(&loop->timer);
    }
  }
}

void neap__loop_disarm(neap__loop *loop) {
  if (!loop->lent) return;
  uv_idle_stop(&loop->idle);
  uv_timer_stop(&loop->timer);
}

static void init_handle(neap__loop *loop, void *handle, bool ref) {
  uv_handle_t *h = handle;
  h->data = loop;
  loop->open_handles++;
  if (!ref) uv_unref(h);
}

int neap__loop_init(neap_runtime *rt, uv_loop_t *lent, neap__loop **out) {
  neap__loop *loop = rt->loops;
  while (loop != NULL && !loop->spare)
    loop = loop->next;
  if (loop == NULL) {
    loop = neap__alloc(rt, NULL, 0, sizeof *loop);
    if (loop == NULL) return UV_ENOMEM;
    memset(loop, 0, sizeof *loop);
    loop->next = rt->loops;
    rt->loops = loop;
  }
  neap__loop *next = loop->next;
  memset(loop, 0, sizeof *loop);
  loop->next = next;
  loop->closed = loop->spare = true; /* until all of it is there */
  loop->rt = rt;
  loop->slow = 0.1;
  loop->lent = lent != NULL;
  loop->uv = lent != NULL ? lent : &loop->own;
  int status = uv_mutex_init(&loop->mutex);
  if (status < 0) return status;
  if (lent == NULL && (status = uv_loop_init(&loop->own)) < 0) {
    uv_mutex_destroy(&loop->mutex);
    return status;
  }
  status = uv_async_init(loop->uv, &loop->async, on_async);
  if (status < 0) {
    if (lent == NULL) uv_loop_close(&loop->own);
    uv_mutex_destroy(&loop->mutex);
    return status;
  }
  init_handle(loop, &loop->async, false);
  uv_timer_init(loop->uv, &loop->timer);
  init_handle(loop, &loop->timer, true);
  if (lent != NULL) {
    uv_prepare_init(lent, &loop->prepare);
    uv_prepare_start(&loop->prepare, on_prepare);
    init_handle(loop, &loop->prepare, false);
    uv_check_init(lent, &loop->check);
    uv_check_start(&loop->check, turn_here);
    init_handle(loop, &loop->check, false);
    uv_idle_init(lent, &loop->idle);
    init_handle(loop, &loop->idle, true);
  }
  loop->closed = loop->spare = false;
  *out = loop;
  return 0;
}

int neap__loop_drive(neap__loop *loop, lua_State *L,
                     const neap__future *until) {
  neap_runtime *rt = loop->rt;
  neap__loop *outer = rt->running;
  neap_task *current = rt->current;
  int status = 0;
  neap__set_running(rt, loop);
  loop->running = true;
  while (!loop->stopping) {
    if (atomic_load(&rt->interrupt) != 0 || atomic_load(&rt->stop)) {
      status = UV_EINTR;
      break;
    }
    if (!neap__alive(loop)) {
      if (until == NULL || until->state == NEAP__PENDING) status = NEAP_EDEADLK;
      break;
    }
    neap__turn(loop, L, -1);
  }
  loop->stopping = false;
  loop->running = false;
  neap__set_running(rt, outer);
  rt->current = current;
  neap__loop_rearm(loop);
  return status;
}

/* Cancels the tasks made since the last time, oldest first. */
static void cancel_all(neap__loop *loop, uint64_t *cancelled_to) {
  neap_runtime *rt = loop->rt;
  uint64_t from = *cancelled_to;
  *cancelled_to = rt->last_id;
  size_t n = 0, max = loop->ntasks;
  neap_task **list = neap__alloc(rt, NULL, 0, max * sizeof(neap_task *));
  for (uint32_t i = 0; i < rt->nslots; i++) {
    neap_task *task = rt->slots[i];
    if (task == NULL || task->future.loop != loop || task->id <= from) continue;
    if (list == NULL || n == max) {
      neap__cancel(task, NULL, 0); /* in any order, when memory is short */
    } else {
      list[n++] = task;
    }
  }
  if (list == NULL) return;
  qsort(list, n, sizeof(neap_task *), neap__compare_ids);
  for (size_t i = 0; i < n; i++)
    neap__cancel(list[i], NULL, 0);
  neap__alloc(rt, list, max * sizeof(neap_task *), 0);
}

void neap__loop_finish(neap__loop *loop, lua_State *L) {
  neap_runtime *rt = loop->rt;
  if (loop->ntasks == 0) return;
  atomic_store(&rt->interrupt, 0);
  atomic_store(&rt->stop, false);
  neap_task *outer_task = rt->current;
  neap__loop *outer = rt->running;
  neap__set_running(rt, loop);
  loop->running = true;
  uint64_t cancelled_to = 0;
  int64_t end = neap__now() + neap__to_ns(rt->grace);
  while (loop->ntasks > 0) {
    if (cancelled_to != rt->last_id) cancel_all(loop, &cancelled_to);
    int64_t left = end - neap__now();
    if (!neap__alive(loop) || left <= 0 || atomic_load(&rt->interrupt) != 0)
      break;
    loop->stopping = false;
    /* The ready ones may be the last: then there is nothing to wait for. */
    neap__turn(loop, L, loop->nready > 0 ? 0 : left);
  }
  loop->running = false;
  neap__set_running(rt, outer);
  rt->current = outer_task;
}

/* Lets go of the callbacks that will not run. [-0, +0, -] */
static void drop_handles(neap__loop *loop, lua_State *L) {
  neap_runtime *rt = loop->rt;
  while (loop->heap_len > 0) {
    neap__timer *timer = loop->heap[0].timer;
    neap__timer_disarm(loop, timer);
    timer->fire(timer); /* into the ready list, to be dropped with the rest */
  }
  while (loop->head != NULL) {
    neap__item *item = loop->head;
    loop->head = item->next;
    item->queued = 0;
    if (item->is_handle) {
      neap__handle *handle = neap__container_of(item, neap__handle, item);
      neap__unanchor(L, rt, handle->slot);
      handle->slot = 0;
    }
  }
  loop->tail = NULL;
  loop->nready = 0;
}

static void on_walk(uv_handle_t *handle, void *arg) {
  (void)arg;
  if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

static void close_uv(neap__loop *loop) {
  /* Other threads still hold waits of this loop: each calls once more. */
  while (loop->nshared > 0)
    uv_run(loop->uv, UV_RUN_ONCE);
  neap__forget_async(loop->rt, &loop->async);
  uv_close((uv_handle_t *)&loop->async, on_closed);
  uv_close((uv_handle_t *)&loop->timer, on_closed);
  if (loop->lent) {
    uv_close((uv_handle_t *)&loop->prepare, on_closed);
    uv_close((uv_handle_t *)&loop->check, on_closed);
    uv_close((uv_handle_t *)&loop->idle, on_closed);
  }
  while (loop->open_handles > 0)
    uv_run(loop->uv, UV_RUN_NOWAIT);
  if (loop->lent) return;
  while (uv_loop_close(&loop->own) == UV_EBUSY) {
    uv_walk(&loop->own, on_walk, NULL); /* our own loop, so all is ours */
    uv_run(&loop->own, UV_RUN_DEFAULT);
  }
}

/* Reports a task that will be closed: on top of the stack. [-1, +0, m] */
static int l_report_pending(lua_State *L) {
  neap_task *task = lua_touserdata(L, 1);
  neap__loop *loop = task->future.loop;
  lua_settop(L, 1);
  lua_createtable(L, 0, 3);
  lua_pushliteral(L, "Task was destroyed but it is pending!");
  lua_setfield(L, 2, "message");
  lua_pushvalue(L, 1);
  lua_setfield(L, 2, "task");
  neap__push_stack(L, task);
  lua_setfield(L, 2, "traceback");
  neap__call_handler(L, loop);
  return 0;
}

static int l_report_lost(lua_State *L) {
  neap__loop *loop = lua_touserdata(L, 1);
  neap__report_lost(L, loop->rt, loop);
  return 0;
}

int neap__loop_close(neap__loop *loop, lua_State *L) {
  neap_runtime *rt = loop->rt;
  int forced = 0;
  if (loop->closed) return 0;
  loop->closed = true; /* takes nothing new */
  drop_handles(loop, L);
  for (uint32_t i = 0; i < rt->nslots && loop->ntasks > 0; i++) {
    neap_task *task = rt->slots[i];
    if (task == NULL || task->future.loop != loop) continue;
    lua_pushcfunction(L, l_report_pending);
    neap__push_task(L, task);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) lua_pop(L, 1);
    if (rt->slots[i] != task) continue; /* a handler ended it */
    neap__task_destroy(task, L);
    drop_handles(loop, L); /* no task may stand there that is gone */
    forced++;
  }
  lua_pushcfunction(L, l_report_lost);
  lua_pushlightuserdata(L, loop);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
    lua_pop(L, 1);
    neap__unhandled(rt, "not enough memory",
                    "not enough memory to report errors that nobody saw");
  }
  drop_handles(loop, L);
  close_uv(loop);
  neap__alloc(rt, loop->heap, loop->heap_cap * sizeof *loop->heap, 0);
  loop->heap = NULL;
  loop->heap_cap = 0;
  uv_mutex_destroy(&loop->mutex);
  if (rt->loop == loop) rt->loop = NULL;
  neap__push_loop(L, loop);
  loop_object *object = lua_touserdata(L, -1);
  lua_pop(L, 1);
  loop->spare = true;
  if (object == NULL) return forced; /* it never became a Loop object */
  object->loop = NULL;               /* the struct will be used again */
  neap__reg_get(L, NEAP__R_LOOPS);
  lua_pushboolean(L, 0); /* the key stays, so that this cannot fail */
  lua_rawsetp(L, -2, loop);
  lua_pop(L, 1);
  return forced;
}

void neap__loops_free(neap_runtime *rt) {
  while (rt->loops != NULL) {
    neap__loop *loop = rt->loops;
    rt->loops = loop->next;
    neap__alloc(rt, loop, sizeof *loop, 0);
  }
}

/* ---- which one ------------------------------------------------------------------ */

/* Pushes a new Loop object with a loop of its own. [-0, +1, m] */
static neap__loop *new_loop(lua_State *L, neap_runtime *rt, uv_loop_t *lent) {
  if (rt->shut) luaL_error(L, "the runtime is shut down");
  luaL_checkstack(L, 6, NULL);
  loop_object *object = lua_newuserdatauv(L, sizeof *object, 1);
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
    rt->loop = new_loop(L, rt, rt->lent_uv);
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

static neap__loop *self(lua_State *L) {
  loop_object *object =
      neap__check(L, neap__rt(L), 1, NEAP__K_LOOP, "event loop");
  if (object->loop == NULL) luaL_error(L, "Event loop is closed");
  return object->loop;
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
  if (status == UV_EINTR) {
    atomic_store(&rt->stop, false);
    neap__check_interrupt(L, rt);
  } else if (status == NEAP_EDEADLK) {
    neap__push_deadlock(L, loop);
    lua_error(L);
  }
}

/* Drives the loop until the future is done. The status of the drive. */
static int run_until(lua_State *L, neap__loop *loop, neap__future *future) {
  neap_runtime *rt = loop->rt;
  lua_pushnil(L);
  neap__handle *stop = neap__handle_new(L, rt, loop, 0);
  stop->nargs = NEAP__STOPS;
  lua_pushvalue(L, -1);
  stop->slot = neap__anchor(L, rt);
  neap__watch_callback(future, stop);
  int status = neap__loop_drive(loop, L, future);
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
  /* stop() before run_forever() means: one turn */
  if (loop->stopping) {
    loop->stopping = false;
    lua_pushnil(L);
    neap__handle *stop = neap__handle_new(L, rt, loop, 0);
    stop->nargs = NEAP__STOPS;
    stop->slot = neap__anchor(L, rt);
    neap__ready(loop, &stop->item);
  }
  check_driven(L, loop, neap__loop_drive(loop, L, NULL));
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
  loop_object *object = neap__check(L, rt, 1, NEAP__K_LOOP, "event loop");
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
  neap__loop *loop = new_loop(L, rt, NULL);
  lua_insert(L, 1);
  neap__loop *outer = rt->loop;
  neap__future *future = neap__ensure_future(L, rt, loop, lua_gettop(L) - 2, 1);
  if (future->loop != loop) {
    neap__loop_close(loop, L);
    luaL_argerror(L, 1, "it belongs to another event loop");
  }
  rt->loop = loop;
  int status = run_until(L, loop, future);
  int interrupt = atomic_exchange(&rt->interrupt, 0);
  if (status == NEAP_EDEADLK) neap__push_deadlock(L, loop);
  bool stopped = status == 0 && future->state == NEAP__PENDING;
  neap__loop_finish(loop, L);
  neap__seen(future); /* its error is raised here, or gives way */
  neap__loop_close(loop, L);
  rt->loop = outer;
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
  int64_t now = neap__now();
  return call_at(L, loop, (double)now / 1e9 + delay, now + neap__to_ns(delay),
                 now);
}

/* loop:call_at(when, fn, ...) -> Handle. when: seconds of loop:time(). */
static int l_call_at(lua_State *L) {
  neap__loop *loop = self(L);
  lua_Number when = luaL_checknumber(L, 2);
  luaL_argcheck(L, when == when, 2, "seconds expected, got NaN");
  return call_at(L, loop, when, neap__to_ns(when), neap__now());
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

/* ---- the rest -------------------------------------------------------------------------- */

static int l_is_running(lua_State *L) {
  loop_object *object =
      neap__check(L, neap__rt(L), 1, NEAP__K_LOOP, "event loop");
  neap__loop *loop = object->loop;
  lua_pushboolean(L, loop != NULL && (loop->running || loop->in_turn));
  return 1;
}

static int l_is_closed(lua_State *L) {
  loop_object *object =
      neap__check(L, neap__rt(L), 1, NEAP__K_LOOP, "event loop");
  lua_pushboolean(L, object->loop == NULL);
  return 1;
}

/* loop:time() -> seconds of the monotonic clock. */
static int l_time(lua_State *L) {
  self(L);
  lua_pushnumber(L, (lua_Number)neap__now() / 1e9);
  return 1;
}

static int l_set_debug(lua_State *L) {
  self(L)->debug = lua_toboolean(L, 2);
  return 0;
}

static int l_get_debug(lua_State *L) {
  lua_pushboolean(L, self(L)->debug);
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
  loop_object *object =
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
  rt->loop = lua_isnoneornil(L, 1) ? NULL : self(L);
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
    {"call_later", l_call_later},
    {"call_at", l_call_at},
    {"create_task", l_create_task},
    {"create_future", l_create_future},
    {"set_debug", l_set_debug},
    {"get_debug", l_get_debug},
    {"set_exception_handler", l_set_exception_handler},
    {"call_exception_handler", l_call_exception_handler},
    {"default_exception_handler", l_default_exception_handler},
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
