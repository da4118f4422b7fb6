/* SPDX-License-Identifier: MIT
 *
 * errorgroup.c - ExceptionGroup: several errors in one, and what is shown of them.
 *
 * `errors` lists them; `tracebacks` has at the same index where each was raised, if
 * that is known. Groups may be inside groups, 50,000 deep: a text shows only some.
 */
#include "internal.h"

#define MAX_DEPTH 6  /* of groups within groups that are shown */
#define MAX_SHOWN 20 /* errors of one group */
#define MAX_ALL 100  /* errors of all groups of one text */

/* Pushes the list of errors of the group at `index` and gives its length; pushes nil
 * and gives 0 when it is none. [-0, +1, m] */
static lua_Integer push_list(lua_State *L, int index) {
  if (!neap__error_is(L, index, NEAP__EXCEPTIONGROUP)) {
    lua_pushnil(L);
    return 0;
  }
  index = lua_absindex(L, index);
  lua_pushliteral(L, "errors");
  if (lua_rawget(L, index) == LUA_TTABLE) return (lua_Integer)lua_rawlen(L, -1);
  return 0;
}

/* error -> its text */
static int l_text(lua_State *L) {
  neap__push_text(L, 1);
  return 1;
}

/* The text of the error on top of the stack, which may be a group. [-1, +1, m] */
static void to_text(lua_State *L, neap_runtime *rt) {
  int outer = rt->showing++;
  rt->shown++;
  lua_pushcfunction(L, l_text);
  lua_insert(L, -2);
  int status = lua_pcall(L, 1, 1, 0);
  rt->showing = outer;
  if (status != LUA_OK) lua_error(L); /* no memory */
}

/* Adds how many of n errors are not shown to the text at `text`. [-0, +0, m] */
static void add_rest(lua_State *L, int text, lua_Integer rest) {
  if (rest <= 0) return;
  lua_pushfstring(L, "%s\n  and %I more", lua_tostring(L, text),
                  (LUAI_UACINT)rest);
  lua_replace(L, text);
}

void neap__list_errors(lua_State *L) {
  neap_runtime *rt = neap_of(L);
  int text = lua_gettop(L);
  luaL_checkstack(L, 12, NULL);
  lua_Integer n = push_list(L, 1);
  if (n > 0) {
    lua_pushfstring(L, "%s (%I %s)", lua_tostring(L, text), (LUAI_UACINT)n,
                    n == 1 ? "error" : "errors");
    lua_replace(L, text);
  }
  if (rt == NULL || rt->showing >= MAX_DEPTH) n = 0;
  if (n > 0 && rt->showing == 0) rt->shown = 0;
  lua_Integer i = 1;
  for (; i <= n && i <= MAX_SHOWN && rt->shown < MAX_ALL; i++) {
    lua_rawgeti(L, text + 1, i);
    to_text(L, rt);
    luaL_gsub(L, lua_tostring(L, -1), "\n", "\n  ");
    lua_pushfstring(L, "%s\n  %I: %s", lua_tostring(L, text), (LUAI_UACINT)i,
                    lua_tostring(L, -1));
    lua_replace(L, text);
    lua_settop(L, text + 1);
  }
  add_rest(L, text, n - i + 1);
  lua_settop(L, text);
}

/* Pushes the traceback of error i of the group, its header line taken off; or "".
 * `error` is that error. [-0, +1, m] */
static void push_trace(lua_State *L, int group, lua_Integer i, int error) {
  static const char header[] = "stack traceback:";
  bool found = false;
  int top = lua_gettop(L);
  lua_pushliteral(L, "tracebacks");
  if (lua_rawget(L, group) == LUA_TTABLE)
    found = lua_rawgeti(L, -1, i) == LUA_TSTRING;
  if (!found && neap__error_test(L, error)) {
    lua_pushliteral(L, "traceback");
    found = lua_rawget(L, error) == LUA_TSTRING;
  }
  if (found) {
    luaL_gsub(L, lua_tostring(L, -1), header, "");
  } else {
    lua_pushliteral(L, "");
  }
  lua_replace(L, top + 1);
  lua_settop(L, top + 1);
}

/* Adds to the text on top what the errors of the group are and where they come from.
 * `number` is what those of this group begin with. [-1, +1, m] */
static void add_traces(lua_State *L, int group, const char *number, int depth,
                       int *shown) {
  int text = lua_gettop(L);
  luaL_checkstack(L, 12, NULL);
  lua_Integer n = push_list(L, group);
  if (depth >= MAX_DEPTH) n = 0;
  lua_Integer i = 1;
  for (; i <= n && i <= MAX_SHOWN && *shown < MAX_ALL; i++) {
    ++*shown;
    const char *mine = lua_pushfstring(L, "%s%I", number, (LUAI_UACINT)i);
    lua_rawgeti(L, text + 1, i);
    int error = lua_gettop(L);
    lua_Integer inner = push_list(L, error);
    if (inner > 0) {
      lua_pushfstring(L, "%I %s", (LUAI_UACINT)inner,
                      inner == 1 ? "error" : "errors");
    } else {
      neap__push_text(L, error);
    }
    push_trace(L, group, i, error);
    lua_pushfstring(L, "%s\n  error %s: %s%s", lua_tostring(L, text), mine,
                    lua_tostring(L, -2), lua_tostring(L, -1));
    lua_replace(L, text);
    if (inner > 0) {
      lua_pushfstring(L, "%s.", mine);
      lua_pushvalue(L, text);
      add_traces(L, error, lua_tostring(L, -2), depth + 1, shown);
      lua_replace(L, text);
    }
    lua_settop(L, text + 1);
  }
  add_rest(L, text, n - i + 1);
  lua_settop(L, text);
}

void neap__push_group_traces(lua_State *L, int index) {
  int shown = 0;
  index = lua_absindex(L, index);
  lua_pushliteral(L, "");
  add_traces(L, index, "", 0, &shown);
}

int neap__new_group_error(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 3);
  if (lua_isnil(L, 3)) {
    lua_newtable(L);
    lua_replace(L, 3);
  }
  if (!lua_istable(L, 3)) /* the second for who calls the class */
    luaL_argerror(
        L, 2,
        lua_pushfstring(L, "table expected, got %s", luaL_typename(L, 3)));
  lua_createtable(L, 0, 2);
  lua_pushvalue(L, 2);
  lua_setfield(L, -2, "message");
  lua_pushvalue(L, 3);
  lua_setfield(L, -2, "errors");
  lua_pushvalue(L, 1);
  lua_setmetatable(L, -2);
  return 1;
}
