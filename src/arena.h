/* SPDX-License-Identifier: MIT
 *
 * arena.h - the allocator of the Lua states that neap makes itself.
 */
#ifndef NEAP_ARENA_H
#define NEAP_ARENA_H

#include <stddef.h>

typedef struct neap__arena neap__arena;

/* NULL when memory is short. Used by one thread at a time. */
neap__arena *neap__arena_new(void);
/* Frees it with all blocks that are left, except large ones. */
void neap__arena_free(neap__arena *arena);
/* A lua_Alloc; `ud` is the arena. */
void *neap__arena_alloc(void *ud, void *ptr, size_t osize, size_t nsize);

#endif
