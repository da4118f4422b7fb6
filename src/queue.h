/* SPDX-License-Identifier: MIT
 *
 * queue.h - what the queues of queue.c share with the heap of a PriorityQueue.
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

/* Queue at index 1, item at index 2: puts it in. `kept`: into a place that is kept for
 * the caller. False: there is no place any more, `less` or a finalizer saw to that.
 * Raises what `less` raises; the queue is then as it was. [-0, +0, e] */
bool neap__heap_put(lua_State *L, neap__queue *q, bool kept);
/* Queue at index 1: takes the first item out and pushes it. False: pushed nothing, there
 * is none any more. Raises as above. [-0, +(0|1), e] */
bool neap__heap_take(lua_State *L, neap__queue *q, bool kept);

#endif
