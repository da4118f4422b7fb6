/* SPDX-License-Identifier: MIT
 *
 * queue.c - Queue, PriorityQueue and LifoQueue.
 *
 * Who waits is woken as in asyncio: the item stays in the queue until the getter runs, and
 * a putter's item is put in when the putter runs. But what it was woken for is kept for it:
 * `given` items and `coming` places are nobody else's, so a newcomer takes what there is
 * beyond them, or queues up. A woken task that is cancelled lets the next one have it.
 *
 * Invariants: a getter is in line only while size == given, a putter only while
 * size + coming == limit, and neither after shutdown. A wait that was woken has the queue
 * as its object exactly when something is kept for it.
 */
#include "queue.h"

static inline neap__queue *self_in(lua_State *L, neap_runtime *rt) {
  return neap__check_tagged(L, rt, 1, NEAP__K_QUEUE, "Queue");
}

static neap__queue *self(lua_State *L) {
  return self_in(L, neap__rt(L));
}

/* ---- handing over ----------------------------------------------------------- */

/* An item is there, or kept no more: for the next in line. */
static inline void pass_item(neap__queue *q) {
  if (q->getters.head == NULL || !neap__items_left(q)) return;
  q->given++;
  neap__waitq_wake(&q->getters, 0);
}

/* A place is free, or kept no more. */
static inline void pass_place(neap__queue *q) {
  if (q->putters.head == NULL || q->size + q->coming >= q->limit) return;
  q->coming++;
  neap__waitq_wake(&q->putters, 0);
}

static inline void stored(neap__queue *q) {
  q->unfinished++;
  pass_item(q);
}

static void finished(neap__queue *q, size_t n) {
  q->unfinished -= n < q->unfinished ? n : q->unfinished;
  while (q->unfinished == 0 && neap__waitq_wake(&q->joiners, 0) != NULL) {
  }
}

/* Wakes all, with nothing. */
static void wake_all(neap__waitq *queue) {
  while (queue->head != NULL) {
    neap__link_of(queue->head)->object = NULL;
    neap__waitq_wake(queue, 0);
  }
}

/* Queue at index 1 of a new frame, item at 2. What calls Lua code while something is
 * kept for this task is called in protected mode. */
static int protected_put(lua_State *L) {
  lua_pushboolean(L, neap__items_put(L, lua_touserdata(L, 1), true));
  return 1;
}

/* -> whether there was one, the item. */
static int protected_take(lua_State *L) {
  lua_pushboolean(L, 1);
  if (neap__items_take(L, lua_touserdata(L, 1), true)) return 2;
  return 0;
}

/* ---- put --------------------------------------------------------------------- */

static neap_aborted put_abort(neap_wait *wait) {
  neap__queue *q = neap__link_of(wait)->object;
  neap__waitq_remove(&q->putters, wait);
  neap__link_of(wait)->object = NULL;
  return NEAP_ABORT_DONE;
}

static void place_used(neap__queue *q) {
  q->coming--;
  pass_place(q);
}

static int put_finish(lua_State *L, neap_wait *wait) {
  neap__queue *q = neap__link_of(wait)->object;
  if (L == NULL || wait->status < 0) {
    if (q != NULL) place_used(q);
    return L == NULL ? 0 : neap__raise_cancelled(L, neap__rt(L));
  }
  if (q == NULL) return neap__raise(L, NEAP__QUEUESHUTDOWN, NULL);
  if (q->order == NEAP__PRIORITY) {
    lua_pushcfunction(L, protected_put);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    if (lua_pcall(L, 2, 1, 0) != LUA_OK) {
      place_used(q);
      return lua_error(L);
    }
    if (lua_toboolean(L, -1)) stored(q);
  } else if (!q->shut && neap__items_put(L, q, true)) {
    stored(q);
  }
  place_used(q);
  return q->shut ? neap__raise(L, NEAP__QUEUESHUTDOWN, NULL) : 0;
}

/* Puts the item at index 2 in without waiting; false when there is no place. */
static bool put_now(lua_State *L, neap__queue *q) {
  do {
    bool room = neap__items_make_room(L, q);
    if (q->shut) neap__raise(L, NEAP__QUEUESHUTDOWN, NULL);
    if (!room) return false;
  } while (!neap__items_put(L, q, false));
  stored(q);
  return true;
}

