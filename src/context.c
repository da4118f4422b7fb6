/* SPDX-License-Identifier: MIT
 *
 * context.c - ContextVar: a value for each task and for all that it starts.
 *
 * A context is a table from variables to values, with the address of its one owner
 * at index 1. Whoever starts with a copy gets the same table, which then has no
 * owner any more; who sets a value in a table that is not its own copies it first.
 * A context belongs to a task, to a loop callback, or to the root. Until the first
 * value is set there are none, and nothing is paid for them.
 */
#include "internal.h"

#define OWNER 1

/* User values of a variable: its name, its default. */
typedef struct context_var {
  const void *tag;
  bool has_default;
} context_var;
enum { VAR_NAME = 1, VAR_DEFAULT };

/* User values of a token: the variable, its value before, whose context it was. */
typedef struct context_token {
  const void *tag;
  bool used;
} context_token;
enum { TOKEN_VAR = 1, TOKEN_OLD, TOKEN_HOLDER };

/* What stands for nil in a context. */
static const char nil_value = 0;

/* ---- whose context ------------------------------------------------------------- */

/* Pushes the Task or Handle that runs; for the root a light userdata. The address of
 * the holder. [-0, +1, -] */
static const void *push_holder(lua_State *L, neap_runtime *rt) {
  neap_task *task = rt->current;
  if (task == NULL && rt->callback != 0) {
    neap__reg_get(L, NEAP__R_THREADS);
    lua_rawgeti(L, -1, rt->callback);
    lua_remove(L, -2);
  } else if (task == NULL || task == &rt->root) {
    lua_pushlightuserdata(L, &rt->root);
  } else {
    neap__push_task(L, task);
  }
  return lua_touserdata(L, -1);
}

/* Pushes the context of the holder at `index`, or nil. Tasks that were made before
 * the first value was set have no user value for it. [-0, +1, m] */
static void push_context(lua_State *L, neap_runtime *rt, int index) {
  const void *holder = lua_touserdata(L, index);
  if (holder == &rt->root) {
    neap__reg_get(L, NEAP__R_CONTEXT);
  } else if (rt->current == NULL) {
    lua_getiuservalue(L, index, ((const neap__handle *)holder)->nargs + 2);
  } else if (lua_getiuservalue(L, index, NEAP__CONTEXT) == LUA_TNONE) {
    lua_pop(L, 1);
    if (lua_getiuservalue(L, index, NEAP__EXTRA) != LUA_TTABLE) return;
    lua_getfield(L, -1, "context");
    lua_remove(L, -2);
  }
}

