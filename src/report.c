/* SPDX-License-Identifier: MIT
 *
 * report.c - what nobody handled: exception handlers and their default.
 *
 * A context is a table as in asyncio: message, exception, traceback, and the task,
 * future or handle concerned. A handler of the user's that returns has dealt with
 * it; what the default handler gets counts as an unhandled error.
 */
#include "internal.h"

#include <string.h>

/* Pushes the message of the context at `index`. [-0, +1, m] */
static void push_message(lua_State *L, int index) {
  lua_getfield(L, index, "message");
  bool given = lua_toboolean(L, -1) &&
               !(lua_isstring(L, -1) && lua_tostring(L, -1)[0] == '\0');
  if (given) {
    neap__push_text(L, -1);
  } else {
    lua_pushliteral(L, "Unhandled exception in event loop");
  }
  lua_remove(L, -2);
}

/* Whether the report has a place of its own for this field. */
static bool is_known(const char *key) {
  static const char *const known[] = {"message", "exception", "traceback",
                                      "task",    "future",    "handle"};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(known[i], key) == 0) return true;
  return false;
}

/* Pushes a line for each further field of the context at `index`, by name.
 * [-0, +1, m] */
static void push_others(lua_State *L, int index) {
  int text = lua_gettop(L) + 1, last = text + 1, next = text + 2;
  lua_pushliteral(L, "");
  lua_pushliteral(L, "");
  for (;;) {
    lua_settop(L, last);
    lua_pushnil(L);
    lua_pushnil(L);
    while (lua_next(L, index)) {
      lua_pop(L, 1);
      if (lua_type(L, -1) == LUA_TSTRING && !is_known(lua_tostring(L, -1)) &&
          lua_compare(L, last, -1, LUA_OPLT) &&
          (lua_isnil(L, next) || lua_compare(L, -1, next, LUA_OPLT)))
        lua_copy(L, -1, next);
    }
    if (lua_isnil(L, next)) break;
    lua_copy(L, next, last);
    lua_rawget(L, index);
    neap__push_text(L, -1);
    lua_pushfstring(L, "%s\n%s: %s", lua_tostring(L, text),
                    lua_tostring(L, last), lua_tostring(L, -1));
    lua_copy(L, -1, text);
  }
  lua_settop(L, text);
}

/* Pushes the report of the context at `index`. [-0, +1, m] */
static void push_report(lua_State *L, int index) {
  static const char *const objects[] = {"task", "future", "handle"};
  luaL_checkstack(L, 24, NULL);
  lua_pushnil(L);
  int shown = lua_gettop(L); /* the object that was shown last */
  int base = shown;
  push_message(L, index);
  for (size_t i = 0; i < sizeof objects / sizeof *objects; i++) {
    if (lua_getfield(L, index, objects[i]) == LUA_TNIL) {
      lua_pop(L, 1);
      continue;
    }
    if (lua_rawequal(L, -1, shown)) { /* under another name */
      lua_pop(L, 1);
      continue;
    }
    lua_copy(L, -1, shown);
    neap__push_text(L, -1);
    lua_pushfstring(L, "\n%s: %s", objects[i], lua_tostring(L, -1));
    lua_replace(L, -3);
    lua_pop(L, 1);
  }
  push_others(L, index);
  if (lua_getfield(L, index, "exception") == LUA_TNIL) {
    lua_pop(L, 1);
  } else {
    neap__push_text(L, -1);
    lua_pushfstring(L, "\n%s", lua_tostring(L, -1));
    lua_replace(L, -3);
    lua_pop(L, 1);
  }
  if (lua_getfield(L, index, "traceback") == LUA_TSTRING) {
    lua_pushfstring(L, "\n%s", lua_tostring(L, -1));
    lua_remove(L, -2);
  } else {
    lua_pop(L, 1);
  }
  lua_getfield(L, index, "exception");
  neap__push_group_traces(L, -1);
  lua_remove(L, -2);
  neap__push_seed(L, neap_of(L));
  lua_concat(L, lua_gettop(L) - base);
  lua_replace(L, shown);
}

/* Pushes the text of a report that another thread has made, if it is one. */
static bool push_ready(lua_State *L, int context) {
  lua_pushliteral(L, "report");
  if (lua_rawget(L, context) == LUA_TSTRING) return true;
  lua_pop(L, 1);
  return false;
}

void neap__default_handler(lua_State *L, neap__loop *loop) {
  int context = lua_gettop(L);
  if (!push_ready(L, context)) push_report(L, context);
  push_message(L, context);
  neap__unhandled(loop->rt, lua_tostring(L, -1), lua_tostring(L, context + 1));
  lua_settop(L, context - 1);
}

void neap__call_handler(lua_State *L, neap__loop *loop) {
  luaL_checkstack(L, 8, NULL);
  int context = lua_gettop(L);
  neap__push_loop(L, loop);
  if (!lua_isuserdata(L, -1) || lua_getiuservalue(L, -1, 1) == LUA_TNIL) {
    lua_settop(L, context);
    neap__default_handler(L, loop);
    return;
  }
  lua_insert(L, -2); /* handler, loop */
  lua_pushvalue(L, context);
  lua_pushcfunction(L, neap__on_error);
  lua_insert(L, context + 1);
  neap_task *current = loop->rt->current;
  if (current == &loop->rt->root) loop->rt->current = NULL;
  int status = lua_pcall(L, 2, 0, context + 1);
  loop->rt->current = current;
  if (status != LUA_OK && (neap__error_is(L, -1, NEAP__SYSTEMEXIT) ||
                           neap__error_is(L, -1, NEAP__KEYBOARDINTERRUPT))) {
    lua_settop(L, context - 1); /* the root raises it */
    return;
  }
  if (status != LUA_OK) {
    neap__take_traceback(L, loop->rt);
    lua_createtable(L, 0, 4);
    lua_insert(L, -3);
    lua_setfield(L, -3, "traceback");
    lua_setfield(L, -2, "exception");
    lua_pushliteral(L, "Unhandled error in exception handler");
    lua_setfield(L, -2, "message");
    neap__default_handler(L, loop);
    lua_settop(L, context);
    neap__default_handler(L, loop); /* and what it was about */
    return;
  }
  lua_settop(L, context - 1);
}

void neap__report(lua_State *L, neap__loop *loop, const char *message,
                  const char *key, int object) {
  object = lua_absindex(L, object);
  luaL_checkstack(L, 4, NULL);
  lua_createtable(L, 0, 4);
  lua_insert(L, -3);
  lua_setfield(L, -3, "traceback");
  lua_setfield(L, -2, "exception");
  lua_pushstring(L, message);
  lua_setfield(L, -2, "message");
  if (key != NULL) {
    lua_pushvalue(L, object);
    lua_setfield(L, -2, key);
    if (strcmp(key, "task") == 0) { /* asyncio names a task so, too */
      lua_pushvalue(L, object);
      lua_setfield(L, -2, "future");
    }
  }
  neap__call_handler(L, loop);
}
