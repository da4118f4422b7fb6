/* SPDX-License-Identifier: MIT
 *
 * run.c - running a runtime from C: calls of the root, turns, interrupts.
 *
 * Whatever may raise runs under lua_pcall here: C that calls these has no protected
 * call around it. stop and interrupt may come from other threads or from a signal
 * handler; they only set an atomic, a hook, and wake the loop.
 */
#include "internal.h"

#include <signal.h>
#include <string.h>

/* ---- running --------------------------------------------------------------------------- */

lua_State *neap_lua(neap_runtime *rt) {
  return rt->L;
}

uv_loop_t *neap_loop(neap_runtime *rt) {
  if (rt->running != NULL) return rt->running->uv;
  neap__loop *loop = neap__current_loop(rt);
  return loop != NULL ? loop->uv : NULL;
}

void neap__set_running(neap_runtime *rt, neap__loop *loop) {
  if (loop != NULL) neap__loop_disarm(loop);
  if (rt->catch_sigint && (rt->running == NULL) != (loop == NULL)) {
    if (loop != NULL) {
      neap__sigint_catch(rt);
    } else {
      neap__sigint_release(rt);
    }
  }
  rt->running = loop;
  neap__loop *target = loop != NULL ? loop : rt->loop;
  /* Whoever comes from now on wakes this one; what came before is looked for after
   * this, so it must not move. */
  atomic_store(&rt->async, target != NULL ? &target->async : NULL);
}

void neap__set_current(neap_runtime *rt, neap__loop *loop) {
  rt->loop = loop;
  if (rt->running == NULL)
    atomic_store(&rt->async, loop != NULL ? &loop->async : NULL);
}

void neap__forget_async(neap_runtime *rt, const uv_async_t *async) {
  uv_mutex_lock(&rt->mutex);
  if (atomic_load(&rt->async) == async) atomic_store(&rt->async, NULL);
  uv_mutex_unlock(&rt->mutex);
}

static int l_the_loop(lua_State *L) {
  neap__the_loop(L, lua_touserdata(L, 1));
  return 0;
}

neap__loop *neap__current_loop(neap_runtime *rt) {
  if (rt->loop != NULL) return rt->loop;
  if (rt->shut || !lua_checkstack(rt->L, 3)) return NULL;
  lua_pushcfunction(rt->L, l_the_loop);
  lua_pushlightuserdata(rt->L, rt);
  if (lua_pcall(rt->L, 1, 0, 0) != LUA_OK) lua_pop(rt->L, 1);
  return rt->loop;
}

static bool is_busy(const neap_runtime *rt) {
  return rt->running != NULL || rt->current != &rt->root;
}

static int l_busy(lua_State *L) {
  lua_pushliteral(L, "neap_call inside a running event loop");
  return lua_error(L);
}

static int l_no_stack(lua_State *L) {
  lua_pushliteral(L, "stack overflow");
  return lua_error(L);
}

/* A call that cannot be made: in protected mode, as a message needs memory. */
static int refuse_call(lua_State *L, int top, lua_CFunction raise) {
  lua_settop(L, top);
  lua_pushcfunction(L, raise);
  return lua_pcall(L, 0, 0, 0);
}

int neap_call(neap_runtime *rt, int nargs, int nresults) {
  lua_State *L = rt->L;
  int function = lua_gettop(L) - nargs;
  if (is_busy(rt)) return refuse_call(L, function - 1, l_busy);
  if (!lua_checkstack(L, 2)) return refuse_call(L, function - 1, l_no_stack);
  rt->exiting = false;
  lua_pushcfunction(L, neap__on_error);
  lua_insert(L, function);
  int status = lua_pcall(L, nargs, nresults, function);
  lua_remove(L, function);
  rt->root.wait = NULL;
  rt->root.swallowed = rt->root.must_cancel = 0;
  rt->root.cancelling = 0;
  neap__deadlines_drop(&rt->root);
  rt->ncalls++;
  rt->chain = NULL;
  rt->busy = L;
  if (rt->loop != NULL) neap__loop_rearm(rt->loop);
  return status;
}

/* path (light userdata) -> chunk or message, status */
static int l_load_file(lua_State *L) {
  int status = luaL_loadfile(L, lua_touserdata(L, 1));
  lua_pushinteger(L, status);
  return 2;
}

int neap_dofile(neap_runtime *rt, const char *path) {
  lua_State *L = rt->L;
  if (!lua_checkstack(L, 2)) return refuse_call(L, lua_gettop(L), l_no_stack);
  lua_pushcfunction(L, l_load_file);
  lua_pushlightuserdata(L, (void *)path);
  int status = lua_pcall(L, 1, 2, 0);
  if (status != LUA_OK) return status;
  status = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return status == LUA_OK ? neap_call(rt, 0, 0) : status;
}

int neap_dostring(neap_runtime *rt, const char *code, const char *chunkname) {
  int status = luaL_loadbuffer(rt->L, code, strlen(code), chunkname);
  return status == LUA_OK ? neap_call(rt, 0, 0) : status;
}

