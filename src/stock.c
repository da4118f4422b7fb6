/* SPDX-License-Identifier: MIT
 *
 * stock.c - neap as a module of somebody else's host: require "neap" in lua5.4. The
 * runtime lives in the lent state and shuts down when that closes.
 */
#include "internal.h"

#include <stdio.h>

static void log_to_stderr(void *ud, const char *text, size_t length) {
  (void)ud;
  fwrite(text, 1, length, stderr);
  fflush(stderr);
}

/* The state is closing: the one shutdown path. */
static int l_state_closes(lua_State *L) {
  neap_runtime *rt = neap_of(L);
  if (rt != NULL && !rt->closing) neap_free(rt);
  return 0;
}

int luaopen_neap(lua_State *L) {
  if (neap_of(L) == NULL) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    neap_config config = {.size = sizeof config,
                          .L = lua_tothread(L, -1),
                          .log = log_to_stderr,
                          .grace = 1};
    lua_pop(L, 1);
    int error;
    neap_runtime *rt = neap_new(&config, &error);
    if (rt == NULL)
      return luaL_error(L, "neap cannot start: %s", uv_strerror(error));
    rt->catch_sigint = true;
    lua_newuserdatauv(L, 0, 0);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, l_state_closes);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    neap__reg_set(L, NEAP__R_GUARD);
  }
  return neap__module(L);
}
