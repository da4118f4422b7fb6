/* SPDX-License-Identifier: MIT
 *
 * coro.c - Lua's coroutine functions, pcall and xpcall, in a form that lets a task
 * wait inside them. To a program without tasks they are Lua's own.
 *
 * A coroutine in a task that parks yields a mark, the runtime's address; it stays on
 * top of that coroutine's stack until its resumer, which passes the yield on, is resumed
 * itself. So a mark on top means: parked in an await, nobody else may resume it.
 *
 * pcall, xpcall and resume notice when they catch the cancellation of the running
 * task: one that was raised since they began and is still in force. It is then raised
 * again at the task's next wait.
 */
#include "internal.h"

#include <string.h>

static bool is_parked(lua_State *L, const neap_runtime *rt, lua_State *co) {
  if (lua_status(co) != LUA_YIELD) return neap__is_body(co);
  return (lua_gettop(co) > 0 && lua_touserdata(co, -1) == rt) ||
         neap__is_of_task(L, rt, co);
}

/* Yields for a coroutine inside that has parked. */
static int pass_on(lua_State *L, neap_runtime *rt, lua_KContext context,
                   lua_KFunction k) {
  int mark = rt->current == NULL || rt->current->co != L;
  if (mark) lua_pushlightuserdata(L, rt);
  return lua_yieldk(L, mark, context, k);
}

static lua_State *check_coroutine(lua_State *L) {
  lua_State *co = lua_tothread(L, 1);
  if (co == NULL) luaL_typeerror(L, 1, "thread");
  return co;
}

/* ---- what was caught --------------------------------------------------------- */

void neap__caught(lua_State *L, neap_runtime *rt, uint32_t raises) {
  neap_task *task = rt->current;
  if (task != NULL && task->raises != raises &&
      (task->cancelling > 0 || (task == &rt->root && rt->exiting)))
    task->swallowed = 1;
  neap__forget_inner(L, rt);
}

static inline lua_KContext context_of(const neap_runtime *rt, int extra) {
  return (lua_KContext)((uint64_t)neap__raises_now(rt) << 2 | (unsigned)extra);
}

static int protected_k(lua_State *L, int status, lua_KContext context) {
  if (NEAP__UNLIKELY(status != LUA_OK && status != LUA_YIELD)) {
    neap__caught(L, neap__rt(L), (uint32_t)((uint64_t)context >> 2));
    lua_pushboolean(L, 0);
    lua_pushvalue(L, -2);
    return 2;
  }
  return lua_gettop(L) - (int)(context & 3);
}

/* pcall(f, ...) -> true and results, or false and the error. */
static int l_pcall(lua_State *L) {
  luaL_checkany(L, 1);
  lua_pushboolean(L, 1);
  lua_insert(L, 1);
  lua_KContext context = context_of(neap__rt(L), 0);
  int status =
      lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, context, protected_k);
  return protected_k(L, status, context);
}

