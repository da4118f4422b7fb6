/* SPDX-License-Identifier: MIT
 *
 * embed.c - finds the Lua files that are packed into the library.
 *
 * The searcher for package.preload finds them as well: the packed files belong to
 * this library and win over files found on the path.
 */
#include "embed.h"

#include "internal.h"

#include <lualib.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *key, const void *element) {
  return strcmp(key, ((const neap__packed_module *)element)->name);
}

/* Modules in C that only our Lua files require. */
static const luaL_Reg core[] = {
    {"neap.core.buffer", neap__open_buffer},
    {"neap.core.channel", neap__open_channel},
    {"neap.core.dns", neap__open_dns},
    {"neap.core.fs", neap__open_fs},
    {"neap.core.net", neap__open_net},
    {"neap.core.packet", neap__open_packet},
    {"neap.core.pool", neap__open_pool},
    {"neap.core.process", neap__open_process},
    {"neap.core.signal", neap__open_signals},
    {"neap.core.test", neap__open_testing},
    {"neap.core.thread", neap__open_thread},
    {"neap.core.tls", neap__open_tls},
    {"neap.core.tty", neap__open_tty},
    {"neap.core.udp", neap__open_udp},
    {"neap.core.worker", neap__open_worker},
    {NULL, NULL},
};

/* Pushes the loader and where it came from; or nothing. */
static int find(lua_State *L, const char *name) {
  for (const luaL_Reg *module = core; module->name != NULL; module++) {
    if (strcmp(module->name, name) != 0) continue;
    lua_pushcfunction(L, module->func);
    lua_pushliteral(L, "neap");
    return 2;
  }
  const neap__packed_module *found = bsearch(
      name, neap__packed, neap__packed_count, sizeof neap__packed[0], by_name);
  if (found == NULL) return 0;
  int status = luaL_loadbufferx(L, (const char *)found->code, found->size,
                                found->chunkname, "t");
  if (status != LUA_OK) return lua_error(L);
  lua_pushstring(L, found->chunkname + 1);
  return 2;
}

/* searcher(name) -> loader, chunk name; or why there is none. Upvalue: the searcher
 * in whose place it stands. */
static int l_search(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  lua_settop(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushvalue(L, 1);
  lua_call(L, 1, 2);
  if (lua_isfunction(L, 2)) return 2;
  int n = find(L, name);
  return n > 0 ? n : 2;
}

void neap__embed_install(lua_State *L) {
  int top = lua_gettop(L);
  if (lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE) == LUA_TTABLE &&
      lua_getfield(L, -1, LUA_LOADLIBNAME) == LUA_TTABLE &&
      lua_getfield(L, -1, "searchers") == LUA_TTABLE &&
      lua_rawgeti(L, -1, 1) == LUA_TFUNCTION) {
    lua_pushcclosure(L, l_search, 1);
    lua_rawseti(L, -2, 1);
  }
  lua_settop(L, top);
}
