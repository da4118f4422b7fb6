/* SPDX-License-Identifier: MIT
 *
 * clock.c - the monotonic clock, and a loop's heap of deadlines.
 *
 * A 4-ary heap in one array, ordered by time and, among equals, by arming. A timer
 * knows its place, so taking it out is cheap. Room is made before arming
 * (neap__timer_reserve), which therefore cannot fail.
 */
#include "internal.h"

/* Deadlines nearer than this are looked at in the very next turn. */
#define SOON 20000 /* ns */

void neap__timer_reserve(lua_State *L, neap__loop *loop) {
  if (NEAP__LIKELY(loop->heap_len < loop->heap_cap)) return;
  uint32_t cap = loop->heap_cap < 64 ? 64 : loop->heap_cap + loop->heap_cap / 2;
  if (loop->heap_cap > UINT32_MAX / 2) luaL_error(L, "too many timers");
  neap__entry *heap = neap__alloc(
      loop->rt, loop->heap, loop->heap_cap * sizeof *heap, cap * sizeof *heap);
  if (heap == NULL) luaL_error(L, "not enough memory");
  loop->heap = heap;
  loop->heap_cap = cap;
}

static inline bool before(const neap__entry *a, const neap__entry *b) {
  return a->when < b->when || (a->when == b->when && a->seq < b->seq);
}

static inline void place(neap__loop *loop, uint32_t i, neap__entry entry) {
  loop->heap[i] = entry;
  entry.timer->index = i + 1;
}

static void sift_up(neap__loop *loop, uint32_t i, neap__entry entry) {
  while (i > 0) {
    uint32_t parent = (i - 1) / 4;
    if (!before(&entry, &loop->heap[parent])) break;
    place(loop, i, loop->heap[parent]);
    i = parent;
  }
  place(loop, i, entry);
}

static void sift_down(neap__loop *loop, uint32_t i, neap__entry entry) {
  uint32_t n = loop->heap_len;
  for (;;) {
    uint32_t child = i * 4 + 1;
    if (child >= n) break;
    uint32_t end = child + 4 < n ? child + 4 : n;
    uint32_t least = child;
    for (uint32_t k = child + 1; k < end; k++)
      if (before(&loop->heap[k], &loop->heap[least])) least = k;
    if (!before(&loop->heap[least], &entry)) break;
    place(loop, i, loop->heap[least]);
    i = least;
  }
  place(loop, i, entry);
}

void neap__timer_arm(neap__loop *loop, neap__timer *timer, int64_t when,
                     int64_t now) {
  if (when - now < SOON) loop->due_soon = true;
  neap__entry entry = {when, loop->heap_seq++, timer};
  sift_up(loop, loop->heap_len++, entry);
}

void neap__timer_disarm(neap__loop *loop, neap__timer *timer) {
  if (timer->index == 0) return;
  uint32_t i = timer->index - 1;
  neap__entry last = loop->heap[--loop->heap_len];
  timer->index = 0;
  if (i == loop->heap_len) return;
  if (i > 0 && before(&last, &loop->heap[(i - 1) / 4])) {
    sift_up(loop, i, last);
  } else {
    sift_down(loop, i, last);
  }
}

int64_t neap__timer_run(neap__loop *loop) {
  int64_t now = loop->now = neap__now(loop->rt);
  while (loop->heap_len > 0) {
    neap__timer *timer = loop->heap[0].timer;
    if (loop->heap[0].when > now) return loop->heap[0].when - now;
    neap__timer_disarm(loop, timer);
    timer->fire(timer);
  }
  return -1;
}
