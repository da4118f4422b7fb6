/* SPDX-License-Identifier: MIT
 *
 * debug.c - debug mode: tells which step of a task or which callback held the loop
 * for longer than loop.slow_callback_duration, and where.
 *
 * While a step is watched, its coroutine has a hook that reads the clock now and then
 * and when a function returns, so that the place is known also when a C function
 * blocked. So have the coroutines inside that it makes or resumes. A hook of the program's is left
 * alone: then the places where the step began and ended are told.
 */
#include "internal.h"

#include <stdio.h>
#include <string.h>

#define EVERY 1000 /* instructions between two looks at the clock */

/* ---- watching --------------------------------------------------------------------- */

static bool is_over(const neap_runtime *rt) {
  return (int64_t)uv_hrtime() - rt->watch.start >= rt->watch.limit;
}

static void on_hook(lua_State *L, lua_Debug *ar) {
  (void)ar;
  neap_runtime *rt = neap_of(L);
  if (rt == NULL || !rt->watch.armed) {
    lua_sethook(L, NULL, 0, 0); /* inherited */
    return;
  }
  if (rt->watch.held != NULL || !is_over(rt)) return;
  rt->watch.held = neap__site_at(L, rt, 0);
  if (rt->watch.held == NULL || !lua_checkstack(L, 8)) return;
  luaL_traceback(L, L, NULL, 0);
  neap__reg_set(L, NEAP__R_HELD);
}

/* Where the coroutine is, or where the function that it is about to call begins. */
static const neap__site *place_of(neap_runtime *rt, lua_State *co) {
  lua_Debug ar;
  if (!lua_checkstack(co, 2)) return NULL;
  return lua_getstack(co, 0, &ar) ? neap__site_at(co, rt, 0) : NULL;
}

/* The coroutine that the item will run in; its object is pushed. NULL, and nothing is
 * pushed, for what needs no watching. */
static lua_State *push_item(lua_State *L, neap__item *item) {
  if (item->kind == NEAP__CALL || !lua_checkstack(L, 6)) return NULL;
  if (item->kind == NEAP__TASK) {
    neap_task *task = neap__container_of(item, neap_task, item);
    neap__push_task(L, task);
    return task->co;
  }
  neap__handle *handle = neap__container_of(item, neap__handle, item);
  if (handle->slot == 0 || handle->nargs == NEAP__STOPS) return NULL;
  neap__reg_get(L, NEAP__R_THREADS);
  lua_rawgeti(L, -1, handle->slot);
  lua_remove(L, -2);
  return L;
}

void neap__debug_enter(lua_State *co) {
  if (lua_gethook(co) == NULL)
    lua_sethook(co, on_hook, LUA_MASKCOUNT | LUA_MASKRET, EVERY);
}

lua_State *neap__debug_begin(neap__loop *loop, neap__item *item, lua_State *L) {
  neap_runtime *rt = loop->rt;
  lua_State *co = push_item(L, item);
  if (co == NULL) return NULL;
  rt->watch.began = co != L ? place_of(rt, co) : NULL;
  rt->watch.held = NULL;
  rt->watch.limit = neap__to_ns(loop->slow);
  rt->watch.armed = true;
  neap__debug_enter(co);
  rt->watch.start = (int64_t)uv_hrtime();
  return co;
}

/* ---- reporting ---------------------------------------------------------------------- */

static void add_place(luaL_Buffer *b, lua_State *L, const char *text,
                      const neap__site *site) {
  if (site == NULL) return;
  lua_pushfstring(L, "%s%s:%d", text, site->source, site->line);
  luaL_addvalue(b);
}

