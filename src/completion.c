/* SPDX-License-Identifier: MIT
 *
 * completion.c - following several futures to their ends: wait and as_completed.
 *
 * One block of watchers: in a userdata of the caller's frame for wait, in memory that
 * an object has for as_completed. Those that are done stand in a list in the order
 * of their completion. The block takes its watchers out when it is not needed any more.
 */
#include "internal.h"

#include <limits.h>
#include <string.h>

enum mode { ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION };

typedef struct completion completion;

typedef struct child {
  neap__watcher watcher;
  completion *all;
  neap__future *future; /* NULL: twice in the list, the first counts */
  struct child *next;   /* that was done after it */
  bool done;            /* and stands in that list */
} child;

struct completion {
  const void *tag;
  neap__timer timer;
  neap__loop *loop;
  neap__waitq queue; /* who waits: for wait one, for as_completed any number */
  child *first, *last; /* done; for as_completed: and not given out yet */
  size_t count;        /* of children */
  size_t ndone, ngiven, total;
  size_t coming; /* woken to take one, and have not run yet */
  enum mode mode;
  bool expired;
  bool iterates; /* as_completed */
  child children[];
};

/* What Lua has for as_completed. */
typedef struct iterator {
  completion *c;
} iterator;

/* ---- following ------------------------------------------------------------------- */

static bool is_enough(const completion *c, const neap__future *future) {
  return c->ndone == c->total || c->mode == FIRST_COMPLETED ||
         (c->mode == FIRST_EXCEPTION && future->state == NEAP__RAISED);
}

static void append(completion *c, child *one) {
  if (c->last != NULL) {
    c->last->next = one;
  } else {
    c->first = one;
  }
  c->last = one;
  one->done = true;
  c->ndone++;
}

/* Those who wait for more than there will be. */
static void wake_rest(completion *c) {
  while (neap__waitq_wake(&c->queue, 0) != NULL)
    c->coming++;
}

/* One waiter for each that nobody comes for yet. */
static void offer(completion *c) {
  while (c->ndone - c->ngiven > c->coming &&
         neap__waitq_wake(&c->queue, 0) != NULL)
    c->coming++;
}

static void on_child_done(neap__watcher *watcher, neap__future *future) {
  child *one = neap__container_of(watcher, child, watcher);
  completion *c = one->all;
  if (c->expired && c->iterates) return; /* too late */
  append(c, one);
  if (c->ndone == c->total) neap__timer_disarm(c->loop, &c->timer);
  if (c->iterates) {
    offer(c);
    if (c->ndone == c->total) wake_rest(c);
  } else if (is_enough(c, future)) {
    neap__waitq_wake(&c->queue, 0);
  }
}

static void detach(completion *c) {
  neap__timer_disarm(c->loop, &c->timer);
  for (size_t i = 0; i < c->count; i++) {
    child *one = &c->children[i];
    if (one->future != NULL && one->future->state == NEAP__PENDING)
      neap__unwatch(one->future, &one->watcher);
  }
}

static void on_due(neap__timer *timer) {
  completion *c = neap__container_of(timer, completion, timer);
  if (c->loop->closed) return;
  c->expired = true;
  wake_rest(c);
}

static neap_aborted completion_abort(neap_wait *wait) {
  completion *c = neap__link_of(wait)->object;
  neap__waitq_remove(&c->queue, wait);
  return NEAP_ABORT_DONE;
}

static size_t size_of(size_t n) {
  return sizeof(completion) + n * sizeof(child);
}

/* Fills in the zeroed completion of the n futures of the list at 1. Nothing is watched
 * yet. [-0, +0, m] */
