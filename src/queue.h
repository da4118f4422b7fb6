/* SPDX-License-Identifier: MIT
 *
 * queue.h - what a queue is made of, and what queue.c needs of items.c.
 */
#ifndef NEAP_QUEUE_H
#define NEAP_QUEUE_H

#include "internal.h"

enum neap__order { NEAP__FIFO, NEAP__LIFO, NEAP__PRIORITY };

/* User value 1 is the table of the items, nil before the first. A Queue uses its
 * places 1 to `cap` as a ring, a LifoQueue as a stack; a PriorityQueue has a heap in
 * them, two places for each item. User value 2 is the function `less` of a
 * PriorityQueue, or nil. */
typedef struct neap__queue {
  const void *tag;
  size_t size;     /* items that are there */
  size_t given;    /* of these, kept for getters that are woken */
  size_t coming;   /* free places that are kept for putters that are woken */
  size_t room;     /* the smaller of `limit` and `cap`; 0 after shutdown */
  size_t limit;    /* SIZE_MAX: none */
  size_t cap;      /* 0, or a power of 2; at least size + coming */
  size_t head;     /* of the ring, from 0 */
  uint64_t change; /* PriorityQueue: number of the latest */
  uint64_t seq;    /* PriorityQueue: of the latest item */
  size_t unfinished;
  neap__waitq getters, putters, joiners;
  lua_Integer maxsize; /* as it was given */
  unsigned char order;
  bool shut;
} neap__queue;

#define NEAP__ITEMS 1
#define NEAP__LESS 2
#define NEAP__CAP_KEPT 256 /* not worth making smaller */

/* All of these have the queue at index 1 of the stack. */

/* Whether a newcomer may put something in; makes the table larger for it. A finalizer may
 * run here. [-0, +0, m] */
bool neap__items_make_room(lua_State *L, neap__queue *q);
/* Makes a table smaller that is nearly empty, if there is memory for it. A finalizer may
 * run here. [-0, +0, -] */
void neap__items_shrink(lua_State *L, neap__queue *q);
/* Drops all. */
void neap__items_clear(lua_State *L, neap__queue *q);
/* Puts the item at index 2 in. `kept`: into a place that is kept for the caller. False:
 * there is no place any more, `less` or a finalizer saw to that. Raises what `less`
 * raises; the queue is then as it was. [-0, +(0|1), e] */
bool neap__items_put(lua_State *L, neap__queue *q, bool kept);
/* Takes the next item out and pushes it, so that it is on top. False: pushed nothing,
 * there is none any more. Raises as above. [-0, +(0|1|2), e] */
bool neap__items_take(lua_State *L, neap__queue *q, bool kept);

static inline bool neap__items_have_room(const neap__queue *q) {
  return q->size + q->coming < q->room;
}

/* Whether there is one for a newcomer. */
static inline bool neap__items_left(const neap__queue *q) {
  return q->size > q->given;
}

/* The place of the item that is next, from 1. */
static inline lua_Integer neap__next_place(const neap__queue *q) {
  switch (q->order) {
  case NEAP__FIFO:
    return (lua_Integer)q->head + 1;
  case NEAP__LIFO:
    return (lua_Integer)q->size;
  default:
    return 1;
  }
}

/* For all but a PriorityQueue: puts the item at index 2 in; there is a place.
 * [-0, +1, -] */
static inline void neap__ring_put(lua_State *L, neap__queue *q) {
  lua_getiuservalue(L, 1, NEAP__ITEMS);
  lua_pushvalue(L, 2);
  lua_rawseti(L, -2, (lua_Integer)((q->head + q->size) & (q->cap - 1)) + 1);
  q->size++;
}

/* The same: pushes the next item. [-0, +2, -] */
static inline void neap__ring_take(lua_State *L, neap__queue *q) {
  lua_Integer place = neap__next_place(q);
  lua_getiuservalue(L, 1, NEAP__ITEMS);
  lua_rawgeti(L, -1, place);
  lua_pushnil(L);
  lua_rawseti(L, -3, place);
  if (q->order == NEAP__FIFO) q->head = (size_t)place & (q->cap - 1);
  q->size--;
}

#endif