/* error -> its report */
static int l_report(lua_State *L) {
  neap_runtime *rt = neap_of(L);
  lua_settop(L, 1);
  bool shown = lua_isstring(L, 1);
  if (shown || luaL_getmetafield(L, 1, "__tostring") != LUA_TNIL) {
    lua_settop(L, 1);
    neap__push_text(L, 1);
    if (!shown) { /* a number would do for tostring, but not for lua */
      luaL_getmetafield(L, 1, "__tostring");
      lua_pushvalue(L, 1);
      shown = lua_pcall(L, 1, 1, 0) == LUA_OK && lua_type(L, -1) == LUA_TSTRING;
      lua_pop(L, 1);
    }
  }
  if (!shown) { /* as lua says it */
    lua_settop(L, 1);
    lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
  }
  lua_pushvalue(L, 1);
  neap__take_traceback(L, rt);
  if (lua_isstring(L, -1)) {
    lua_pushliteral(L, "\n");
    lua_insert(L, -2);
    lua_remove(L, -3);
    neap__push_group_traces(L, 1);
    lua_concat(L, 4);
  } else {
    lua_pop(L, 2);
  }
  neap__push_seed(L, rt);
  lua_concat(L, 2);
  lua_pushvalue(L, -1);
  neap__reg_set(L, NEAP__R_REPORT);
  return 1;
}

const char *neap_report(neap_runtime *rt) {
  lua_State *L = rt->L;
  if (!lua_checkstack(L, 3)) return "not enough memory";
  lua_pushcfunction(L, l_report);
  lua_pushvalue(L, -2);
  int status = lua_pcall(L, 1, 1, 0);
  const char *text =
      status == LUA_OK ? lua_tostring(L, -1) : "not enough memory";
  lua_pop(L, 1);
  return text;
}

/* Reports a deadlock as nobody's error. [-0, +0, m] */
static int l_report_deadlock(lua_State *L) {
  neap__loop *loop = lua_touserdata(L, 1);
  neap__push_deadlock(L, loop);
  lua_pushnil(L);
  neap__report(L, loop, "The program cannot go on", NULL, 1);
  return 0;
}

int neap_run(neap_runtime *rt) {
  if (is_busy(rt)) return UV_EBUSY;
  neap__loop *loop = rt->loop;
  if (loop == NULL && neap__posted(rt)) loop = neap__current_loop(rt);
  if (loop == NULL || loop->closed) return 0;
  if (atomic_exchange(&rt->stop, false)) return UV_EINTR;
  if (rt->exiting) { /* the main chunk caught it, and has ended */
    rt->exiting = false;
    return UV_EINTR;
  }
  int status = neap__loop_drive(loop, rt->L, NULL, false);
  if (status == UV_EINTR || atomic_load(&rt->interrupt) != 0) {
    atomic_store(&rt->stop, false);
    atomic_store(&rt->interrupt, 0);
    return UV_EINTR;
  }
  if (status == NEAP_EDEADLK && loop->ntasks == 0 && loop->nremote == 0)
    return 0;
  if (status == NEAP_EDEADLK && lua_checkstack(rt->L, 3)) {
    lua_pushcfunction(rt->L, l_report_deadlock);
    lua_pushlightuserdata(rt->L, loop);
    if (lua_pcall(rt->L, 1, 0, 0) != LUA_OK) lua_pop(rt->L, 1);
  }
  return status;
}

int neap_step(neap_runtime *rt, double timeout) {
  if (is_busy(rt)) return UV_EBUSY;
  neap__loop *loop = neap__current_loop(rt);
  if (loop == NULL) return rt->shut ? 0 : UV_ENOMEM;
  neap__set_running(rt, loop);
  loop->running = true;
  loop->now = neap__now(rt);
  int64_t wait = timeout < 0 ? -1 : neap__to_ns(timeout);
  if (wait != 0 &&
      !(loop->ntasks > 0 ? neap__may_wake(loop) : neap__alive(loop)))
    wait = 0;
  neap__turn(loop, rt->L, wait);
  loop->running = false;
  loop->stopping = false;
  neap__set_running(rt, NULL);
  neap__loop_rearm(loop);
  if (atomic_exchange(&rt->interrupt, 0) != 0) return UV_EINTR;
  size_t pending = loop->nready + loop->heap_len + loop->nexternal +
                   loop->nshared + loop->nremote + atomic_load(&rt->posts.n);
  if (loop->ntasks > pending) pending = loop->ntasks;
  return pending > INT32_MAX ? INT32_MAX : (int)pending;
}

int neap_backend_fd(neap_runtime *rt) {
  neap__loop *loop = neap__current_loop(rt);
  if (loop == NULL) return UV_ENOMEM;
  if (!is_busy(rt) && !loop->lent) {
    /* libuv tells the system of a handle when it looks for events: without that, other
     * threads would not make the descriptor readable. */
    neap__hold(loop, true);
    uv_run(loop->uv, UV_RUN_NOWAIT);
    neap__hold(loop, false);
  }
  return uv_backend_fd(loop->uv);
}

