/* SPDX-License-Identifier: MIT
 *
 * items.c - where the items of a queue are, and in which order they come out.
 *
 * The table of a Queue or LifoQueue is a ring or a stack, that of a PriorityQueue a binary
 * heap: the item at place i in slot 2i - 1 and its number in slot 2i. Of equal items the
 * older one is first.
 *
 * Comparing is Lua code: it may raise, and may change the very queue. So the comparisons
 * all come first and only read; when they are over and nothing was changed, the items
 * are moved, and that cannot fail.
 */
#include "queue.h"

#include <limits.h>

#define CAP_FIRST 8
#define CAP_MAX ((size_t)INT_MAX / 4 + 1)

/* ---- room ------------------------------------------------------------------ */

/* Moves the items into a table of `cap` places, unless they are too many by then: a
 * finalizer may run here. [-0, +0, m] */
static void resize(lua_State *L, neap__queue *q, size_t cap) {
  size_t width = q->order == NEAP__PRIORITY ? 2 : 1;
  if (cap > CAP_MAX) luaL_error(L, "too many items in a queue");
  luaL_checkstack(L, 4, NULL);
  lua_createtable(L, (int)(cap * width), 0);
  if (q->size + q->coming > cap) {
    lua_pop(L, 1);
    return;
  }
  lua_getiuservalue(L, 1, NEAP__ITEMS);
  for (size_t i = 0; i < q->size * width; i++) {
    size_t from = width == 1 ? (q->head + i) & (q->cap - 1) : i;
    lua_rawgeti(L, -1, (lua_Integer)from + 1);
    lua_rawseti(L, -3, (lua_Integer)i + 1);
  }
  lua_pop(L, 1);
  lua_setiuservalue(L, 1, NEAP__ITEMS);
  q->head = 0;
  q->cap = cap;
  q->room = q->shut ? 0 : cap < q->limit ? cap : q->limit;
  q->change++;
}

bool neap__items_make_room(lua_State *L, neap__queue *q) {
  while (!neap__items_have_room(q)) {
    if (q->shut || q->size + q->coming >= q->limit) return false;
    resize(L, q, q->cap == 0 ? CAP_FIRST : 2 * q->cap);
  }
  return true;
}

/* A lua_CFunction: queue, places. */
static int l_resize(lua_State *L) {
  resize(L, lua_touserdata(L, 1), (size_t)lua_tointeger(L, 2));
  return 0;
}

void neap__items_shrink(lua_State *L, neap__queue *q) {
  if (q->cap <= NEAP__CAP_KEPT || q->size + q->coming >= q->cap / 8) return;
  lua_pushcfunction(L, l_resize);
  lua_pushvalue(L, 1);
  lua_pushinteger(L, (lua_Integer)(q->cap / 4));
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) lua_pop(L, 1); /* it can wait */
}

void neap__items_clear(lua_State *L, neap__queue *q) {
  lua_pushnil(L);
  lua_setiuservalue(L, 1, NEAP__ITEMS);
  q->size = q->head = q->cap = q->room = 0;
  q->change++;
}

/* ---- the heap ---------------------------------------------------------------- */

/* How often to begin again because the queue was changed meanwhile. */
#define TRIES 10

#define ITEM(i) ((lua_Integer)(2 * (i)-1))
#define NUMBER(i) ((lua_Integer)(2 * (i)))

/* Whether less(x, y), for values at two indexes. `f` is the function's index. */
static bool less(lua_State *L, int f, int x, int y) {
  if (lua_isnil(L, f)) return lua_compare(L, x, y, LUA_OPLT);
  lua_pushvalue(L, f);
  lua_pushvalue(L, x);
  lua_pushvalue(L, y);
  lua_call(L, 2, 1);
  bool result = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return result;
}

/* Whether the item at place i comes before the one at place j. The table is at index t,
 * `less` above it. [-0, +0, e] */
static bool is_before(lua_State *L, int t, size_t i, size_t j) {
  lua_rawgeti(L, t, NUMBER(i));
  lua_rawgeti(L, t, NUMBER(j));
  bool older = lua_tointeger(L, -2) < lua_tointeger(L, -1);
  lua_pop(L, 2);
  lua_rawgeti(L, t, ITEM(i));
  lua_rawgeti(L, t, ITEM(j));
  int x = lua_gettop(L) - 1;
  bool before = older ? !less(L, t + 1, x + 1, x) : less(L, t + 1, x, x + 1);
  lua_settop(L, x - 1);
  return before;
}

