/* SPDX-License-Identifier: MIT
 *
 * gather.c - start all, wait for all.
 *
 * One block of watchers, one for each child, lives in a userdata of the caller's
 * frame. The caller is woken directly by the child that decides: the last one, or
 * the first that failed. A gather that is over takes its watchers out; errors of
 * children that come later count as seen, as in asyncio.
 */
#include "internal.h"

#include <limits.h>
#include <string.h>

typedef struct gather gather;

typedef struct child {
  neap__watcher watcher;
  gather *all;
  neap__future *future;
} child;

struct gather {
  const void *tag;
  neap__call failure;
  neap__loop *loop;
  neap_wait *wait; /* NULL once decided */
  size_t count, pending;
  neap__future *failed; /* the first that did not return */
  bool return_exceptions;
  child children[];
};

static void decide(gather *g) {
  neap_wait *wait = g->wait;
  g->wait = NULL;
  if (wait != NULL) neap_wake(wait, 0);
}

/* The place of a child's failure in the ready list. Until then a cancellation of the
 * caller still reaches the other children, as in asyncio. */
static void on_failure(neap__call *call) {
  decide(neap__container_of(call, gather, failure));
}

static void on_child_done(neap__watcher *watcher, neap__future *future) {
  gather *g = neap__container_of(watcher, child, watcher)->all;
  g->pending--;
  if (g->failed != NULL) return;
  if (future->state != NEAP__RETURNED && !g->return_exceptions) {
    g->failed = future;
    neap__ready(g->loop, &g->failure.item);
  } else if (g->pending == 0) {
    decide(g);
  }
}

/* Passes the cancellation on to the children that are pending. */
static void push_children(gather *g) {
  for (size_t i = g->count; i-- > 0;) { /* the last pushed is cancelled first */
    neap__future *future = g->children[i].future;
    if (future->state == NEAP__PENDING)
      neap__cancel_future(future->loop->rt, future);
  }
}

static neap_aborted gather_abort(neap_wait *wait) {
  push_children(neap__link_of(wait)->object);
  return NEAP__ABORT_FORWARDED;
}

/* No child tells us anything any more. */
static void detach(gather *g, const neap__future *unseen) {
  g->wait = NULL;
  neap__unready(g->loop, &g->failure.item);
  for (size_t i = 0; i < g->count; i++) {
    child *c = &g->children[i];
    if (c->future->state == NEAP__PENDING) {
      neap__unwatch(c->future, &c->watcher);
      c->future->quiet = 1;
    } else {
      if (c->future != unseen) neap__seen(c->future);
    }
  }
}

/* Pushes the one value of the future at `index`: its first result, or its error. */
static void push_value(lua_State *L, int index) {
  neap__future *future = lua_touserdata(L, index);
  if (future->state == NEAP__CANCELLED) {
    neap__push_cancelled(L, index);
  } else if (future->state == NEAP__RETURNED && future->nresults == 0) {
    lua_pushnil(L);
  } else {
    lua_getiuservalue(L, index, NEAP__OUTCOME);
    if (future->state == NEAP__RETURNED && future->nresults > 1) {
      lua_rawgeti(L, -1, 1);
      lua_remove(L, -2);
    }
  }
}

/* Frame: 1 the list of futures, 2 whether a list is wanted, 3 the gather. */
static int results(lua_State *L, gather *g) {
  int n = (int)g->count;
  lua_settop(L, 3);
  if (g->failed != NULL) {
    for (int i = 0; i < n; i++) {
      if (g->children[i].future != g->failed) continue;
      lua_rawgeti(L, 1, i + 1);
      lua_replace(L, 1);
      lua_settop(L, 1);
      return neap__take(L, neap__rt(L), 1);
    }
  }
  if (!lua_toboolean(L, 2)) {
    luaL_checkstack(L, n + 2, "too many results");
    for (int i = 1; i <= n; i++) {
      lua_rawgeti(L, 1, i);
      push_value(L, lua_gettop(L));
      lua_remove(L, -2);
    }
    return n;
  }
  /* The list of futures is ours: it becomes the list of results. */
  for (int i = 1; i <= n; i++) {
    const neap__future *future = g->children[i - 1].future;
    lua_rawgeti(L, 1, i);
    if (NEAP__LIKELY(future->state == NEAP__RETURNED &&
                     future->nresults == 1)) {
      lua_getiuservalue(L, 4, NEAP__OUTCOME);
    } else {
      push_value(L, 4);
    }
    lua_rawseti(L, 1, i);
    lua_pop(L, 1);
  }
  lua_pushinteger(L, n);
  lua_setfield(L, 1, "n");
  lua_settop(L, 1);
  return 1;
}

static int gather_finish(lua_State *L, neap_wait *wait) {
  gather *g = neap__link_of(wait)->object;
  /* An error that the caller does not get is left to be reported. */
  detach(g, wait->status < 0 ? g->failed : NULL);
  if (L == NULL) return 0;
  neap_runtime *rt = neap__rt(L);
  neap__check_stopped(L, rt);
  if (wait->status < 0) return neap__raise_cancelled(L, rt);
  if (wait->flags & NEAP__FORWARDED) {
    if (g->failed == NULL || g->failed->state == NEAP__CANCELLED)
      return neap__raise_cancelled(L, rt);
  }
  return results(L, g);
}