double neap_timeout(neap_runtime *rt) {
  neap__loop *loop = neap__current_loop(rt);
  if (loop == NULL) return -1;
  int64_t wait = neap__patience(loop);
  double seconds = wait < 0 ? -1 : (double)wait / 1e9;
  uv_update_time(loop->uv);
  int ms = uv_loop_alive(loop->uv) ? uv_backend_timeout(loop->uv) : -1;
  if (ms >= 0 && (seconds < 0 || ms / 1e3 < seconds)) seconds = ms / 1e3;
  return seconds;
}

/* ---- interrupts ------------------------------------------------------------------------- */

void neap__wake_async(neap_runtime *rt) {
  uv_async_t *async = atomic_load_explicit(&rt->async, memory_order_acquire);
  if (async != NULL) uv_async_send(async);
}

void neap_stop(neap_runtime *rt) {
  atomic_store(&rt->stop, true);
  uv_mutex_lock(&rt->mutex);
  neap__wake_async(rt);
  uv_mutex_unlock(&rt->mutex);
}

static void on_busy(lua_State *L, lua_Debug *ar);

#define EVERYTHING (LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT)

/* Somebody insists, and this code may have caught it the first time: no Lua code that is
 * under way gets any further. */
static void insist(lua_State *L, neap_runtime *rt) {
  lua_sethook(L, on_busy, LUA_MASKCOUNT, 1);
  for (const neap__link_co *link = rt->chain; link != NULL; link = link->prev) {
    lua_sethook(link->co, on_busy, LUA_MASKCOUNT, 1);
    lua_sethook(link->from, on_busy, LUA_MASKCOUNT, 1);
  }
  if (rt->current != NULL && rt->current->co != NULL)
    lua_sethook(rt->current->co, on_busy, LUA_MASKCOUNT, 1);
  neap__raise(L, NEAP__SYSTEMEXIT, NULL);
}

/* Runs in whatever Lua code was busy when the interrupt or the request came. */
static void on_busy(lua_State *L, lua_Debug *ar) {
  neap_runtime *rt = neap_of(L);
  if (rt == NULL) {
    lua_sethook(L, NULL, 0, 0);
    return;
  }
  /* Of a thread only Lua code is interrupted, not what the runtime does meanwhile. */
  if (rt->self != NULL && ar->event != LUA_HOOKCOUNT &&
      ar->event != LUA_HOOKLINE)
    return;
  if (NEAP__UNLIKELY(atomic_load(&rt->insisted) > 1)) insist(L, rt);
  lua_Hook hook = L == rt->hook_L ? rt->hook : NULL;
  rt->hook = NULL; /* before the other is back: a signal may come in between */
  lua_sethook(L, hook, rt->hook_mask, rt->hook_count);
  if (atomic_load(&rt->dump)) neap__dump_log(rt, L);
  int signal = atomic_load(&rt->interrupt);
  if (signal == 0) return; /* a wait was there first */
  if (rt->current == &rt->root) {
    neap__check_interrupt(L, rt);
  } else { /* the root raises it as well */
    neap__raise(
        L, signal == SIGINT ? NEAP__KEYBOARDINTERRUPT : NEAP__SYSTEMEXIT, NULL);
  }
}

/* Has the loop look, and busy Lua code run on_busy. */
static void call_attention(neap_runtime *rt, bool busy) {
  if (busy) {
    lua_State *L = rt->busy;
    if (L != NULL) {
      lua_Hook hook = lua_gethook(L);
      if (hook != on_busy) {
        rt->hook = hook;
        rt->hook_mask = lua_gethookmask(L);
        rt->hook_count = lua_gethookcount(L);
        rt->hook_L = L;
      }
      lua_sethook(L, on_busy, EVERYTHING, 1);
    }
    neap__wake_async(rt);
  } else {
    uv_mutex_lock(&rt->mutex);
    neap__wake_async(rt);
    uv_mutex_unlock(&rt->mutex);
  }
}

void neap_interrupt(neap_runtime *rt, int signal, bool busy) {
  atomic_store(&rt->interrupt, signal);
  call_attention(rt, busy);
}

void neap_request_dump(neap_runtime *rt, bool busy) {
  atomic_store(&rt->dump, true);
  call_attention(rt, busy);
}

static neap_aborted exit_abort(neap_wait *wait) {
  (void)wait;
  return NEAP_ABORT_DONE;
}

static int exit_finish(lua_State *L, neap_wait *wait) {
  (void)wait;
  return neap__raise_cancelled(L, neap_of(L));
}

int neap_exit(lua_State *L) {
  neap_runtime *rt = neap_of(L);
  if (rt == NULL || !is_busy(rt)) return UV_EINVAL;
  neap_interrupt(rt, SIGTERM, false);
  neap_task *task = rt->current;
  if (task != NULL && task->co == L && lua_isyieldable(L)) {
    task->swallowed = 0;
    neap_wait *wait = neap__own_wait(rt, exit_abort, exit_finish, "os.exit");
    return neap__park(rt, L, wait);
  }
  return neap__raise(L, NEAP__SYSTEMEXIT, NULL);
}