/* The same for what is done most. Looks at the arguments first. */
static inline bool put_fast(lua_State *L, neap__queue *q) {
  if (NEAP__UNLIKELY(lua_gettop(L) != 2)) {
    luaL_checkany(L, 2);
    lua_settop(L, 2);
  }
  if (NEAP__UNLIKELY(!neap__items_have_room(q) || q->order == NEAP__PRIORITY))
    return put_now(L, q);
  neap__ring_put(L, q);
  stored(q);
  return true;
}

static int wait_to_put(lua_State *L, neap_runtime *rt, neap__queue *q) {
  neap__check_park(rt, L, "Queue:put");
  if (put_now(L, q)) return 0; /* a finalizer made room */
  neap_wait *wait = neap__own_wait(rt, put_abort, put_finish, "Queue:put");
  neap__link_of(wait)->object = q;
  neap__waitq_push(&q->putters, wait);
  return neap__park(rt, L, wait);
}

/* queue:put(item): waits while the queue is full. Raises QueueShutDown. */
static int l_put(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__queue *q = self_in(L, rt);
  neap__check_again(rt, L, "Queue:put");
  return NEAP__LIKELY(put_fast(L, q)) ? 0 : wait_to_put(L, rt, q);
}

/* queue:put_nowait(item). Raises QueueFull, QueueShutDown. */
static int l_put_nowait(lua_State *L) {
  neap__queue *q = self(L);
  return put_fast(L, q) ? 0 : neap__raise(L, NEAP__QUEUEFULL, NULL);
}

/* ---- get --------------------------------------------------------------------- */

static neap_aborted get_abort(neap_wait *wait) {
  neap__queue *q = neap__link_of(wait)->object;
  neap__waitq_remove(&q->getters, wait);
  neap__link_of(wait)->object = NULL;
  return NEAP_ABORT_DONE;
}

static void item_used(neap__queue *q) {
  q->given--;
  pass_item(q);
}

/* The queue is empty and was shut down: nil for an iterator, whose frame has true at
 * index 2. */
static int at_end(lua_State *L) {
  if (!lua_toboolean(L, 2)) return neap__raise(L, NEAP__QUEUESHUTDOWN, NULL);
  lua_pushnil(L);
  return 1;
}

/* Whether the frame is an iterator's, and would end its loop with the next item. */
static bool is_false_end(lua_State *L, const neap__queue *q) {
  if (NEAP__LIKELY(!lua_toboolean(L, 2))) return false;
  lua_getiuservalue(L, 1, NEAP__ITEMS);
  bool is_nil = lua_rawgeti(L, -1, neap__next_place(q)) == LUA_TNIL;
  lua_pop(L, 2);
  return is_nil;
}

static int false_end(lua_State *L) {
  return luaL_error(L, "a nil item would end the loop over this queue (take "
                       "the items by Queue:get)");
}

/* Takes an item without waiting and pushes it; false when there is none. */
static bool get_now(lua_State *L, neap__queue *q) {
  neap__items_shrink(L, q);
  do {
    if (!neap__items_left(q)) return false;
    if (is_false_end(L, q)) return false_end(L);
  } while (!neap__items_take(L, q, false));
  pass_place(q);
  return true;
}

/* The same for what is done most, with the queue alone in the frame. */
static inline bool get_fast(lua_State *L, neap__queue *q) {
  if (NEAP__UNLIKELY(lua_gettop(L) != 1)) lua_settop(L, 1);
  if (NEAP__UNLIKELY(!neap__items_left(q) || q->cap > NEAP__CAP_KEPT ||
                     q->order == NEAP__PRIORITY))
    return get_now(L, q);
  neap__ring_take(L, q);
  pass_place(q);
  return true;
}

static int get_finish(lua_State *L, neap_wait *wait) {
  neap__queue *q = neap__link_of(wait)->object;
  if (L == NULL || wait->status < 0) {
    if (q != NULL) item_used(q);
    return L == NULL ? 0 : neap__raise_cancelled(L, neap__rt(L));
  }
  if (q == NULL) /* another may have left it an item after the shutdown */
    return get_now(L, lua_touserdata(L, 1)) ? 1 : at_end(L);
  if (q->size > 0 && is_false_end(L, q)) {
    item_used(q);
    return false_end(L);
  }
  bool taken;
  if (q->order == NEAP__PRIORITY) {
    lua_pushcfunction(L, protected_take);
    lua_pushvalue(L, 1);
    if (lua_pcall(L, 1, 2, 0) != LUA_OK) {
      item_used(q);
      return lua_error(L);
    }
    taken = lua_toboolean(L, -2);
  } else {
    taken = q->size > 0 && neap__items_take(L, q, true);
  }
  item_used(q);
  if (!taken) return at_end(L);
  pass_place(q);
  return 1;
}

