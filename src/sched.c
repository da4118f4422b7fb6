/* SPDX-License-Identifier: MIT
 *
 * sched.c - the ready list, and one turn of a loop.
 *
 * A turn runs what was ready when it began, first come first served, and then lets
 * libuv look for events: what becomes ready meanwhile waits for the next turn, so no
 * busy task can starve I/O. This file is the only caller of lua_resume on a task.
 */
#include "thread.h"

/* How long turns follow each other without a look at the operating system and at the
 * deadlines, while tasks are ready. A look costs about 0.5 us, reading the clock 25 ns,
 * as much as half a switch; the processor's counter, where there is one, 8 ns. */
#if defined(__x86_64__) && defined(__GNUC__)
#define POLL_EVERY 25000 /* ticks of 0.2 to 0.7 ns: 5 to 17 us */
static inline int64_t ticks(void) {
  return (int64_t)__builtin_ia32_rdtsc();
}
#else
#define POLL_EVERY 10000 /* ns */
static inline int64_t ticks(void) {
  return (int64_t)uv_hrtime();
}
#endif

void neap__ready(neap__loop *loop, neap__item *item) {
  if (NEAP__UNLIKELY(item->queued)) return;
  item->queued = 1;
  item->next = NULL;
  if (loop->tail != NULL) {
    loop->tail->next = item;
  } else {
    loop->head = item;
  }
  loop->tail = item;
  loop->nready++;
}

void neap__unready(neap__loop *loop, neap__item *item) {
  neap__item *last = NULL;
  if (!item->queued) return;
  for (neap__item *i = loop->head; i != item; i = i->next)
    last = i;
  if (last != NULL) {
    last->next = item->next;
  } else {
    loop->head = item->next;
  }
  if (loop->tail == item) loop->tail = last;
  loop->nready--;
  item->queued = 0;
}

/* Resumes a task. What it left behind is task.c's to store. */
static inline void step(neap_task *task, lua_State *from) {
  neap_runtime *rt = task->future.loop->rt;
  lua_State *co = task->co;
  int nargs = 0;
  int nresults;
  rt->current = task;
  rt->busy = co;
  if (NEAP__UNLIKELY(!task->started)) {
    task->started = 1;
    nargs = lua_gettop(co) - 1;
  }
  /* Not `from`: how deep in C functions the loop runs is not the task's concern. It
   * could go so deep before, and must be able to when it goes on. */
  int status = lua_resume(co, NULL, nargs, &nresults);
  if (NEAP__UNLIKELY(status != LUA_YIELD || task->wait == NULL))
    neap__step_end(task, from, status);
}

/* Resuming a task touches about 20 cache lines that are its own. Fetching some of the
 * next one's while this one runs makes a switch a quarter faster. */
static inline void prefetch(neap__item *item) {
#if defined(__GNUC__)
  if (item->kind != NEAP__TASK) return;
  const neap_task *task = neap__container_of(item, neap_task, item);
  const char *co = (const char *)task->co;
  __builtin_prefetch((const char *)task + 64);
  __builtin_prefetch((const char *)task + 128);
  __builtin_prefetch(co);
  __builtin_prefetch(co + 64);
  __builtin_prefetch(co + 128);
#else
  (void)item;
#endif
}

static inline void run_item(neap__loop *loop, neap__item *item, lua_State *L) {
  if (NEAP__LIKELY(item->kind == NEAP__TASK)) {
    step(neap__container_of(item, neap_task, item), L);
  } else if (item->kind == NEAP__HANDLE) {
    loop->rt->current = NULL;
    neap__handle_run(neap__container_of(item, neap__handle, item), L);
  } else {
    neap__call *call = neap__container_of(item, neap__call, item);
    call->run(call);
  }
}

static void run_watched(neap__loop *loop, neap__item *item, lua_State *L) {
  lua_State *co = neap__debug_begin(loop, item, L);
  run_item(loop, item, L);
  if (co != NULL) neap__debug_end(loop, item, L, co);
}

