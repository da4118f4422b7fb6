/* SPDX-License-Identifier: MIT
 *
 * raise.c - Lua's error and assert, as they are but for one thing: who caught a
 * cancellation and raises it again has not swallowed it.
 *
 *     local ok, err = pcall(step)
 *     ... error(err, 0)            or assert(pcall(step))
 *
 * is how Lua programs do what `raise` without arguments does in Python. The mark that
 * pcall left on the task goes, so <close> handlers on the way out may wait.
 */
#include "internal.h"

/* The value at 1 is about to be raised. */
static void note(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap_task *task = rt->current;
  if (NEAP__LIKELY(task == NULL || !task->swallowed || !lua_istable(L, 1)))
    return;
  if (task != &rt->root || !rt->exiting) {
    if (neap__error_is(L, 1, NEAP__CANCELLEDERROR)) neap__note_raised(task);
  }
}

/* error(value, level): raises it. level: where a message says it was raised. */
static int l_error(lua_State *L) {
  int level = (int)luaL_optinteger(L, 2, 1);
  lua_settop(L, 1);
  note(L);
  if (lua_type(L, 1) == LUA_TSTRING && level > 0) {
    luaL_where(L, level);
    lua_pushvalue(L, 1);
    lua_concat(L, 2);
  }
  return lua_error(L);
}

/* assert(value, message, ...) -> all of its arguments; raises the message when value
 * is nil or false. */
static int l_assert(lua_State *L) {
  if (NEAP__LIKELY(lua_toboolean(L, 1))) return lua_gettop(L);
  luaL_checkany(L, 1);
  lua_remove(L, 1);
  lua_pushliteral(L, "assertion failed!");
  lua_settop(L, 1);
  return l_error(L);
}

/* Puts ours in the place of Lua's own; what others put there stays. The globals are
 * on top of the stack. [-0, +0, m] */
static void replace(lua_State *L, neap_runtime *rt, const char *name,
                    lua_CFunction *own, lua_CFunction ours) {
  lua_pushstring(L, name);
  lua_rawget(L, -2);
  lua_CFunction present = lua_tocfunction(L, -1);
  bool has_upvalues = present != NULL && lua_getupvalue(L, -1, 1) != NULL;
  lua_pop(L, has_upvalues ? 2 : 1);
  if (present == NULL || has_upvalues) return;
  if (*own == NULL) *own = present;
  if (present != *own) return;
  lua_pushstring(L, name);
  neap__push_self(L, rt);
  lua_pushcclosure(L, ours, 1);
  lua_rawset(L, -3);
}

void neap__raise_open(lua_State *L, neap_runtime *rt) {
  lua_pushglobaltable(L);
  replace(L, rt, "error", &rt->lua_error, l_error);
  replace(L, rt, "assert", &rt->lua_assert, l_assert);
  lua_pop(L, 1);
}