static int wait_to_get(lua_State *L, neap_runtime *rt, neap__queue *q,
                       const char *name) {
  neap__check_park(rt, L, name);
  if (get_now(L, q)) return 1; /* a finalizer put something in */
  if (q->shut) return at_end(L);
  neap_wait *wait = neap__own_wait(rt, get_abort, get_finish, name);
  neap__link_of(wait)->object = q;
  neap__waitq_push(&q->getters, wait);
  return neap__park(rt, L, wait);
}

/* queue:get() -> the next item; waits while there is none. Raises QueueShutDown. */
static int l_get(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__queue *q = self_in(L, rt);
  neap__check_again(rt, L, "Queue:get");
  return NEAP__LIKELY(get_fast(L, q)) ? 1 : wait_to_get(L, rt, q, "Queue:get");
}

/* queue:get_nowait() -> the next item. Raises QueueEmpty, QueueShutDown. */
static int l_get_nowait(lua_State *L) {
  neap__queue *q = self(L);
  if (get_fast(L, q)) return 1;
  return neap__raise(L, q->shut ? NEAP__QUEUESHUTDOWN : NEAP__QUEUEEMPTY, NULL);
}

/* The iterator: a frame of the queue and true. */
static int l_next(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_pushboolean(L, 1);
  neap__check_again(rt, L, "Queue:iter");
  neap__queue *q = lua_touserdata(L, 1);
  return get_now(L, q) ? 1 : wait_to_get(L, rt, q, "Queue:iter");
}

/* queue:iter() -> an iterator over the items, which waits for each. Its loop ends when
 * the queue was shut down and is empty. */
static int l_iter(lua_State *L) {
  self(L);
  lua_settop(L, 1);
  neap__push_self(L, neap__rt(L));
  lua_insert(L, 1);
  lua_pushcclosure(L, l_next, 2);
  return 1;
}

/* ---- join ---------------------------------------------------------------------- */

static neap_aborted join_abort(neap_wait *wait) {
  neap__queue *q = neap__link_of(wait)->object;
  neap__waitq_remove(&q->joiners, wait);
  return NEAP_ABORT_DONE;
}

static int join_finish(lua_State *L, neap_wait *wait) {
  if (L == NULL) return 0;
  return wait->status < 0 ? neap__raise_cancelled(L, neap__rt(L)) : 0;
}

/* queue:join(): waits until task_done was called for each item that was put in. */
static int l_join(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__queue *q = self(L);
  if (q->unfinished == 0) {
    neap__check_again(rt, L, "Queue:join");
    return 0;
  }
  neap__check_park(rt, L, "Queue:join");
  neap_wait *wait = neap__own_wait(rt, join_abort, join_finish, "Queue:join");
  neap__link_of(wait)->object = q;
  neap__waitq_push(&q->joiners, wait);
  return neap__park(rt, L, wait);
}

/* queue:task_done(): the work on one item is done. Raises when called too often. */
static int l_task_done(lua_State *L) {
  neap__queue *q = self(L);
  if (q->unfinished == 0)
    return luaL_error(L, "task_done() called too many times");
  finished(q, 1);
  return 0;
}

/* ---- the rest -------------------------------------------------------------------- */

static void shut_down(lua_State *L, neap__queue *q, bool immediate) {
  if (!q->shut) q->change++; /* who compares for a put looks again */
  q->shut = true;
  q->room = 0;
  if (immediate) {
    size_t n = q->size;
    neap__items_clear(L, q);
    finished(q, n);
  }
  wake_all(&q->getters);
  wake_all(&q->putters);
}

/* queue:shutdown(immediate): nothing can be put in any more; what is there can still be
 * taken, or is dropped. */
static int l_shutdown(lua_State *L) {
  shut_down(L, self(L), lua_toboolean(L, 2));
  return 0;
}

/* At the end of a block. */
static int l_close(lua_State *L) {
  shut_down(L, self(L), false);
  return 0;
}

/* queue:qsize() -> the number of items. */
static int l_qsize(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)self(L)->size);
  return 1;
}

