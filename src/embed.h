/* SPDX-License-Identifier: MIT
 *
 * embed.h - the Lua modules that are packed into the library.
 */
#ifndef NEAP_EMBED_H
#define NEAP_EMBED_H

#include <stddef.h>

#include <lua.h>

/* One packed file: the text of lua/neap/x/y.lua is the module neap.x.y. */
typedef struct neap__packed_module {
  const char *name;
  const char *chunkname; /* "=neap/x/y.lua" */
  const unsigned char *code;
  size_t size;
} neap__packed_module;

/* In a file that scripts/dev/pack.lua writes; sorted by name. */
extern const neap__packed_module neap__packed[];
extern const size_t neap__packed_count;

/* Makes `require` find the packed modules, after package.preload and before any
 * file. Nothing is loaded before it is asked for. Does nothing where the state has
 * no package library. [-0, +0, m] */
void neap__embed_install(lua_State *L);

#endif
