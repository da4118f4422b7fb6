/* SPDX-License-Identifier: MIT
 *
 * shuffle.c - another order for what is ready, so that a race shows: the tasks of a
 * turn are permuted among their places. Callbacks and the root keep theirs. The same
 * seed gives the same run, as long as nothing comes from outside.
 */
#include "internal.h"

/* xorshift64*: https://www.jstatsoft.org/article/view/v008i14 */
static uint64_t next(neap_runtime *rt) {
  uint64_t x = rt->shuffle;
  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  rt->shuffle = x;
  return x * UINT64_C(2685821657736338717);
}

static bool reserve(neap_runtime *rt, size_t n) {
  if (n <= rt->shuffled_cap) return true;
  if (n > UINT32_MAX / 2) return false;
  uint32_t cap = (uint32_t)n + 64;
  neap__item **items = neap__alloc(
      rt, rt->shuffled, rt->shuffled_cap * sizeof *items, cap * sizeof *items);
  if (items == NULL) return false;
  rt->shuffled = items;
  rt->shuffled_cap = cap;
  return true;
}

static bool moves(const neap__loop *loop, const neap__item *item) {
  return item->kind == NEAP__TASK && item != &loop->rt->root.item;
}

void neap__shuffle(neap__loop *loop) {
  neap_runtime *rt = loop->rt;
  size_t n = loop->nready, moving = 0, k = 0;
  if (n < 2 || !reserve(rt, 2 * n)) return;
  neap__item **all = rt->shuffled, **movers = all + n;
  n = 0;
  for (neap__item *item = loop->head; item != NULL; item = item->next) {
    all[n++] = item;
    if (moves(loop, item)) movers[moving++] = item;
  }
  for (size_t i = moving; i > 1; i--) {
    size_t j = (size_t)(next(rt) % i);
    neap__item *other = movers[j];
    movers[j] = movers[i - 1];
    movers[i - 1] = other;
  }
  neap__item **place = &loop->head;
  for (size_t i = 0; i < n; i++) {
    neap__item *item = moves(loop, all[i]) ? movers[k++] : all[i];
    *place = item;
    place = &item->next;
    loop->tail = item;
  }
  *place = NULL;
}

void neap__shuffle_free(neap_runtime *rt) {
  neap__alloc(rt, rt->shuffled, rt->shuffled_cap * sizeof *rt->shuffled, 0);
  rt->shuffled = NULL;
  rt->shuffled_cap = 0;
}

void neap__push_seed(lua_State *L, const neap_runtime *rt) {
  if (rt->shuffle == 0) {
    lua_pushliteral(L, "");
    return;
  }
  lua_pushfstring(L, "\nseed %I (neap.test.shuffle(%I) replays it)",
                  (LUAI_UACINT)rt->seed, (LUAI_UACINT)rt->seed);
}