/* xpcall(f, handler, ...) -> true and results, or false and what handler made. */
static int l_xpcall(lua_State *L) {
  int n = lua_gettop(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_pushboolean(L, 1);
  lua_pushvalue(L, 1);
  lua_rotate(L, 3, 2);
  lua_KContext context = context_of(neap__rt(L), 2);
  int status = lua_pcallk(L, n - 2, LUA_MULTRET, 2, context, protected_k);
  return protected_k(L, status, context);
}

/* ---- resume and wrap --------------------------------------------------------------- */

static int resumed_k(lua_State *L, int status, lua_KContext context);
static int wrapped_k(lua_State *L, int status, lua_KContext context);

#define PASS_ON (-2)

/* Runs `co` with `narg` values of its stack until it yields or ends. Moves what it
 * gives to L and returns how many; -1 for an error (one value); PASS_ON when
 * it parked and the caller has to yield as well. */
static int enter(lua_State *L, neap_runtime *rt, lua_State *co, int narg) {
  neap__link_co link = {rt->chain, co, L, NULL,
                        (rt->chain != NULL && rt->chain->blocked) ||
                            !lua_isyieldable(L)};
  lua_State *busy = rt->busy;
  int nresults;
  rt->chain = &link;
  rt->busy = co;
  if (NEAP__UNLIKELY(rt->watch.armed)) neap__debug_enter(co);
  int status = lua_resume(co, L, narg, &nresults);
  rt->busy = busy;
  rt->chain = link.prev;
  if (NEAP__LIKELY(status == LUA_YIELD || status == LUA_OK)) {
    if (status == LUA_YIELD && nresults == 1 && lua_touserdata(co, -1) == rt)
      return PASS_ON;
    if (NEAP__UNLIKELY(!lua_checkstack(L, nresults + 1))) {
      lua_pop(co, nresults);
      lua_pushliteral(L, "too many results to resume");
      return -1;
    }
    lua_xmove(co, L, nresults);
    return nresults;
  }
  if (NEAP__UNLIKELY(rt->loads != NULL)) neap__loads_died(rt, co);
  lua_xmove(co, L, 1);
  return -1;
}

/* The same for a caller's resume, with `narg` values on top of L. */
static int start(lua_State *L, neap_runtime *rt, lua_State *co, int narg) {
  if (NEAP__UNLIKELY(!lua_checkstack(co, narg))) {
    lua_pushliteral(L, "too many arguments to resume");
    return -1;
  }
  if (NEAP__UNLIKELY(is_parked(L, rt, co))) {
    lua_pushliteral(L, "cannot resume non-suspended coroutine");
    return -1;
  }
  lua_xmove(L, co, narg);
  return enter(L, rt, co, narg);
}

static int resume_done(lua_State *L, neap_runtime *rt, int n,
                       lua_KContext context) {
  if (n == PASS_ON) {
    return pass_on(L, rt, context, resumed_k);
  }
  if (n < 0) {
    neap__caught(L, rt, (uint32_t)((uint64_t)context >> 2));
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
  }
  lua_pushboolean(L, 1);
  lua_insert(L, -(n + 1));
  return n + 1;
}

/* The task that this coroutine runs in goes on. */
static int go_on(lua_State *L, neap_runtime *rt, lua_State *co) {
  if (is_parked(L, rt, co)) lua_settop(co, -2);
  int n = enter(L, rt, co, 0);
  neap_task *task = rt->current;
  if (NEAP__UNLIKELY(n != PASS_ON && task != NULL && task->wait != NULL))
    neap__orphan(task); /* who does not know neap has ended the coroutine */
  return n;
}

static int resumed_k(lua_State *L, int status, lua_KContext context) {
  (void)status;
  neap_runtime *rt = neap__rt(L);
  lua_State *co = lua_tothread(L, 1);
  return resume_done(L, rt, go_on(L, rt, co), context);
}

/* coroutine.resume(co, ...) -> true and what it yields or returns, or false, error. */
static int l_resume(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  lua_State *co = check_coroutine(L);
  lua_KContext context = context_of(rt, 0);
  return resume_done(L, rt, start(L, rt, co, lua_gettop(L) - 1), context);
}

/* Closes a coroutine: its <close> handlers run where Lua cannot yield. */
static int close_coroutine(lua_State *L, neap_runtime *rt, lua_State *co,
                           const char *by) {
  neap__link_co link = {rt->chain, co, L, by, true};
  rt->chain = &link;
  int status = neap__close_thread(co, L);
  rt->chain = link.prev;
  return status;
}

static int wrap_done(lua_State *L, neap_runtime *rt, lua_State *co, int n) {
  if (NEAP__LIKELY(n >= 0)) return n;
  if (n == PASS_ON) {
    return pass_on(L, rt, 0, wrapped_k);
  }
  int status = lua_status(co);
  bool died = status != LUA_OK && status != LUA_YIELD;
  if (died) {
    neap__push_dead_stack(L, co);
    lua_insert(L, -2);
    status = close_coroutine(L, rt, co, "a failing coroutine.wrap");
    lua_pop(L, 1);
    lua_xmove(co, L, 1);
  }
  if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  if (died) neap__note_inner(L, rt);
  return lua_error(L);
}

static int wrapped_k(lua_State *L, int status, lua_KContext context) {
  (void)status;
  (void)context;
  neap_runtime *rt = neap__rt(L);
  lua_State *co = lua_tothread(L, lua_upvalueindex(2));
  return wrap_done(L, rt, co, go_on(L, rt, co));
}

static int l_wrapped(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  lua_State *co = lua_tothread(L, lua_upvalueindex(2));
  return wrap_done(L, rt, co, start(L, rt, co, lua_gettop(L)));
}

/* coroutine.create(f) -> coroutine. */
static int l_create(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_State *co = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, co, 1);
  return 1;
}

/* coroutine.wrap(f) -> function that resumes it and raises its errors. */
static int l_wrap(lua_State *L) {
  l_create(L);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, -2);
  lua_pushcclosure(L, l_wrapped, 2);
  return 1;
}

/* ---- the rest of coroutine --------------------------------------------------------------- */

