/* SPDX-License-Identifier: MIT
 *
 * callthread.c - neap_call_threadsafe: functions in C that other threads have a runtime
 * call.
 *
 * They belong to the runtime, not to a loop, as loops come and go: whichever runs makes
 * what was posted, at the beginning of a turn. Posted calls come in under the runtime's
 * mutex, and are taken over in one piece. Nothing is held while one is made.
 */
#include "share.h"

#define BATCH 1000 /* calls in a turn: tasks are to have theirs */

typedef struct neap__call_post {
  struct neap__call_post *next;
  lua_CFunction function;
  void *ud;
} neap__call_post;

int neap_call_threadsafe(neap_runtime *rt, lua_CFunction function, void *ud) {
  int status = 0;
  neap__call_post *post = neap__share_alloc(NULL, sizeof *post);
  if (post == NULL) return UV_ENOMEM;
  *post = (neap__call_post){NULL, function, ud};
  uv_mutex_lock(&rt->mutex);
  if (rt->posts.refused) {
    status = UV_ECANCELED;
  } else {
    if (rt->posts.tail != NULL) {
      rt->posts.tail->next = post;
    } else {
      rt->posts.head = post;
    }
    rt->posts.tail = post;
    /* Before it is looked for the loop to wake, as that one looks at the number after
     * it has made itself known. */
    atomic_fetch_add(&rt->posts.n, 1);
    neap__wake_async(rt);
    post = NULL;
  }
  uv_mutex_unlock(&rt->mutex);
  if (post != NULL) neap__share_alloc(post, 0);
  return status;
}

static neap__call_post *take(neap_runtime *rt) {
  neap__call_post *post = rt->posts.taken;
  if (post == NULL) {
    uv_mutex_lock(&rt->mutex);
    post = rt->posts.head;
    rt->posts.head = rt->posts.tail = NULL;
    uv_mutex_unlock(&rt->mutex);
  }
  if (post == NULL) return NULL;
  rt->posts.taken = post->next;
  atomic_fetch_sub(&rt->posts.n, 1);
  return post;
}

/* error, loop (light userdata) or nil */
static int l_report(lua_State *L) {
  neap__loop *loop = lua_touserdata(L, 2);
  lua_settop(L, 1);
  lua_pushvalue(L, 1);
  neap__take_traceback(L, neap_of(L));
  neap__report(L, loop, "Exception in callback", NULL, 1);
  return 0;
}

static void make(neap_runtime *rt, neap__loop *loop, lua_State *L,
                 lua_CFunction function, void *ud) {
  int top = lua_gettop(L);
  rt->current = NULL;
  rt->busy = L;
  if (!lua_checkstack(L, 8)) {
    neap__unhandled(rt, "not enough memory",
                    "no stack for a call from another thread");
    return;
  }
  lua_pushcfunction(L, neap__on_error);
  lua_pushcfunction(L, function);
  lua_pushlightuserdata(L, ud);
  if (lua_pcall(L, 1, 0, top + 1) != LUA_OK &&
      !neap__error_is(L, -1, NEAP__SYSTEMEXIT) && /* the root raises these */
      !neap__error_is(L, -1, NEAP__KEYBOARDINTERRUPT)) {
    lua_pushcfunction(L, l_report);
    lua_insert(L, -2);
    lua_pushlightuserdata(L, loop);
    if (loop == NULL || lua_pcall(L, 2, 0, 0) != LUA_OK)
      neap__unhandled(rt, "Exception in callback",
                      "not enough memory to report an error of a call from "
                      "another thread");
  }
  lua_settop(L, top);
}

static void make_some(neap_runtime *rt, neap__loop *loop, lua_State *L,
                      size_t n) {
  while (n-- > 0) {
    neap__call_post *post = take(rt);
    if (post == NULL) return;
    neap__call_post call = *post;
    neap__share_alloc(post, 0);
    make(rt, loop, L, call.function, call.ud);
  }
}

void neap__posts_run(neap__loop *loop, lua_State *L) {
  neap_runtime *rt = loop->rt;
  size_t n = atomic_load(&rt->posts.n);
  make_some(rt, loop, L, n < BATCH ? n : BATCH);
}

void neap__posts_flush(neap_runtime *rt, bool last) {
  if (last) {
    uv_mutex_lock(&rt->mutex);
    rt->posts.refused = true;
    uv_mutex_unlock(&rt->mutex);
  }
  size_t n = atomic_load(&rt->posts.n);
  if (n == 0) return;
  neap__loop *loop = neap__current_loop(rt);
  lua_State *busy = rt->busy;
  neap__set_running(rt, loop);
  if (loop != NULL) loop->running = loop->in_turn = true;
  make_some(rt, loop, rt->L, n);
  if (loop != NULL) loop->running = loop->in_turn = false;
  neap__set_running(rt, NULL);
  rt->current = &rt->root;
  rt->busy = busy;
}