/* The list of futures at 1, list wanted at 2: waits for all. */
static int wait_for_all(lua_State *L, neap_runtime *rt, bool exceptions) {
  size_t n = (size_t)lua_rawlen(L, 1);
  gather *g = lua_newuserdatauv(L, sizeof *g + n * sizeof(child), 0);
  memset(g, 0, sizeof *g);
  g->tag = neap__tag(rt, NEAP__K_GATHER);
  g->failure.item.kind = NEAP__CALL;
  g->failure.run = on_failure;
  g->loop = neap__the_loop(L, rt);
  g->count = n;
  g->return_exceptions = exceptions;
  for (size_t i = 0; i < n; i++) {
    child *c = &g->children[i];
    lua_rawgeti(L, 1, (lua_Integer)i + 1);
    c->watcher.next = c->watcher.prev = NULL;
    c->watcher.notify = on_child_done;
    c->all = g;
    c->future = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (c->future->state == NEAP__PENDING) {
      g->pending++;
    } else if (c->future->state != NEAP__RETURNED && !exceptions &&
               g->failed == NULL) {
      g->failed = c->future;
    }
  }
  if (g->pending == 0 || g->failed != NULL) {
    detach(g, NULL);
    neap__check_again(rt, L, "neap.gather");
    return results(L, g);
  }
  neap_wait *wait =
      neap__own_wait(rt, gather_abort, gather_finish, "neap.gather");
  neap__link_of(wait)->object = g;
  g->wait = wait;
  for (size_t i = 0; i < n; i++) {
    child *c = &g->children[i];
    if (c->future->state != NEAP__PENDING) continue;
    neap__watch(c->future, &c->watcher);
  }
  return neap__park(rt, L, wait);
}

/* Pushes awaitable i: of the list at 1, or argument i. */
static inline void push_item(lua_State *L, bool listed, int i) {
  if (listed) {
    lua_geti(L, 1, i);
  } else {
    lua_pushvalue(L, i);
  }
}

void neap__make_futures(lua_State *L, neap_runtime *rt, bool listed, int n,
                        const char *how) {
  neap__loop *loop = neap__the_loop(L, rt);
  /* A __len may say anything: room is made only for what is there. */
  lua_createtable(L, listed && lua_rawlen(L, 1) < (lua_Unsigned)n ? 0 : n, 1);
  int list = lua_gettop(L), missing = 0;
  const neap__future *own = rt->current != NULL ? &rt->current->future : NULL;
  for (int i = 1; i <= n; i++) {
    push_item(L, listed, i);
    neap__future *future = neap__test_future(L, rt, -1);
    if (future != NULL) {
      if (NEAP__UNLIKELY(future->loop != loop || future == own))
        neap__check_here(L, rt, future, how);
    } else {
      neap__check_awaitable(L, rt, -1, listed ? 1 : i);
      lua_pop(L, 1);
      lua_pushboolean(L, 0); /* so that the list has no holes */
      missing++;
    }
    lua_rawseti(L, list, i);
  }
  for (int i = 1; missing > 0; i++) {
    if (lua_rawgeti(L, list, i) == LUA_TBOOLEAN) {
      push_item(L, listed, i);
      neap__ensure_future(L, rt, loop, 0, listed ? 1 : i);
      lua_rawseti(L, list, i);
      missing--;
    }
    lua_settop(L, list);
  }
  if (list > 1) lua_replace(L, 1);
  lua_settop(L, 1);
}

/* gather(a, b, ...) -> one value of each, in order.
 * gather(list, opts) -> a list of them, with n. opts.return_exceptions: errors are
 * values too. Starts and waits for all; the first error is raised at once, and the
 * others go on. Waits. */
static int l_gather(lua_State *L) {
  static const char *const known[] = {"return_exceptions", NULL};
  neap_runtime *rt = neap__rt(L);
  int n = lua_gettop(L);
  neap__check_park(rt, L, "neap.gather");
  bool listed = n > 0 && lua_istable(L, 1) &&
                luaL_getmetafield(L, 1, "__call") == LUA_TNIL;
  bool exceptions = false;
  if (listed) {
    if (neap__options(L, 2, "neap.gather", known)) {
      lua_getfield(L, 2, "return_exceptions");
      exceptions = lua_toboolean(L, -1);
    }
    lua_Integer length = luaL_len(L, 1);
    luaL_argcheck(L, length >= 0 && length < INT_MAX, 1, "length out of range");
    n = (int)length;
    lua_settop(L, 1);
  } else {
    lua_settop(L, n);
  }
  neap__make_futures(L, rt, listed, n, "gather");
  lua_pushboolean(L, listed);
  return wait_for_all(L, rt, exceptions);
}

static const neap__future *next_pending(const void *object, size_t *cursor) {
  const gather *g = object;
  while (*cursor < g->count) {
    const neap__future *future = g->children[(*cursor)++].future;
    if (future->state == NEAP__PENDING) return future;
  }
  return NULL;
}

void neap__gather_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg functions[] = {{"gather", l_gather}, {NULL, NULL}};
  static const neap__teller teller = {.child = next_pending};
  neap__set_teller(rt, NEAP__K_GATHER, &teller);
  neap__set_funcs(L, rt, functions);
}