/* queue:empty() -> whether there are none. */
static int l_empty(lua_State *L) {
  lua_pushboolean(L, self(L)->size == 0);
  return 1;
}

/* queue:full() -> whether there are as many as may be. */
static int l_full(lua_State *L) {
  neap__queue *q = self(L);
  lua_pushboolean(L, q->size >= q->limit);
  return 1;
}

static void add_count(lua_State *L, luaL_Buffer *b, const char *what,
                      size_t n) {
  if (n == 0) return;
  lua_pushfstring(L, " %s=%I", what, (LUAI_UACINT)n);
  luaL_addvalue(b);
}

static size_t count(const neap__waitq *queue) {
  size_t n = 0;
  for (neap_wait *wait = queue->head; wait != NULL;
       wait = neap__link_of(wait)->queue.next)
    n++;
  return n;
}

static void push_text(lua_State *L, const neap__queue *q, const char *end) {
  static const char *const names[] = {"Queue", "LifoQueue", "PriorityQueue"};
  lua_pushfstring(L, "<%s maxsize=%I items=%I%s", names[q->order],
                  (LUAI_UACINT)q->maxsize, (LUAI_UACINT)q->size, end);
}

/* For reports: without the lines of those who wait, each of whom is in the report. */
static void push_awaited(lua_State *L, const void *object) {
  const neap__queue *q = object;
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  push_text(L, q, "");
  luaL_addvalue(&b);
  add_count(L, &b, "unfinished", q->unfinished);
  luaL_addstring(&b, ">");
  luaL_pushresult(&b);
}

static int l_tostring(lua_State *L) {
  neap__queue *q = self(L);
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  push_text(L, q, "");
  luaL_addvalue(&b);
  add_count(L, &b, "getters", count(&q->getters));
  add_count(L, &b, "putters", count(&q->putters));
  add_count(L, &b, "unfinished", q->unfinished);
  luaL_addstring(&b, q->shut ? " shutdown>" : ">");
  luaL_pushresult(&b);
  return 1;
}

static int new_queue(lua_State *L, enum neap__order order) {
  neap_runtime *rt = neap__rt(L);
  lua_Integer maxsize = luaL_optinteger(L, 1, 0);
  neap__queue *q = lua_newuserdatauv(L, sizeof *q, 2);
  *q = (neap__queue){
      .tag = neap__tag(rt, NEAP__K_QUEUE),
      .limit = maxsize > 0 ? (size_t)maxsize : SIZE_MAX,
      .maxsize = maxsize,
      .order = (unsigned char)order,
  };
  neap__push_class(L, rt, NEAP__K_QUEUE);
  lua_setmetatable(L, -2);
  return 1;
}

/* Queue(maxsize) -> a queue, first in, first out; without maxsize, or with one that is not
 * above 0, it is never full. */
static int l_queue(lua_State *L) {
  return new_queue(L, NEAP__FIFO);
}

/* LifoQueue(maxsize) -> one that gives out first what was put in last. */
static int l_lifo(lua_State *L) {
  return new_queue(L, NEAP__LIFO);
}

/* PriorityQueue(maxsize, less) -> one that gives out the lowest item first; less(a, b) tells
 * whether a is lower than b, a < b if not given. */
static int l_priority(lua_State *L) {
  if (!lua_isnoneornil(L, 2)) neap__check_callback(L, 2);
  lua_settop(L, 2);
  new_queue(L, NEAP__PRIORITY);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, NEAP__LESS);
  return 1;
}

void neap__queue_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {
      {"put", l_put},
      {"get", l_get},
      {"put_nowait", l_put_nowait},
      {"get_nowait", l_get_nowait},
      {"iter", l_iter},
      {"join", l_join},
      {"task_done", l_task_done},
      {"shutdown", l_shutdown},
      {"qsize", l_qsize},
      {"empty", l_empty},
      {"full", l_full},
      {"__close", l_close},
      {"__tostring", l_tostring},
      {NULL, NULL},
  };
  static const luaL_Reg functions[] = {
      {"Queue", l_queue},
      {"LifoQueue", l_lifo},
      {"PriorityQueue", l_priority},
      {NULL, NULL},
  };
  static const neap__teller teller = {.push = push_awaited};
  neap__set_teller(rt, NEAP__K_QUEUE, &teller);
  neap__new_class(L, rt, NEAP__K_QUEUE, "neap.Queue", methods);
  lua_pop(L, 1);
  neap__set_funcs(L, rt, functions);
}
