/* SPDX-License-Identifier: MIT
 *
 * error.c - error objects and their classes; UV codes to objects.
 *
 * An error object is a table whose metatable is its class. A class holds `name`,
 * `super` and the metamethods of its instances, and looks up what it lacks in its
 * super class. `class:is(value)` walks that chain.
 */
#include "internal.h"

#include <stdarg.h>
#include <string.h>

static const char *const names[NEAP__CLASSES] = {
    [NEAP__ERROR] = "Error",
    [NEAP__CANCELLEDERROR] = "CancelledError",
    [NEAP__TIMEOUTERROR] = "TimeoutError",
    [NEAP__INVALIDSTATEERROR] = "InvalidStateError",
    [NEAP__QUEUEEMPTY] = "QueueEmpty",
    [NEAP__QUEUEFULL] = "QueueFull",
    [NEAP__QUEUESHUTDOWN] = "QueueShutDown",
    [NEAP__BROKENBARRIERERROR] = "BrokenBarrierError",
    [NEAP__INCOMPLETEREADERROR] = "IncompleteReadError",
    [NEAP__LIMITOVERRUNERROR] = "LimitOverrunError",
    [NEAP__OSERROR] = "OSError",
    [NEAP__DEADLOCKERROR] = "DeadlockError",
    [NEAP__KEYBOARDINTERRUPT] = "KeyboardInterrupt",
    [NEAP__EXCEPTIONGROUP] = "ExceptionGroup",
    [NEAP__BROKENEXECUTOR] = "BrokenExecutor",
    [NEAP__SYSTEMEXIT] = "SystemExit",
};

static void push_class(lua_State *L, enum neap__class class) {
  neap__reg_get(L, NEAP__R_CLASSES);
  lua_rawgeti(L, -1, (int)class + 1);
  lua_remove(L, -2);
}

void neap__error_new(lua_State *L, enum neap__class class) {
  luaL_checkstack(L, 4, NULL);
  lua_createtable(L, 0, 2);
  lua_insert(L, -2);
  lua_setfield(L, -2, "message");
  push_class(L, class);
  lua_setmetatable(L, -2);
}

int neap__raise(lua_State *L, enum neap__class class, const char *format, ...) {
  if (format == NULL) {
    lua_pushnil(L);
  } else {
    va_list args;
    va_start(args, format);
    lua_pushvfstring(L, format, args);
    va_end(args);
  }
  neap__error_new(L, class);
  return lua_error(L);
}

/* Whether the value at `index` has the table at `class` in its chain. */
static bool is_instance(lua_State *L, int index, int class) {
  if (!lua_istable(L, index) || !lua_checkstack(L, 4)) return false;
  class = lua_absindex(L, class);
  if (!lua_getmetatable(L, index)) return false;
  bool found = false;
  for (int depth = 0; lua_istable(L, -1) && depth < 100; depth++) {
    if ((found = lua_rawequal(L, -1, class))) break;
    lua_pushliteral(L, "super");
    lua_rawget(L, -2);
    lua_remove(L, -2);
  }
  lua_pop(L, 1);
  return found;
}

bool neap__error_is(lua_State *L, int index, enum neap__class class) {
  if (!lua_istable(L, index) || !lua_checkstack(L, 4)) return false;
  index = lua_absindex(L, index);
  push_class(L, class);
  bool found = is_instance(L, index, -1);
  lua_pop(L, 1);
  return found;
}

bool neap__error_test(lua_State *L, int index) {
  return neap__error_is(L, index, NEAP__ERROR);
}

/* tostring(err): its name, then its message and code where it has them. */
static int l_tostring(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  luaL_Buffer b;
  int has_name = lua_getfield(L, 1, "name") != LUA_TNIL;
  int has_message = lua_getfield(L, 1, "message") != LUA_TNIL;
  int has_code = lua_getfield(L, 1, "code") != LUA_TNIL;
  luaL_tolstring(L, 2, NULL);
  luaL_tolstring(L, 3, NULL);
  luaL_tolstring(L, 4, NULL);
  luaL_buffinit(L, &b);
  luaL_addstring(&b, has_name ? lua_tostring(L, 5) : "Error");
  if (has_message) {
    luaL_addstring(&b, ": ");
    luaL_addstring(&b, lua_tostring(L, 6));
  }
  if (has_code) {
    luaL_addstring(&b, " (");
    luaL_addstring(&b, lua_tostring(L, 7));
    luaL_addstring(&b, ")");
  }
  luaL_pushresult(&b);
  neap__list_errors(L);
  return 1;
}

