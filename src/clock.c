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

#if defined(__x86_64__) && defined(__GNUC__)

#define NEAR 50000 /* ns that are reckoned from one reading of the clock */
#define UNDISTURBED 5000 /* ticks that reading the clock may take */
#define MEASURE 2000000  /* ns over which the counter's pace is measured */

/* Reads the clock, and takes the counter's pace from time to time. */
static int64_t read_clock(neap_runtime *rt, uint64_t ticks) {
  neap__pace *pace = &rt->pace;
  int64_t now = neap__now(rt);
  if (__builtin_ia32_rdtsc() - ticks > UNDISTURBED) return now;
  int64_t span = now - pace->first_ns;
  if (pace->first_ns == 0 || span > 1000 * (int64_t)MEASURE ||
      ticks <= pace->first_ticks) {
    pace->first_ns = now;
    pace->first_ticks = ticks;
  } else if (span > MEASURE) {
    uint64_t passed = ticks - pace->first_ticks;
    pace->mult = ((uint64_t)span << 32) / passed;
    pace->window = (uint64_t)((double)NEAR * (double)passed / (double)span);
    pace->first_ns = now;
    pace->first_ticks = ticks;
  }
  pace->ticks = ticks;
  pace->ns = now;
  return now;
}

/* The counter may be of another processor, stopped or set back: what is reckoned by it
 * is never more than NEAR from a reading of the clock. */
int64_t neap__now_near(neap_runtime *rt) {
  if (NEAP__UNLIKELY(rt->frozen)) return neap__now(rt);
  uint64_t ticks = __builtin_ia32_rdtsc();
  uint64_t passed = ticks - rt->pace.ticks;
  if (NEAP__LIKELY(passed < rt->pace.window))
    return rt->pace.ns + (int64_t)((passed * rt->pace.mult) >> 32);
  return read_clock(rt, ticks);
}

#else

int64_t neap__now_near(neap_runtime *rt) {
  return neap__now(rt);
}

#endif

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