static void init_completion(lua_State *L, neap_runtime *rt, neap__loop *loop,
                            completion *c, size_t n) {
  c->tag = neap__tag(rt, NEAP__K_COMPLETION);
  c->timer.fire = on_due;
  c->loop = loop;
  c->count = n;
  lua_createtable(L, 0, n < INT_MAX ? (int)n : 0); /* which there are already */
  for (size_t i = 0; i < n; i++) {
    child *one = &c->children[i];
    lua_rawgeti(L, 1, (lua_Integer)i + 1);
    neap__future *future = lua_touserdata(L, -1);
    lua_pop(L, 1);
    one->all = c;
    one->watcher.notify = on_child_done;
    if (lua_rawgetp(L, -1, future) == LUA_TNIL) {
      one->future = future;
      c->total++;
      lua_pushboolean(L, 1);
      lua_rawsetp(L, -3, future);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* Follows them. What is done comes first, in the order of the list. True when that
 * is enough. Raises nothing. */
static bool follow(completion *c) {
  bool enough = c->total == 0;
  for (size_t i = 0; i < c->count; i++) {
    child *one = &c->children[i];
    if (one->future == NULL) continue;
    if (one->future->state != NEAP__PENDING) {
      append(c, one);
      enough = enough || is_enough(c, one->future);
    } else {
      neap__watch(one->future, &one->watcher);
    }
  }
  return enough;
}

static void arm(completion *c, double limit) {
  int64_t now = neap__now(c->loop->rt);
  neap__timer_arm(c->loop, &c->timer, neap__after(now, limit), now);
}

/* The list at 1 becomes one of futures; options at 2. Gives the time-out, or -1. */
static double read_arguments(lua_State *L, neap_runtime *rt, enum mode *mode,
                             const char *how) {
  static const char *const modes[] = {"all_completed", "first_completed",
                                      "first_exception", NULL};
  static const char *const known[] = {"timeout", "return_when", NULL};
  static const char *const timeout_only[] = {"timeout", NULL};
  luaL_checktype(L, 1, LUA_TTABLE);
  double limit = -1;
  bool waits = mode != NULL;
  if (neap__options(L, 2, waits ? "neap.wait" : "neap.as_completed",
                    waits ? known : timeout_only)) {
    if (lua_getfield(L, 2, "timeout") != LUA_TNIL) {
      limit = lua_tonumber(L, -1);
      luaL_argcheck(L, lua_isnumber(L, -1) && limit == limit, 2,
                    "timeout: seconds expected");
      if (limit < 0) limit = 0;
    }
    if (mode != NULL && lua_getfield(L, 2, "return_when") != LUA_TNIL) {
      const char *name =
          lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
      int i = 0;
      while (modes[i] != NULL && strcmp(modes[i], name) != 0)
        i++;
      if (modes[i] == NULL)
        luaL_argerror(L, 2,
                      lua_pushfstring(L, "Invalid return_when value: %s",
                                      luaL_tolstring(L, -1, NULL)));
      *mode = (enum mode)i;
    }
  }
  lua_Integer n = luaL_len(L, 1);
  luaL_argcheck(L, n >= 0 && n < INT_MAX, 1, "length out of range");
  luaL_argcheck(L, n > 0 || mode == NULL, 1, "no tasks or futures to wait for");
  lua_settop(L, 1);
  neap__make_futures(L, rt, true, (int)n, how);
  return limit;
}

/* For reports: those that are not done. */
static const neap__future *next_pending(const void *object, size_t *cursor) {
  const completion *c = object;
  while (*cursor < c->count) {
    const neap__future *future = c->children[(*cursor)++].future;
    if (future != NULL && future->state == NEAP__PENDING) return future;
  }
  return NULL;
}

/* ---- wait ------------------------------------------------------------------------ */

/* Frame: 1 the list, 2 the completion. Pushes done and pending. What a finalizer ends
 * meanwhile was pending. */
static int push_sets(lua_State *L, completion *c) {
  lua_settop(L, 2);
  lua_createtable(L, (int)(c->ndone < INT_MAX ? c->ndone : 0), 0);
  lua_createtable(L, (int)(c->total - c->ndone), 0);
  lua_Integer n = 0;
  for (child *one = c->first; one != NULL; one = one->next) {
    lua_rawgeti(L, 1, (lua_Integer)(one - c->children) + 1);
    lua_rawseti(L, 3, ++n);
  }
  n = 0;
  for (size_t i = 0; i < c->count; i++) {
    const child *one = &c->children[i];
    if (one->future == NULL || one->done) continue;
    lua_rawgeti(L, 1, (lua_Integer)i + 1);
    lua_rawseti(L, 4, ++n);
  }
  return 2;
}

static int wait_finish(lua_State *L, neap_wait *wait) {
  completion *c = neap__link_of(wait)->object;
  detach(c);
  if (L == NULL) return 0;
  if (wait->status < 0) return neap__raise_cancelled(L, neap__rt(L));
  return push_sets(L, c);
}

/* wait(list, opts) -> done, pending: lists; done in the order of completion.
 * opts.timeout: seconds. opts.return_when: "all_completed" (the default),
 * "first_completed", "first_exception". Cancels nothing. Waits. */
static int l_wait(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  enum mode mode = ALL_COMPLETED;
  neap__check_park(rt, L, "neap.wait");
  neap__loop *loop = neap__the_loop(L, rt);
  double limit = read_arguments(L, rt, &mode, "wait for");
  neap__timer_reserve(L, loop);
  size_t n = (size_t)lua_rawlen(L, 1);
  completion *c = lua_newuserdatauv(L, size_of(n), 0);
  memset(c, 0, size_of(n));
  init_completion(L, rt, loop, c, n);
  c->mode = mode;
  if (follow(c)) {
    detach(c);
    return push_sets(L, c);
  }
  if (limit >= 0) arm(c, limit);
  neap_wait *wait =
      neap__own_wait(rt, completion_abort, wait_finish, "neap.wait");
  neap__link_of(wait)->object = c;
  neap__waitq_push(&c->queue, wait);
  return neap__park(rt, L, wait);
}

/* ---- as_completed ---------------------------------------------------------------- */

static completion *self(lua_State *L) {
  iterator *it = neap__check(L, neap__rt(L), 1, NEAP__K_COMPLETION,
                             "as_completed iterator");
  if (it->c == NULL) luaL_argerror(L, 1, "the iterator was collected");
  return it->c;
}

static int give_next(lua_State *L, completion *c);

static neap_aborted next_abort(neap_wait *wait) {
  completion *c = neap__link_of(wait)->object;
  neap__waitq_remove(&c->queue, wait);
  c->coming++; /* finish takes it back, as for one that was woken */
  return NEAP_ABORT_DONE;
}

static int next_finish(lua_State *L, neap_wait *wait) {
  completion *c = neap__link_of(wait)->object;
  c->coming--;
  /* Nobody else wakes those who came while the last ones were on their way. */
  if (c->ndone == c->total || c->expired) wake_rest(c);
  if (L != NULL && wait->status >= 0) return give_next(L, c);
  offer(c); /* what it was woken for */
  return L == NULL ? 0 : neap__raise_cancelled(L, neap__rt(L));
}

static int wait_for_next(lua_State *L, completion *c) {
  neap_runtime *rt = neap__rt(L);
  neap__check_park(rt, L, "neap.as_completed");
  neap_wait *wait =
      neap__own_wait(rt, next_abort, next_finish, "neap.as_completed");
  neap__link_of(wait)->object = c;
  neap__waitq_push(&c->queue, wait);
  return neap__park(rt, L, wait);
}

/* The completion at 1: the first that is done, or why there is none. */
static int give_next(lua_State *L, completion *c) {
  child *one = c->first;
  lua_settop(L, 1);
  if (one != NULL) {
    c->first = one->next;
    if (one->next == NULL) c->last = NULL;
    c->ngiven++;
    lua_getiuservalue(L, 1, 1);
    lua_rawgeti(L, -1, (lua_Integer)(one - c->children) + 1);
    return 1;
  }
  if (c->ngiven < c->total && c->expired)
    return neap__raise(L, NEAP__TIMEOUTERROR, NULL);
  lua_pushnil(L);
  return 1;
}

/* iterator() -> the next Task or Future that is done; nil after the last. Waits. */
static int l_next(lua_State *L) {
  completion *c = self(L);
  if (c->ndone - c->ngiven > c->coming || c->ngiven == c->total ||
      (c->expired && c->coming == 0)) {
    neap__check_again(neap__rt(L), L, "neap.as_completed");
    return give_next(L, c);
  }
  return wait_for_next(L, c);
}

/* The loop was left: what is not done is followed no longer. */
static int l_close(lua_State *L) {
  completion *c = self(L);
  detach(c);
  c->first = c->last = NULL;
  c->ngiven = c->ndone = c->total;
  wake_rest(c);
  return 0;
}

/* A program may call it too, with anything. */
static int l_gc(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  iterator *it = neap__test(L, rt, 1, NEAP__K_COMPLETION);
  completion *c = it != NULL ? it->c : NULL;
  if (c == NULL) return 0;
  if (!rt->closing) {
    if (c->queue.head != NULL || c->coming > 0) return 0;
    detach(c);
  }
  neap__block_free(rt, c);
  it->c = NULL;
  return 0;
}

static int l_tostring(lua_State *L) {
  completion *c = self(L);
  lua_pushfstring(L, "<as_completed: %I of %I done>", (LUAI_UACINT)c->ndone,
                  (LUAI_UACINT)c->total);
  return 1;
}

/* as_completed(list, opts) -> iterator over its tasks and futures in the order of
 * their completion; awaitables that are none are started. opts.timeout: after so
 * many seconds the iterator raises TimeoutError. */
static int l_as_completed(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__loop *loop = neap__the_loop(L, rt);
  double limit = read_arguments(L, rt, NULL, "wait for");
  neap__timer_reserve(L, loop);
  size_t n = (size_t)lua_rawlen(L, 1);
  iterator *it = lua_newuserdatauv(L, sizeof *it, 1);
  it->c = NULL;
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, 2, 1);
  neap__push_class(L, rt, NEAP__K_COMPLETION);
  lua_setmetatable(L, 2); /* from here on __gc frees what there is */
  completion *c = it->c = neap__block_new(L, rt, size_of(n));
  init_completion(L, rt, loop, c, n);
  c->iterates = true;
  follow(c);
  if (limit >= 0 && c->ndone < c->total) arm(c, limit);
  lua_pushnil(L);
  lua_pushnil(L);
  lua_pushvalue(L, 2);
  return 4; /* the last: closed when the loop is left */
}

void neap__completion_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {
      {"__call", l_next}, {"close", l_close},         {"__close", l_close},
      {"__gc", l_gc},     {"__tostring", l_tostring}, {NULL, NULL},
  };
  static const luaL_Reg functions[] = {
      {"wait", l_wait},
      {"as_completed", l_as_completed},
      {NULL, NULL},
  };
  static const neap__teller teller = {.child = next_pending};
  neap__set_teller(rt, NEAP__K_COMPLETION, &teller);
  neap__new_class(L, rt, NEAP__K_COMPLETION, "neap.as_completed", methods);
  lua_pop(L, 1);
  neap__set_funcs(L, rt, functions);
}