static void move(lua_State *L, int t, size_t from, size_t to) {
  lua_rawgeti(L, t, ITEM(from));
  lua_rawseti(L, t, ITEM(to));
  lua_rawgeti(L, t, NUMBER(from));
  lua_rawseti(L, t, NUMBER(to));
}

static void push_tables(lua_State *L) {
  lua_getiuservalue(L, 1, NEAP__ITEMS);
  lua_getiuservalue(L, 1, NEAP__LESS);
}

/* Raises when the queue was changed too often; else pops down to `top`. */
static void again(lua_State *L, int top, int tries) {
  lua_settop(L, top);
  if (tries >= TRIES)
    luaL_error(L, "the PriorityQueue is changed by comparing its items");
}

/* Where the item at index 2 belongs, or 0 when the queue was changed. */
static size_t place_for_new(lua_State *L, const neap__queue *q, int t) {
  uint64_t change = q->change;
  size_t i = q->size + 1;
  while (i > 1) {
    lua_rawgeti(L, t, ITEM(i / 2));
    bool up = less(L, t + 1, 2, t + 2);
    if (q->change != change) return 0;
    lua_pop(L, 1);
    if (!up) break;
    i /= 2;
  }
  return i;
}

static bool heap_put(lua_State *L, neap__queue *q, bool kept) {
  int top = lua_gettop(L), t = top + 1;
  luaL_checkstack(L, 8, NULL);
  for (int tries = 0;; tries++) {
    if (q->shut || (!kept && q->size + q->coming >= q->room)) return false;
    push_tables(L);
    size_t place = place_for_new(L, q, t);
    if (place != 0) {
      for (size_t i = ++q->size; i > place; i /= 2)
        move(L, t, i / 2, i);
      lua_pushvalue(L, 2);
      lua_rawseti(L, t, ITEM(place));
      lua_pushinteger(L, (lua_Integer)++q->seq);
      lua_rawseti(L, t, NUMBER(place));
      break;
    }
    again(L, top, tries);
  }
  q->change++;
  lua_settop(L, top);
  return true;
}

/* Where the last item belongs once the first is gone, as a place in the path from the
 * top to `*leaf`: the path goes down to the end along the items that come first, then
 * up again, which takes fewer comparisons. 0 when the queue was changed. */
static size_t place_for_last(lua_State *L, const neap__queue *q, int t,
                             size_t *leaf) {
  uint64_t change = q->change;
  size_t last = q->size, i = 1;
  while (2 * i < last) {
    size_t child = 2 * i;
    if (child + 1 < last && is_before(L, t, child + 1, child)) child++;
    if (q->change != change) return 0;
    i = child;
  }
  *leaf = i;
  while (i > 1) {
    bool up = is_before(L, t, last, i);
    if (q->change != change) return 0;
    if (!up) break;
    i /= 2;
  }
  return i;
}

/* The place below `place` on the path from there to `leaf`. */
static size_t next_on_path(size_t place, size_t leaf) {
  while (leaf / 2 != place)
    leaf /= 2;
  return leaf;
}

static bool heap_take(lua_State *L, neap__queue *q, bool kept) {
  int top = lua_gettop(L), t = top + 1;
  luaL_checkstack(L, 8, NULL);
  for (int tries = 0;; tries++) {
    if (q->size <= (kept ? 0 : q->given)) return false;
    push_tables(L);
    size_t leaf = 1;
    size_t place = place_for_last(L, q, t, &leaf);
    if (place != 0) {
      size_t last = q->size--;
      lua_rawgeti(L, t, ITEM(1));
      for (size_t i = 1; i != place;) {
        size_t next = next_on_path(i, leaf);
        move(L, t, next, i);
        i = next;
      }
      move(L, t, last, place);
      lua_pushnil(L);
      lua_rawseti(L, t, ITEM(last));
      break;
    }
    again(L, top, tries);
  }
  q->change++;
  lua_replace(L, t);
  lua_settop(L, t);
  return true;
}

/* ---- all orders ---------------------------------------------------------------- */

bool neap__items_put(lua_State *L, neap__queue *q, bool kept) {
  if (q->order == NEAP__PRIORITY) return heap_put(L, q, kept);
  neap__ring_put(L, q);
  return true;
}

bool neap__items_take(lua_State *L, neap__queue *q, bool kept) {
  if (q->order == NEAP__PRIORITY) return heap_take(L, q, kept);
  neap__ring_take(L, q);
  return true;
}