static void run_ready(neap__loop *loop, lua_State *L) {
  size_t n = loop->nready;
  if (NEAP__UNLIKELY(loop->rt->shuffle != 0)) neap__shuffle(loop);
  while (n-- > 0) {
    neap__item *item = loop->head;
    if (item == NULL) break; /* a callback may have emptied the list */
    loop->head = item->next;
    if (item->next == NULL) {
      loop->tail = NULL;
    } else {
      prefetch(item->next);
    }
    loop->nready--;
    item->queued = 0;
    if (NEAP__UNLIKELY(item == &loop->rt->root.item)) {
      /* It runs now: on this C stack, further out. */
      loop->rt->root_turn = true;
      return;
    }
    if (NEAP__UNLIKELY(loop->debug)) {
      run_watched(loop, item, L);
    } else {
      run_item(loop, item, L);
    }
  }
}

/* The one timer only ends a poll; deadlines are found by neap__timer_run. */
static void on_timer(uv_timer_t *timer) {
  (void)timer;
}

void neap__hold(neap__loop *loop, bool hold) {
  if (hold || loop->nshared > 0 || loop->nremote > 0) {
    uv_ref((uv_handle_t *)&loop->async);
  } else {
    uv_unref((uv_handle_t *)&loop->async);
  }
}

static void poll_events(neap__loop *loop, int64_t wait) {
  /* libuv would not look at all where only signals are listened for, or mails may come.
   * It is not to wait for them when nobody else does. */
  if (NEAP__UNLIKELY(loop->before_poll != NULL)) {
    loop->before_poll(loop);
    if (loop->nready > 0) wait = 0;
  }
  bool hold =
      wait == 0 ? loop->signals != NULL || loop->mailbox != NULL
                : neap__may_hear(loop) && (loop->ntasks > 0 || loop->awaited ||
                                           loop->rt->root.wait != NULL);
  if (hold) neap__hold(loop, true);
  if (wait == 0) {
    uv_run(loop->uv, UV_RUN_NOWAIT);
  } else {
    if (wait > 0) {
      uint64_t ms = (uint64_t)(wait / 1000000) + (wait % 1000000 != 0);
      uv_update_time(loop->uv);
      /* It repeats: libuv runs timers before it waits, too, and one that is over by then
       * (we were not given the processor) would leave it to wait for ever. */
      uv_timer_start(&loop->timer, on_timer, ms, 1);
    }
    uv_run(loop->uv, UV_RUN_ONCE);
    if (wait > 0) uv_timer_stop(&loop->timer);
  }
  if (hold) neap__hold(loop, false);
}

/* Whether deadlines come by themselves. */
static bool time_passes(const neap_runtime *rt) {
  return !rt->frozen || rt->jumps;
}

bool neap__alive(neap__loop *loop) {
  if (NEAP__UNLIKELY(loop->look_stuck) && neap__all_stuck(loop)) return false;
  return loop->nready > 0 || loop->settlers.head != NULL ||
         neap__posted(loop->rt) ||
         (loop->heap_len > 0 && time_passes(loop->rt)) || loop->nshared > 0 ||
         loop->nremote > 0 || uv_loop_alive(loop->uv);
}

int64_t neap__patience(neap__loop *loop) {
  neap_runtime *rt = loop->rt;
  if (loop->nready > 0 || loop->settlers.head != NULL || neap__posted(rt))
    return 0;
  if (loop->heap_len == 0) return -1;
  int64_t left = loop->heap[0].when - neap__now(rt);
  if (left <= 0) return 0;
  if (NEAP__LIKELY(!rt->frozen)) return left;
  /* A clock that stands still jumps, unless somebody works in the meantime. */
  return rt->jumps && loop->nexternal == 0 && loop->nshared == 0 &&
                 loop->nremote == 0
             ? 0
             : -1;
}

/* Nothing is ready, and it was looked for events and deadlines. */
static void idle(neap__loop *loop) {
  neap_runtime *rt = loop->rt;
  if (loop->settlers.head != NULL) {
    neap__waitq_wake(&loop->settlers, 0);
  } else if (rt->frozen && loop->heap_len > 0 && neap__patience(loop) == 0 &&
             loop->heap[0].when > rt->virtual_now) {
    rt->virtual_now = loop->heap[0].when;
    neap__timer_run(loop);
  }
}

