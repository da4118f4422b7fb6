/* SPDX-License-Identifier: MIT
 *
 * loop.c - the life of event loops. The Loop object of Lua is in eventloop.c.
 *
 * A loop owns its ready list, its deadlines and a uv_loop_t, or uses a lent one: then
 * three handles of ours make turns happen when the embedder calls uv_run himself, and
 * nothing of his is ever touched. Loop objects are kept by the runtime until closed.
 */
#include "job.h"
#include "stream.h"
#include "thread.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOW 0.1 /* seconds that a step may take in debug mode */

/* ---- life -------------------------------------------------------------------- */

static void on_async(uv_async_t *async) {
  neap__take_shared(async->data);
  neap__mail_arrived(async->data);
}

static void on_closed(uv_handle_t *handle) {
  neap__loop *loop = handle->data;
  loop->open_handles--;
}

/* A lent loop that somebody else runs: keeps it from sleeping past our work. */
static void on_prepare(uv_prepare_t *prepare) {
  neap__loop *loop = prepare->data;
  if (loop->before_poll != NULL) loop->before_poll(loop);
  neap__loop_rearm(loop);
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
  if (atomic_load(&loop->rt->dump)) neap__dump_log(loop->rt, loop->rt->L);
  if (loop->nready > 0 || neap__posted(loop->rt)) {
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
  neap__hold(loop, loop->nhandlers > 0 && loop->ntasks > 0);
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

/* libuv gives up the process when a descriptor of its own is one of the standard ones:
 * those that the program was started without lead nowhere from now on. */
static void fill_standard(neap_runtime *rt) {
  for (int fd = 0; fd <= 2; fd++) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    int got = open("/dev/null", O_RDWR);
    if (got == fd)
      rt->no_standard |= 1U << fd;
    else if (got >= 0)
      close(got);
  }
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
  loop->serial = ++rt->last_loop;
  loop->debug = rt->debug;
  loop->slow = SLOW;
  loop->lent = lent != NULL;
  loop->uv = lent != NULL ? lent : &loop->own;
  int status = uv_mutex_init(&loop->mutex);
  if (status < 0) return status;
  if (lent == NULL) fill_standard(rt);
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

int neap__loop_drive(neap__loop *loop, lua_State *L, const neap__future *until,
                     bool waits) {
  neap_runtime *rt = loop->rt;
  neap__loop *outer = rt->running;
  neap_task *current = rt->current;
  int status = 0;
  neap__set_running(rt, loop);
  loop->running = true;
  loop->awaited = waits;
  loop->now = neap__now(rt);
  while (!loop->stopping) {
    if (atomic_load(&rt->interrupt) != 0 || atomic_load(&rt->stop)) {
      status = UV_EINTR;
      break;
    }
    rt->root_turn = false;
    if (rt->root.must_cancel && current == &rt->root) {
      rt->root.must_cancel = 0; /* a time-out around the drive */
      status = UV_ECANCELED;
      break;
    }
    if (!(waits || loop->ntasks > 0 ? neap__may_wake(loop)
                                    : neap__alive(loop))) {
      if (until == NULL || until->state == NEAP__PENDING) status = NEAP_EDEADLK;
      break;
    }
    neap__turn(loop, L, -1);
  }
  loop->stopping = false;
  loop->running = loop->awaited = false;
  neap__set_running(rt, outer);
  rt->current = current;
  neap__loop_rearm(loop);
  return status;
}

/* Cancels the tasks made since the last time, oldest first. What another thread has
 * cancelled is at it already: a second time would cut its cleaning up short. */
static void cancel_all(neap__loop *loop, uint64_t *cancelled_to) {
  neap_runtime *rt = loop->rt;
  uint64_t from = *cancelled_to;
  *cancelled_to = rt->last_id;
  size_t n = 0, max = loop->ntasks;
  neap_task **list = neap__alloc(rt, NULL, 0, max * sizeof(neap_task *));
  for (uint32_t i = 0; i < rt->nslots; i++) {
    neap_task *task = rt->slots[i];
    if (task == NULL || task->future.loop != loop || task->id <= from) continue;
    if (task->told && task->cancelling > 0) continue;
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
  bool outer_finishing = rt->finishing;
  rt->finishing = true;
  int64_t end = (int64_t)uv_hrtime() + neap__to_ns(rt->grace);
  while (loop->ntasks > 0) {
    if (cancelled_to != rt->last_id) cancel_all(loop, &cancelled_to);
    int64_t left = end - (int64_t)uv_hrtime();
    if (!neap__alive(loop) || left <= 0 || atomic_load(&rt->interrupt) != 0)
      break;
    loop->stopping = rt->root_turn = false;
    /* The ready ones may be the last: then there is nothing to wait for. */
    neap__turn(loop, L, loop->nready > 0 ? 0 : left);
  }
  rt->finishing = outer_finishing;
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
    if (item->kind == NEAP__HANDLE) {
      neap__handle *handle = neap__container_of(item, neap__handle, item);
      neap__unanchor(L, rt, handle->slot);
      handle->slot = 0;
    } else if (item->kind == NEAP__CALL) {
      neap__call *call = neap__container_of(item, neap__call, item);
      call->run(call);
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

/* Its object is of no use any more, and the struct will be used again. */
static void forget_object(neap__loop *loop, lua_State *L) {
  neap__push_loop(L, loop);
  neap__loop_object *object = lua_touserdata(L, -1);
  lua_pop(L, 1);
  loop->spare = true;
  if (object == NULL) return; /* it never became a Loop object */
  object->loop = NULL;
  neap__reg_get(L, NEAP__R_LOOPS);
  lua_pushboolean(L, 0); /* the key stays, so that this cannot fail */
  lua_rawsetp(L, -2, loop);
  lua_pop(L, 1);
}

int neap__loop_close(neap__loop *loop, lua_State *L) {
  neap_runtime *rt = loop->rt;
  int forced = 0;
  if (loop->closed) return 0;
  neap__threads_end(loop);
  neap__mail_flush(loop, L); /* the last that they had to say */
  loop->closed = true;       /* takes nothing new */
  neap__signals_close(loop, L);
  neap__polls_close(loop, L);
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
    if (atomic_load(&rt->insisted) == 0) /* else it was interrupted, too */
      neap__unhandled(rt, "not enough memory",
                      "not enough memory to report errors that nobody saw");
  }
  neap__jobs_close(loop, L);
  drop_handles(loop, L);
  neap__processes_end(loop);
  neap__io_close_all(loop);
  close_uv(loop);
  neap__streams_close(loop);
  neap__polls_free(loop);
  neap__alloc(rt, loop->heap, loop->heap_cap * sizeof *loop->heap, 0);
  loop->heap = NULL;
  loop->heap_cap = 0;
  uv_mutex_destroy(&loop->mutex);
  if (rt->loop == loop) rt->loop = NULL;
  forget_object(loop, L);
  return forced;
}

void neap__loops_free(neap_runtime *rt) {
  while (rt->loops != NULL) {
    neap__loop *loop = rt->loops;
    rt->loops = loop->next;
    neap__alloc(rt, loop, sizeof *loop, 0);
  }
}