/* object, seconds, where it is now (light userdata or nil) */
static int l_report(lua_State *L) {
  neap_runtime *rt = neap_of(L);
  char number[32];
  luaL_Buffer b;
  snprintf(number, sizeof number, "%.3f", lua_tonumber(L, 2));
  neap__push_text(L, 1);
  neap__reg_get(L, NEAP__R_HELD);
  lua_pushboolean(L, 0);
  neap__reg_set(L, NEAP__R_HELD);
  luaL_buffinit(L, &b);
  lua_pushfstring(L, "neap: warning: Executing %s took %s seconds",
                  lua_tostring(L, 4), number);
  luaL_addvalue(&b);
  if (rt->watch.held != NULL) {
    add_place(&b, L, ": the event loop was held at ", rt->watch.held);
    luaL_addchar(&b, '\n');
    lua_pushvalue(L, 5);
    if (lua_isstring(L, -1)) {
      luaL_addvalue(&b);
    } else {
      lua_pop(L, 1);
    }
  } else {
    add_place(&b, L, "; it went on at ", rt->watch.began);
    add_place(&b, L, "; it is now at ", lua_touserdata(L, 3));
  }
  luaL_addchar(&b, '\n');
  luaL_pushresult(&b);
  size_t size;
  const char *text = lua_tolstring(L, -1, &size);
  neap__log_text(rt, text, size);
  return 0;
}

void neap__debug_end(neap__loop *loop, neap__item *item, lua_State *L,
                     lua_State *co) {
  neap_runtime *rt = loop->rt;
  int64_t took = (int64_t)uv_hrtime() - rt->watch.start;
  rt->watch.armed = false;
  if (item->kind == NEAP__TASK &&
      neap__container_of(item, neap_task, item)->co != co)
    co = NULL; /* it has ended */
  if (co != NULL && lua_gethook(co) == on_hook) lua_sethook(co, NULL, 0, 0);
  if (took >= rt->watch.limit) {
    rt->current = NULL;
    const neap__site *now = co != NULL && co != L ? place_of(rt, co) : NULL;
    lua_pushcfunction(L, l_report);
    lua_pushvalue(L, -2);
    lua_pushnumber(L, (lua_Number)took / 1e9);
    if (now != NULL) {
      lua_pushlightuserdata(L, (void *)(uintptr_t)now);
    } else {
      lua_pushnil(L);
    }
    if (lua_pcall(L, 3, 0, 0) != LUA_OK) lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* ---- Lua functions --------------------------------------------------------------------- */

/* loop:set_debug(flag) */
static int l_set_debug(lua_State *L) {
  neap__check_loop(L, neap__rt(L))->debug = lua_toboolean(L, 2);
  if (lua_toboolean(L, 2)) neap__blocking_watch(L);
  return 0;
}

/* loop:get_debug() -> whether it is in debug mode. */
static int l_get_debug(lua_State *L) {
  lua_pushboolean(L, neap__check_loop(L, neap__rt(L))->debug);
  return 1;
}

static bool is_slow(lua_State *L) {
  return lua_type(L, 2) == LUA_TSTRING &&
         strcmp(lua_tostring(L, 2), "slow_callback_duration") == 0;
}

/* upvalues: runtime, the methods. loop.slow_callback_duration, or a method. */
static int l_index(lua_State *L) {
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(2)) == LUA_TNIL && is_slow(L))
    lua_pushnumber(L, neap__check_loop(L, neap__rt(L))->slow);
  return 1;
}

/* loop.slow_callback_duration = seconds */
static int l_newindex(lua_State *L) {
  if (!is_slow(L))
    return luaL_error(L, "an event loop has no field '%s' to set",
                      luaL_tolstring(L, 2, NULL));
  neap__loop *loop = neap__check_loop(L, neap__rt(L));
  if (lua_type(L, 3) != LUA_TNUMBER || !(lua_tonumber(L, 3) >= 0))
    return luaL_error(L,
                      "slow_callback_duration: seconds (0 or more) expected, "
                      "got %s",
                      lua_type(L, 3) == LUA_TNUMBER ? luaL_tolstring(L, 3, NULL)
                                                    : luaL_typename(L, 3));
  loop->slow = lua_tonumber(L, 3);
  return 0;
}

void neap__debug_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {
      {"set_debug", l_set_debug},
      {"get_debug", l_get_debug},
      {"__newindex", l_newindex},
      {NULL, NULL},
  };
  neap__push_class(L, rt, NEAP__K_LOOP);
  neap__set_funcs(L, rt, methods);
  neap__push_self(L, rt);
  lua_pushvalue(L, -2);
  lua_pushcclosure(L, l_index, 2);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  if (rt->debug) neap__blocking_watch(L);
}
