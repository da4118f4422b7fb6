/* SPDX-License-Identifier: MIT
 *
 * watchdog.c - a time-out in real time for the main chunk, whatever the loop's clock
 * says and whichever loop runs: neap.test.busted ends a test with it.
 *
 * A thread of its own sleeps until the time is over and then interrupts the runtime,
 * as a signal does; the root raises a TimeoutError at its wait. A test that catches
 * that is interrupted again, until somebody takes the time-out away.
 */
#include "internal.h"

#define AGAIN INT64_C(1000000000) /* ns until the next interrupt */

typedef struct neap__watchdog {
  neap_runtime *rt;
  uv_thread_t thread;
  uv_mutex_t mutex; /* guards the rest */
  uv_cond_t changed;
  int64_t due; /* ns of uv_hrtime; 0: never */
  double seconds;
  bool quit;
} watchdog;

static void bite(neap_runtime *rt) {
  int none = 0;
  if (!atomic_compare_exchange_strong(&rt->interrupt, &none, NEAP__OVERDUE))
    return; /* a signal is about to be raised */
  uv_mutex_lock(&rt->mutex);
  uv_async_t *async = atomic_load_explicit(&rt->async, memory_order_acquire);
  if (async != NULL) uv_async_send(async);
  uv_mutex_unlock(&rt->mutex);
}

static void run(void *arg) {
  watchdog *dog = arg;
  uv_mutex_lock(&dog->mutex);
  while (!dog->quit) {
    if (dog->due == 0) {
      uv_cond_wait(&dog->changed, &dog->mutex);
      continue;
    }
    int64_t left = dog->due - (int64_t)uv_hrtime();
    if (left > 0) {
      uv_cond_timedwait(&dog->changed, &dog->mutex, (uint64_t)left);
    } else {
      dog->due = (int64_t)uv_hrtime() + AGAIN;
      bite(dog->rt);
    }
  }
  uv_mutex_unlock(&dog->mutex);
}

/* The thread is made with the first time-out. 0 or a UV_E* code. */
static int start(neap_runtime *rt) {
  watchdog *dog = neap__alloc(rt, NULL, 0, sizeof *dog);
  if (dog == NULL) return UV_ENOMEM;
  *dog = (watchdog){.rt = rt};
  int status = uv_mutex_init(&dog->mutex);
  if (status == 0) {
    status = uv_cond_init(&dog->changed);
    if (status == 0) {
      status = uv_thread_create(&dog->thread, run, dog);
      if (status == 0) {
        rt->watchdog = dog;
        return 0;
      }
      uv_cond_destroy(&dog->changed);
    }
    uv_mutex_destroy(&dog->mutex);
  }
  neap__alloc(rt, dog, sizeof *dog, 0);
  return status;
}

/* watchdog(seconds or nil): from now on; nil: never. */
int neap__l_watchdog(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  bool none = lua_isnoneornil(L, 1);
  lua_Number seconds = none ? 0 : luaL_checknumber(L, 1);
  luaL_argcheck(L, none || seconds > 0, 1, "seconds expected");
  if (rt->watchdog == NULL) {
    if (none) return 0;
    int status = start(rt);
    if (status < 0) return neap_fail(L, status, "watchdog");
  }
  watchdog *dog = rt->watchdog;
  uv_mutex_lock(&dog->mutex);
  dog->seconds = seconds;
  dog->due = none ? 0 : (int64_t)uv_hrtime() + neap__to_ns(seconds);
  int overdue = NEAP__OVERDUE;
  atomic_compare_exchange_strong(&rt->interrupt, &overdue, 0);
  uv_cond_signal(&dog->changed);
  uv_mutex_unlock(&dog->mutex);
  return 0;
}

int neap__raise_overdue(lua_State *L, neap_runtime *rt) {
  luaL_checkstack(L, 12, NULL);
  luaL_Buffer b;
  double seconds = rt->watchdog != NULL ? rt->watchdog->seconds : 0;
  neap__push_tasks(L, neap__the_loop(L, rt));
  int list = lua_gettop(L);
  int n = (int)lua_rawlen(L, list);
  luaL_buffinit(L, &b);
  lua_pushfstring(L, "not done after %f s", seconds);
  luaL_addvalue(&b);
  if (rt->stopped_in != NULL) {
    lua_pushfstring(L, ": waits in '%s'", rt->stopped_in);
    luaL_addvalue(&b);
    rt->stopped_in = NULL;
  }
  for (int i = 1; i <= n; i++) {
    luaL_addstring(&b, "\n  ");
    lua_rawgeti(L, list, i);
    luaL_tolstring(L, -1, NULL);
    lua_remove(L, -2);
    luaL_addvalue(&b);
  }
  luaL_pushresult(&b);
  neap__error_new(L, NEAP__TIMEOUTERROR);
  return lua_error(L);
}

void neap__watchdog_free(neap_runtime *rt) {
  watchdog *dog = rt->watchdog;
  if (dog == NULL) return;
  uv_mutex_lock(&dog->mutex);
  dog->quit = true;
  uv_cond_signal(&dog->changed);
  uv_mutex_unlock(&dog->mutex);
  uv_thread_join(&dog->thread);
  uv_cond_destroy(&dog->changed);
  uv_mutex_destroy(&dog->mutex);
  neap__alloc(rt, dog, sizeof *dog, 0);
  rt->watchdog = NULL;
}