/* Makes the table on top the context of the holder at `index`. [-1, +0, m] */
static void set_context(lua_State *L, neap_runtime *rt, int index) {
  const void *holder = lua_touserdata(L, index);
  if (holder == &rt->root) {
    neap__reg_set(L, NEAP__R_CONTEXT);
  } else if (rt->current == NULL) {
    lua_setiuservalue(L, index, ((const neap__handle *)holder)->nargs + 2);
  } else {
    lua_pushvalue(L, -1);
    if (!lua_setiuservalue(L, index, NEAP__CONTEXT)) {
      neap__push_extra(L, index);
      lua_pushvalue(L, -2);
      lua_setfield(L, -2, "context");
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
}

/* Pushes the context of the holder at `index` as a table of its own. [-0, +1, m] */
static void push_own(lua_State *L, neap_runtime *rt, int index) {
  void *holder = lua_touserdata(L, index);
  push_context(L, rt, index);
  int shared = lua_gettop(L);
  bool any = lua_istable(L, shared);
  if (any) {
    lua_rawgeti(L, shared, OWNER);
    bool own = lua_touserdata(L, -1) == holder;
    lua_pop(L, 1);
    if (own) return;
  }
  lua_createtable(L, 1, 4);
  if (any) {
    lua_pushnil(L);
    while (lua_next(L, shared)) {
      lua_pushvalue(L, -2);
      lua_insert(L, -2);
      lua_rawset(L, shared + 1);
    }
  }
  lua_pushlightuserdata(L, holder);
  lua_rawseti(L, shared + 1, OWNER);
  lua_replace(L, shared);
  rt->contexts = true; /* from now on tasks have a place for it */
  lua_pushvalue(L, shared);
  set_context(L, rt, index);
}

void neap__copy_context(lua_State *L, neap_runtime *rt, int n) {
  int object = lua_gettop(L);
  luaL_checkstack(L, 4, NULL);
  push_holder(L, rt);
  push_context(L, rt, object + 1);
  if (lua_istable(L, -1)) {
    lua_pushboolean(L, 0); /* nobody's own any more */
    lua_rawseti(L, -2, OWNER);
    lua_setiuservalue(L, object, n);
  }
  lua_settop(L, object);
}

void neap__drop_context(lua_State *L) {
  lua_pushnil(L);
  if (lua_setiuservalue(L, 1, NEAP__CONTEXT)) return;
  if (lua_getiuservalue(L, 1, NEAP__EXTRA) == LUA_TTABLE) {
    lua_pushliteral(L, "context");
    lua_pushnil(L);
    lua_rawset(L, -3);
  }
  lua_pop(L, 1);
}

/* ---- variables ------------------------------------------------------------------- */

static context_var *check_var(lua_State *L) {
  return neap__check_tagged(L, neap__rt(L), 1, NEAP__K_CONTEXTVAR,
                            "ContextVar");
}

/* Pushes the value of the variable at index 1 in the context on top, as it stands
 * there: nil for none. [-1, +1, -] */
static void push_raw(lua_State *L) {
  if (lua_istable(L, -1)) {
    lua_pushvalue(L, 1);
    lua_rawget(L, -2);
  } else {
    lua_pushnil(L);
  }
  lua_remove(L, -2);
}

/* ContextVar(name, default) -> a variable; default may be nil, or absent. */
static int l_new(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  luaL_checktype(L, 1, LUA_TSTRING);
  bool has_default = !lua_isnone(L, 2);
  lua_settop(L, 2);
  context_var *var = lua_newuserdatauv(L, sizeof *var, VAR_DEFAULT);
  *var = (context_var){neap__tag(rt, NEAP__K_CONTEXTVAR), has_default};
  neap__push_class(L, rt, NEAP__K_CONTEXTVAR);
  lua_setmetatable(L, -2);
  lua_insert(L, 1);
  lua_setiuservalue(L, 1, VAR_DEFAULT);
  lua_setiuservalue(L, 1, VAR_NAME);
  return 1;
}

/* var:get([default]) -> its value here, or else `default`, or else its own default;
 * raises when there is none. */
static int l_get(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  context_var *var = check_var(L);
  bool any = !lua_isnone(L, 2);
  lua_settop(L, 2);
  if (rt->contexts) {
    luaL_checkstack(L, 4, NULL);
    push_holder(L, rt);
    push_context(L, rt, 3);
    push_raw(L);
    if (lua_touserdata(L, -1) == &nil_value) {
      lua_pushnil(L);
      return 1;
    }
    if (!lua_isnil(L, -1)) return 1;
    lua_settop(L, 2);
  }
  if (any) return 1;
  lua_getiuservalue(L, 1, var->has_default ? VAR_DEFAULT : VAR_NAME);
  if (var->has_default) return 1;
  return luaL_error(L, "ContextVar '%s' has no value here and no default",
                    lua_tostring(L, -1));
}

/* var:set(value) -> token, for reset. The value is seen in this task (or callback, or
 * at top level) and in what it starts from now on. */
static int l_set(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  check_var(L);
  luaL_checkany(L, 2);
  lua_settop(L, 2);
  push_holder(L, rt);
  context_token *token = lua_newuserdatauv(L, sizeof *token, TOKEN_HOLDER);
  *token = (context_token){neap__tag(rt, NEAP__K_TOKEN), false};
  neap__push_class(L, rt, NEAP__K_TOKEN);
  lua_setmetatable(L, 4);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, 4, TOKEN_VAR);
  lua_pushvalue(L, 3);
  lua_setiuservalue(L, 4, TOKEN_HOLDER);
  push_own(L, rt, 3);
  lua_pushvalue(L, 5);
  push_raw(L);
  lua_setiuservalue(L, 4, TOKEN_OLD);
  lua_pushvalue(L, 1);
  if (lua_isnil(L, 2)) {
    lua_pushlightuserdata(L, (void *)&nil_value);
  } else {
    lua_pushvalue(L, 2);
  }
  lua_rawset(L, 5);
  lua_settop(L, 4);
  return 1;
}

/* var:reset(token): gives it the value back that it had before the `set` that made
 * the token. Raises for a token that was used, is of another variable, or was made in
 * another context. */
static int l_reset(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  check_var(L);
  context_token *token =
      neap__check_tagged(L, rt, 2, NEAP__K_TOKEN, "token of ContextVar:set");
  lua_settop(L, 2);
  luaL_argcheck(L, !token->used, 2, "the token has been used already");
  lua_getiuservalue(L, 2, TOKEN_VAR);
  luaL_argcheck(L, lua_rawequal(L, 3, 1), 2,
                "the token was made by another ContextVar");
  lua_settop(L, 2);
  push_holder(L, rt);
  lua_getiuservalue(L, 2, TOKEN_HOLDER);
  luaL_argcheck(L, lua_rawequal(L, 3, 4), 2,
                "the token was made in another context");
  lua_settop(L, 3);
  push_own(L, rt, 3);
  lua_pushvalue(L, 1);
  lua_getiuservalue(L, 2, TOKEN_OLD);
  lua_rawset(L, 4);
  token->used = true;
  return 0;
}

static int l_tostring(lua_State *L) {
  check_var(L);
  lua_getiuservalue(L, 1, VAR_NAME);
  lua_pushfstring(L, "<ContextVar '%s'>", lua_tostring(L, -1));
  return 1;
}

static int l_token_tostring(lua_State *L) {
  context_token *token = neap__check_tagged(L, neap__rt(L), 1, NEAP__K_TOKEN,
                                            "token of ContextVar:set");
  lua_getiuservalue(L, 1, TOKEN_VAR);
  lua_getiuservalue(L, -1, VAR_NAME);
  lua_pushfstring(L, "<Token%s of ContextVar '%s'>", token->used ? " used" : "",
                  lua_tostring(L, -1));
  return 1;
}

void neap__context_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {
      {"get", l_get},     {"set", l_set},
      {"reset", l_reset}, {"__tostring", l_tostring},
      {NULL, NULL},
  };
  static const luaL_Reg token[] = {{"__tostring", l_token_tostring},
                                   {NULL, NULL}};
  static const luaL_Reg functions[] = {{"ContextVar", l_new}, {NULL, NULL}};
  neap__new_class(L, rt, NEAP__K_CONTEXTVAR, "neap.ContextVar", methods);
  neap__new_class(L, rt, NEAP__K_TOKEN, "neap.Token", token);
  lua_pop(L, 2);
  lua_pushboolean(L, 0); /* so that the key is there */
  neap__reg_set(L, NEAP__R_CONTEXT);
  neap__set_funcs(L, rt, functions);
}
