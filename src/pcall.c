/* SPDX-License-Identifier: MIT
 *
 * pcall.c - neap.pcall and neap.xpcall: Lua's, but what ends a task or the program
 * passes through them, as it does through Python's `except Exception`: cancellations,
 * KeyboardInterrupt, and what os.exit raises.
 *
 * Such an error is caught like others and raised again; its traceback is kept on the
 * way. It counts as never caught, so nothing of it is raised again at the next wait.
 */
#include "internal.h"

#define EXTRA_PCALL 1  /* what stands below the results: the handler */
#define EXTRA_XPCALL 2 /* function, handler */

static bool passes(lua_State *L, int index) {
  return lua_istable(L, index) &&
         (neap__error_is(L, index, NEAP__CANCELLEDERROR) ||
          neap__error_is(L, index, NEAP__KEYBOARDINTERRUPT) ||
          neap__error_is(L, index, NEAP__SYSTEMEXIT));
}

/* Message handler of pcall. */
static int l_on_error(lua_State *L) {
  if (passes(L, 1)) neap__keep_traceback(L, neap__rt(L));
  return 1;
}

/* Whether the value at `index` is debug.traceback. [-0, +0, m] */
static bool is_traceback(lua_State *L, int index) {
  if (!lua_iscfunction(L, index)) return false;
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  bool same = lua_getfield(L, -1, "debug") == LUA_TTABLE &&
              lua_getfield(L, -1, "traceback") == LUA_TFUNCTION &&
              lua_rawequal(L, -1, index);
  lua_settop(L, 1);
  return same;
}

/* Message handler of xpcall. upvalues: runtime, the user's handler. */
static int l_on_xerror(lua_State *L) {
  lua_settop(L, 1);
  if (passes(L, 1)) {
    neap__keep_traceback(L, neap__rt(L));
    return 1;
  }
  if (is_traceback(L,
                   lua_upvalueindex(2))) { /* without a line for this frame */
    if (lua_isstring(L, 1) || lua_isnil(L, 1))
      luaL_traceback(L, L, lua_tostring(L, 1), 1);
    return 1;
  }
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_insert(L, 1);
  lua_call(L, 1, 1);
  return 1;
}

static int protected_k(lua_State *L, int status, lua_KContext context) {
  if (NEAP__UNLIKELY(status != LUA_OK && status != LUA_YIELD)) {
    if (passes(L, -1)) return lua_error(L);
    neap__caught(L, neap__rt(L), (uint32_t)((uint64_t)context >> 2));
    lua_pushboolean(L, 0);
    lua_pushvalue(L, -2);
    return 2;
  }
  return lua_gettop(L) - (int)(context & 3);
}

/* pcall(fn, ...) -> true and its results, or false and the error. Cancellations and
 * interrupts pass. */
static int l_pcall(lua_State *L) {
  luaL_checkany(L, 1);
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_pushboolean(L, 1);
  lua_rotate(L, 1, 2);
  lua_KContext context =
      (lua_KContext)((uint64_t)neap__raises_now(neap__rt(L)) << 2 |
                     EXTRA_PCALL);
  int status =
      lua_pcallk(L, lua_gettop(L) - 3, LUA_MULTRET, 1, context, protected_k);
  return protected_k(L, status, context);
}

/* xpcall(fn, handler, ...) -> true and its results, or false and what handler made of
 * the error. Cancellations and interrupts pass, and the handler does not see them. */
static int l_xpcall(lua_State *L) {
  int n = lua_gettop(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushvalue(L, 2);
  lua_pushcclosure(L, l_on_xerror, 2);
  lua_replace(L, 2);
  lua_pushboolean(L, 1);
  lua_pushvalue(L, 1);
  lua_rotate(L, 3, 2);
  lua_KContext context =
      (lua_KContext)((uint64_t)neap__raises_now(neap__rt(L)) << 2 |
                     EXTRA_XPCALL);
  int status = lua_pcallk(L, n - 2, LUA_MULTRET, 2, context, protected_k);
  return protected_k(L, status, context);
}

bool neap__is_protected(lua_CFunction f) {
  return f == l_pcall || f == l_xpcall || f == l_on_xerror;
}

void neap__pcall_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg functions[] = {{"xpcall", l_xpcall}, {NULL, NULL}};
  neap__push_self(L, rt);
  neap__push_self(L, rt);
  lua_pushcclosure(L, l_on_error, 1);
  lua_pushcclosure(L, l_pcall, 2);
  lua_setfield(L, -2, "pcall");
  neap__set_funcs(L, rt, functions);
}
