/* SPDX-License-Identifier: MIT
 *
 * embed.c - finds the Lua files that are packed into the library.
 *
 * One entry in package.searchers, right after the one for package.preload: the
 * packed files belong to this library and win over files found on the path.
 */
#include "embed.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *key, const void *element) {
  return strcmp(key, ((const neap__packed_module *)element)->name);
}

/* searcher(name) -> loader, chunk name; nothing where there is no such module. */
static int l_search(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  const neap__packed_module *found = bsearch(
      name, neap__packed, neap__packed_count, sizeof neap__packed[0], by_name);
  if (found == NULL) {
    return 0; /* no text: the message for a missing module stays Lua's own */
  }
  int status = luaL_loadbufferx(L, (const char *)found->code, found->size,
                                found->chunkname, "t");
  if (status != LUA_OK) {
    return lua_error(L);
  }
  lua_pushstring(L, found->chunkname + 1);
  return 2;
}

void neap__embed_install(lua_State *L) {
  if (neap__packed_count == 0) {
    return;
  }
  int top = lua_gettop(L);
  if (lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE) == LUA_TTABLE &&
      lua_getfield(L, -1, LUA_LOADLIBNAME) == LUA_TTABLE &&
      lua_getfield(L, -1, "searchers") == LUA_TTABLE) {
    for (lua_Integer i = luaL_len(L, -1); i >= 2; i--) {
      lua_rawgeti(L, -1, i);
      lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, l_search);
    lua_rawseti(L, -2, 2);
  }
  lua_settop(L, top);
}