/* coroutine.yield(...) -> what the next resume passes. */
static int l_yield(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  if (NEAP__UNLIKELY(rt->current != NULL && rt->current->co == L &&
                     lua_isyieldable(L)))
    return luaL_error(L, "attempt to yield from the body of a task (only a "
                         "coroutine inside it can yield; neap.sleep(0) lets "
                         "others run)");
  return lua_yield(L, lua_gettop(L));
}

static const char *status_of(neap_runtime *rt, lua_State *L, lua_State *co) {
  if (co == L) return "running";
  lua_Debug ar;
  switch (lua_status(co)) {
  case LUA_YIELD:
    return is_parked(L, rt, co) ? "normal" : "suspended";
  case LUA_OK:
    if (lua_getstack(co, 0, &ar) || neap__is_body(co)) return "normal";
    return lua_gettop(co) == 0 ? "dead" : "suspended";
  default:
    return "dead";
  }
}

/* coroutine.status(co) -> "running", "suspended", "normal" or "dead". */
static int l_status(lua_State *L) {
  lua_State *co = check_coroutine(L);
  lua_pushstring(L, status_of(neap__rt(L), L, co));
  return 1;
}

/* coroutine.isyieldable([co]) -> whether it can yield to who resumed it. */
static int l_isyieldable(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  lua_State *co = lua_isnone(L, 1) ? L : check_coroutine(L);
  bool of_task = co == L ? rt->current != NULL && rt->current->co == L
                         : neap__runs_body(co);
  lua_pushboolean(L, lua_isyieldable(co) && !of_task);
  return 1;
}

/* coroutine.running() -> the coroutine, and whether it is the main one. */
static int l_running(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  if (rt->current != NULL && rt->current->co == L)
    neap__mark_seen(L, rt->current);
  lua_pushboolean(L, lua_pushthread(L));
  return 2;
}

/* coroutine.close(co) -> true, or false and the error it ended with. */
static int l_close(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  lua_State *co = check_coroutine(L);
  const char *state = status_of(rt, L, co);
  if (state[0] != 's' && state[0] != 'd')
    return luaL_error(L, "cannot close a %s coroutine", state);
  if (close_coroutine(L, rt, co, "'coroutine.close'") == LUA_OK) {
    lua_pushboolean(L, 1);
    return 1;
  }
  lua_pushboolean(L, 0);
  lua_xmove(co, L, 1);
  return 2;
}

/* ---- for others --------------------------------------------------------------------------------- */

bool neap__lets_pass(lua_CFunction f) {
  return f == l_pcall || f == l_xpcall || f == l_resume || f == l_wrapped ||
         neap__is_require(f) || neap__is_protected(f);
}

lua_State *neap__inner_coroutine(lua_State *co) {
  lua_Debug ar;
  if (!lua_checkstack(co, 3) || !lua_getstack(co, 0, &ar)) return NULL;
  lua_getinfo(co, "f", &ar);
  lua_CFunction f = lua_tocfunction(co, -1);
  lua_State *inner = NULL;
  if ((f == l_wrapped && lua_getupvalue(co, -1, 2) != NULL) ||
      (f == l_resume && lua_getlocal(co, &ar, 1) != NULL)) {
    inner = lua_tothread(co, -1);
    lua_pop(co, 1);
  }
  lua_pop(co, 1);
  return inner;
}

bool neap__coro_installed(lua_State *L) {
  lua_pushglobaltable(L);
  lua_pushliteral(L, "pcall");
  lua_rawget(L, -2);
  bool ours = lua_tocfunction(L, -1) == l_pcall;
  lua_pop(L, 2);
  return ours;
}

void neap__coro_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg coroutine[] = {
      {"create", l_create},   {"resume", l_resume},
      {"wrap", l_wrap},       {"yield", l_yield},
      {"status", l_status},   {"isyieldable", l_isyieldable},
      {"running", l_running}, {"close", l_close},
      {NULL, NULL},
  };
  static const luaL_Reg base[] = {
      {"pcall", l_pcall},
      {"xpcall", l_xpcall},
      {NULL, NULL},
  };
  lua_pushglobaltable(L);
  /* A state without the library gets nothing that it did not have. */
  if (lua_getfield(L, -1, "pcall") == LUA_TFUNCTION) {
    lua_pop(L, 1);
    neap__set_funcs(L, rt, base);
  } else {
    lua_pop(L, 1);
  }
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, "coroutine") == LUA_TTABLE)
    neap__set_funcs(L, rt, coroutine);
  lua_pop(L, 1);
  lua_pop(L, 2);
}