/* class(message) -> a new error object; message may be any value. */
static int l_call(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  lua_createtable(L, 0, 2);
  lua_pushvalue(L, 2);
  lua_setfield(L, -2, "message");
  lua_pushvalue(L, 1);
  lua_setmetatable(L, -2);
  return 1;
}

/* class:is(value) -> whether it is an instance of the class or of a subclass. */
static int l_is(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checkany(L, 2);
  lua_pushboolean(L, is_instance(L, 2, 1));
  return 1;
}

static int l_class_tostring(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_getfield(L, 1, "name");
  lua_pushfstring(L, "class neap.%s", luaL_tolstring(L, -1, NULL));
  return 1;
}

/* [-0, +0, m] The module table is at the top; `classes` is the registry's list. */
static void make_class(lua_State *L, int module, int classes,
                       enum neap__class class) {
  lua_createtable(L, 0, 8);
  lua_pushstring(L, names[class]);
  lua_setfield(L, -2, "name");
  lua_pushfstring(L, "neap.%s", names[class]);
  lua_setfield(L, -2, "__name");
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, l_tostring);
  lua_setfield(L, -2, "__tostring");
  if (class == NEAP__ERROR) {
    lua_pushcfunction(L, l_is);
    lua_setfield(L, -2, "is");
  } else {
    lua_rawgeti(L, classes, NEAP__ERROR + 1);
    lua_setfield(L, -2, "super");
  }
  lua_createtable(L, 0, 3); /* the class's own metatable */
  lua_pushcfunction(L, class == NEAP__EXCEPTIONGROUP ? neap__new_group_error
                                                     : l_call);
  lua_setfield(L, -2, "__call");
  lua_pushcfunction(L, l_class_tostring);
  lua_setfield(L, -2, "__tostring");
  if (class != NEAP__ERROR) {
    lua_rawgeti(L, classes, NEAP__ERROR + 1);
    lua_setfield(L, -2, "__index");
  }
  lua_setmetatable(L, -2);
  if (class != NEAP__SYSTEMEXIT) {
    lua_pushvalue(L, -1);
    lua_setfield(L, module, names[class]);
  }
  lua_rawseti(L, classes, (int)class + 1);
}

void neap__error_open(lua_State *L, neap_runtime *rt) {
  (void)rt;
  int module = lua_gettop(L);
  lua_createtable(L, NEAP__CLASSES, 0);
  for (int class = 0; class < NEAP__CLASSES; class ++)
    make_class(L, module, module + 1, (enum neap__class) class);
  neap__reg_set(L, NEAP__R_CLASSES);
}

/* Pushes the OSError of a UV code. [-0, +1, m] */
static void push_os_error(lua_State *L, int status, const char *op) {
  char text[128], code[32];
  uv_strerror_r(status, text, sizeof text);
  uv_err_name_r(status, code, sizeof code);
  luaL_checkstack(L, 6, NULL);
  if (op != NULL) {
    lua_pushfstring(L, "%s: %s", op, text);
  } else {
    lua_pushstring(L, text);
  }
  neap__error_new(L, NEAP__OSERROR);
  lua_pushstring(L, code);
  lua_setfield(L, -2, "code");
  if (op != NULL) {
    lua_pushstring(L, op);
    lua_setfield(L, -2, "op");
  }
}

int neap_fail(lua_State *L, int status, const char *op) {
  neap_runtime *rt = neap_of(L);
  if (status == UV_ECANCELED && rt != NULL) return neap__raise_cancelled(L, rt);
  push_os_error(L, status, op);
  return lua_error(L);
}

int neap_refuse(lua_State *L, int status, const char *op) {
  if (status == UV_ECANCELED) return neap_fail(L, status, op);
  lua_pushnil(L);
  push_os_error(L, status, op);
  return 2;
}
