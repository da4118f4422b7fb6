/* SPDX-License-Identifier: MIT
 *
 * options.c - tables of options, as functions written in C take them.
 */
#include "internal.h"

#include <string.h>

static bool is_known(const char *name, const char *const *names) {
  while (*names != NULL && strcmp(*names, name) != 0)
    names++;
  return *names != NULL;
}

bool neap__options(lua_State *L, int index, const char *where,
                   const char *const *names) {
  if (lua_isnoneornil(L, index)) return false;
  luaL_checktype(L, index, LUA_TTABLE);
  luaL_checkstack(L, 4, NULL);
  lua_pushnil(L);
  while (lua_next(L, index) != 0) {
    lua_pop(L, 1);
    bool text = lua_type(L, -1) == LUA_TSTRING;
    if (text && is_known(lua_tostring(L, -1), names)) continue;
    const char *quote = text ? "'" : "";
    luaL_error(L, "unknown option %s%s%s to '%s'", quote,
               luaL_tolstring(L, -1, NULL), quote, where);
  }
  return true;
}
