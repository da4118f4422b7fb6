/* SPDX-License-Identifier: MIT
 *
 * handle.c - loop callbacks: what call_soon, call_later, call_at and done-callbacks
 * queue. A Handle is anchored from the moment it is scheduled until it has run or was
 * cancelled. Callbacks run on the Lua thread that drives the loop and cannot wait.
 */
#include "internal.h"

#include <math.h>
#include <string.h>

static void on_due(neap__timer *timer) {
  neap__handle *handle = neap__container_of(timer, neap__handle, timer);
  neap__ready(handle->loop, &handle->item);
}

void neap__check_callback(lua_State *L, int arg) {
  if (lua_isfunction(L, arg)) return;
  if (luaL_getmetafield(L, arg, "__call") == LUA_TNIL)
    luaL_typeerror(L, arg, "function");
  lua_pop(L, 1);
}

neap__handle *neap__handle_new(lua_State *L, neap_runtime *rt, neap__loop *loop,
                               int nargs) {
  int function = lua_gettop(L) - nargs;
  if (loop->closed) luaL_error(L, "Event loop is closed");
  luaL_checkstack(L, 4, NULL);
  neap__handle *handle = lua_newuserdatauv(L, sizeof *handle, nargs + 2);
  memset(handle, 0, sizeof *handle);
  handle->item.kind = NEAP__HANDLE;
  handle->timer.fire = on_due;
  handle->rt = rt;
  handle->loop = loop;
  handle->nargs = nargs;
  handle->when = NAN; /* none */
  handle->site = neap__site_at(L, rt, 1);
  neap__push_class(L, rt, NEAP__K_HANDLE);
  lua_setmetatable(L, -2);
  if (NEAP__UNLIKELY(rt->contexts)) neap__copy_context(L, rt, nargs + 2);
  lua_insert(L, function);
  for (int i = nargs + 1; i >= 1; i--)
    lua_setiuservalue(L, function, i);
  return handle;
}

/* Error on top of the stack, the Handle below it: to the exception handler. */
static void report(lua_State *L, neap__handle *handle) {
  int index = lua_gettop(L) - 1;
  lua_pushvalue(L, -1);
  neap__take_traceback(L, handle->rt);
  neap__report(L, handle->loop, "Exception in callback", "handle", index);
}

static int l_report(lua_State *L) {
  report(L, lua_touserdata(L, 1));
  return 0;
}

/* The Handle in this slot ran. It is no longer held, unless it may run again. */
static void end_run(lua_State *L, neap__handle *handle, uint32_t slot) {
  neap_runtime *rt = handle->rt;
  rt->callback = 0;
  if (NEAP__UNLIKELY(handle->again > 0)) {
    handle->again--;
    neap__ready(handle->loop, &handle->item);
  } else if (NEAP__LIKELY(!handle->keeps)) {
    handle->slot = 0;
    neap__unanchor(L, rt, slot);
  }
}

void neap__handle_run(neap__handle *handle, lua_State *L) {
  neap_runtime *rt = handle->rt;
  if (handle->slot == 0) return; /* cancelled */
  int top = lua_gettop(L);
  rt->busy = L;
  if (!lua_checkstack(L, handle->nargs + 8)) {
    neap__unhandled(rt, "not enough memory", "no stack for a loop callback");
    return;
  }
  neap__reg_get(L, NEAP__R_THREADS);
  uint32_t slot = handle->slot;
  lua_rawgeti(L, -1, slot);
  lua_replace(L, -2);
  if (!handle->keeps && handle->again == 0) handle->slot = 0;
  if (handle->cancelled || handle->nargs == NEAP__STOPS) {
    if (!handle->cancelled) handle->loop->stopping = true;
    end_run(L, handle, slot);
    lua_settop(L, top);
    return;
  }
  rt->callback = slot;
  lua_pushcfunction(L, neap__on_error);
  for (int i = 1; i <= handle->nargs + 1; i++)
    lua_getiuservalue(L, top + 1, i);
  if (lua_pcall(L, handle->nargs, 0, top + 2) != LUA_OK) {
    if (neap__error_is(L, -1, NEAP__SYSTEMEXIT) ||
        neap__error_is(L, -1, NEAP__KEYBOARDINTERRUPT)) {
      end_run(L, handle, slot); /* the root raises it */
      lua_settop(L, top);
      return;
    }
    lua_pushcfunction(L, l_report);
    lua_replace(L, top + 2);
    lua_pushvalue(L, top + 2);
    lua_pushvalue(L, top + 1);
    lua_pushvalue(L, top + 3);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK)
      neap__unhandled(rt, "Exception in callback",
                      "not enough memory to report an error of a callback");
  }
  end_run(L, handle, slot);
  lua_settop(L, top);
}

static neap__handle *self(lua_State *L) {
  return neap__check(L, neap__rt(L), 1, NEAP__K_HANDLE, "Handle");
}

/* handle:cancel(): it will not run. */
static int l_cancel(lua_State *L) {
  neap__handle *handle = self(L);
  if (handle->cancelled) return 0;
  handle->cancelled = 1;
  if (handle->slot != 0 && !handle->keeps) { /* has not run */
    if (handle->timer.index != 0)
      neap__timer_disarm(handle->loop, &handle->timer);
    if (!handle->item.queued) { /* otherwise the ready list still holds it */
      neap__unanchor(L, handle->rt, handle->slot);
      handle->slot = 0;
    }
  }
  return 0;
}

/* handle:cancelled() -> whether cancel was called. */
static int l_cancelled(lua_State *L) {
  lua_pushboolean(L, self(L)->cancelled);
  return 1;
}

/* handle:when() -> loop time at which it is due, in seconds; nil for call_soon. */
static int l_when(lua_State *L) {
  neap__handle *handle = self(L);
  if (isnan(handle->when)) {
    lua_pushnil(L);
  } else {
    lua_pushnumber(L, handle->when);
  }
  return 1;
}

static int l_tostring(lua_State *L) {
  neap__handle *handle = self(L);
  if (handle->site != NULL) {
    lua_pushfstring(L, "<Handle%s, created at %s:%d>",
                    handle->cancelled ? " cancelled" : "", handle->site->source,
                    handle->site->line);
  } else {
    lua_pushfstring(L, "<Handle%s>", handle->cancelled ? " cancelled" : "");
  }
  return 1;
}

void neap__handle_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {
      {"cancel", l_cancel}, {"cancelled", l_cancelled},
      {"when", l_when},     {"__tostring", l_tostring},
      {NULL, NULL},
  };
  neap__new_class(L, rt, NEAP__K_HANDLE, "neap.Handle", methods);
  lua_pop(L, 1);
}