/* The root was told to stop, and what it waits for is still to end: that may take
 * events. */
static bool root_is_stopping(const neap_runtime *rt) {
  const neap_wait *wait = rt->root.wait;
  return wait != NULL &&
         (wait->flags & (NEAP__ABORTING | NEAP__WOKEN)) == NEAP__ABORTING;
}

static bool root_goes_on(const neap_runtime *rt, const neap__loop *loop) {
  if (rt->root_turn) return true;
  return (loop->stopping ||
          atomic_load_explicit(&rt->interrupt, memory_order_relaxed) != 0) &&
         !root_is_stopping(rt);
}

void neap__turn_ready(neap__loop *loop, lua_State *L) {
  neap_runtime *rt = loop->rt;
  neap_task *outer = rt->current;
  lua_State *busy = rt->busy;
  loop->in_turn = true;
  if (NEAP__UNLIKELY(neap__posted(rt))) neap__posts_run(loop, L);
  run_ready(loop, L);
  if (loop->after_turn != NULL) loop->after_turn(loop);
  loop->in_turn = false;
  rt->current = outer;
  rt->busy = busy; /* not a coroutine that may be collected by then */
}

/* ns that it may wait for events now, with nothing ready; `wait` at most, -1: no limit. */
static int64_t how_long(neap__loop *loop, lua_State *L, int64_t wait) {
  int64_t due = neap__patience(loop);
  if (due >= 0 && (wait < 0 || due < wait)) wait = due;
  /* The timer that ends a poll must not be all that it waits for. */
  if (wait > 0 && due < 0 && !neap__may_wake(loop)) wait = 0;
  if (due < 0 && NEAP__UNLIKELY(loop->rt->self != NULL))
    neap__stuck_look(loop, L);
  if (NEAP__UNLIKELY(loop->look_stuck)) wait = neap__stuck_wait(loop, wait);
  return wait;
}

void neap__turn(neap__loop *loop, lua_State *L, int64_t wait) {
  neap_runtime *rt = loop->rt;
  neap_task *outer = rt->current;
  neap__link_co *chain = rt->chain;
  lua_State *busy = rt->busy;
  rt->chain = NULL;
  loop->in_turn = true;
  if (NEAP__UNLIKELY(neap__posted(rt))) neap__posts_run(loop, L);
  do { /* turns in which nothing can have come from outside */
    run_ready(loop, L);
  } while (loop->nready > 0 && wait != 0 && !loop->due_soon &&
           !root_goes_on(rt, loop) && ticks() - loop->last_poll < POLL_EVERY);
  if (loop->after_turn != NULL) loop->after_turn(loop);
  rt->current = NULL;
  rt->busy = NULL; /* an interrupt from here on is nobody's but the root's */
  bool look = loop->due_soon;
  bool goes_on = root_goes_on(rt, loop);
  if (goes_on) look = true; /* what is due is due before the root goes on */
  if (goes_on || loop->nready > 0 || wait == 0) {
    int64_t now = ticks();
    if (now - loop->last_poll >= POLL_EVERY || (wait == 0 && !goes_on)) {
      /* A loop that nothing is registered on is not worth a look. */
      if (uv_loop_alive(loop->uv) || loop->signals != NULL ||
          loop->mailbox != NULL)
        poll_events(loop, 0);
      loop->last_poll = now;
      look = true;
    }
  } else {
    wait = how_long(loop, L, wait);
    poll_events(loop, wait);
    loop->last_poll = ticks();
    look = true;
  }
  if (look) {
    loop->due_soon = false;
    neap__timer_run(loop);
    if (NEAP__UNLIKELY(atomic_load_explicit(&rt->dump, memory_order_relaxed)))
      neap__dump_log(rt, L);
    if (NEAP__UNLIKELY((loop->settlers.head != NULL || rt->frozen) &&
                       loop->nready == 0 && !neap__posted(rt) &&
                       !root_goes_on(rt, loop)))
      idle(loop);
  }
  loop->in_turn = false;
  rt->current = outer;
  rt->chain = chain;
  rt->busy = busy;
}
