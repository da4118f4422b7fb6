/* SPDX-License-Identifier: MIT
 *
 * arena.c - small blocks without headers, for a Lua state and the tasks in it.
 *
 * Lua says the size of what it frees, so a block needs no header: 16 bytes a block,
 * about 100 a task, and no search. Blocks up to SMALL bytes come from slabs of one
 * size each, in steps of 16; larger ones from malloc. A slab is aligned to its size,
 * so that a block leads to it. Slabs that become empty are used for any size again,
 * and their pages go back to the system when many are empty. Measured against malloc
 * and a general-purpose library in docs/decisions/001-small-block-arena.md.
 */
#include "arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define STEP 16
#define SMALL 1024
#define CLASSES (SMALL / STEP + 1)
#define SLAB ((size_t)32 * 1024)
#define REGION ((size_t)1024 * 1024)
#define KEEP_EMPTY 256 /* empty slabs whose pages are kept: 8 MB */

typedef struct block {
  struct block *next;
} block;

typedef struct slab {
  struct slab *next, *prev; /* among those with room, or the empty ones */
  block *free;
  uint32_t size;  /* of a block */
  uint32_t used;  /* blocks in use */
  uint32_t fresh; /* offset of what was never used */
  uint32_t index; /* class */
} slab;

#define FIRST ((sizeof(slab) + STEP - 1) / STEP * STEP)

typedef struct region {
  struct region *next;
} region;

struct neap__arena {
  slab *room[CLASSES]; /* slabs with a free block, by class */
  slab *empty;
  size_t nempty;
  char *fresh, *end; /* slabs never used, in the newest region */
  region *regions;
};

neap__arena *neap__arena_new(void) {
  return calloc(1, sizeof(neap__arena));
}

void neap__arena_free(neap__arena *arena) {
  for (region *r = arena->regions, *next; r != NULL; r = next) {
    next = r->next;
    free(r);
  }
  free(arena);
}

static void push(slab **list, slab *s) {
  s->prev = NULL;
  s->next = *list;
  if (*list != NULL) (*list)->prev = s;
  *list = s;
}

static void take_out(slab **list, slab *s) {
  if (s->prev != NULL) {
    s->prev->next = s->next;
  } else {
    *list = s->next;
  }
  if (s->next != NULL) s->next->prev = s->prev;
}

/* A slab for blocks of this class, in its list; NULL when memory is short. */
static slab *new_slab(neap__arena *arena, uint32_t index) {
  slab *s = arena->empty;
  if (s != NULL) {
    take_out(&arena->empty, s);
    arena->nempty--;
  } else {
    if (arena->fresh == arena->end) {
      region *r = aligned_alloc(SLAB, REGION);
      if (r == NULL) return NULL;
      r->next = arena->regions;
      arena->regions = r;
      /* The first slab's place also holds the list of regions. */
      arena->fresh = (char *)r + SLAB;
      arena->end = (char *)r + REGION;
    }
    s = (slab *)(void *)arena->fresh;
    arena->fresh += SLAB;
  }
  s->free = NULL;
  s->size = index * STEP;
  s->used = 0;
  s->fresh = FIRST;
  s->index = index;
  push(&arena->room[index], s);
  return s;
}

static inline void *get(neap__arena *arena, size_t size) {
  uint32_t index = (uint32_t)((size + STEP - 1) / STEP);
  slab *s = arena->room[index];
  if (s == NULL && (s = new_slab(arena, index)) == NULL) return NULL;
  void *p = s->free;
  if (p != NULL) {
    s->free = s->free->next;
  } else {
    p = (char *)s + s->fresh;
    s->fresh += s->size;
  }
  s->used++;
  if (s->free == NULL && s->fresh + s->size > SLAB)
    take_out(&arena->room[index], s);
  return p;
}

/* The slab holds nothing any more. */
static void retire(neap__arena *arena, slab *s) {
  take_out(&arena->room[s->index], s);
  if (arena->nempty >= KEEP_EMPTY) {
    /* All but the page with the slab's own words. */
    madvise((char *)s + 4096, SLAB - 4096, MADV_DONTNEED);
  }
  push(&arena->empty, s);
  arena->nempty++;
}

static inline void put(neap__arena *arena, void *p) {
  slab *s = (slab *)(void *)((uintptr_t)p & ~(uintptr_t)(SLAB - 1));
  block *b = p;
  if (s->free == NULL && s->fresh + s->size > SLAB)
    push(&arena->room[s->index], s); /* it was full */
  b->next = s->free;
  s->free = b;
  if (--s->used == 0 && (s->next != NULL || s->prev != NULL))
    retire(arena, s); /* the last one of its class stays */
}

void *neap__arena_alloc(void *ud, void *ptr, size_t osize, size_t nsize) {
  neap__arena *arena = ud;
  if (ptr == NULL) {
    if (nsize == 0) return NULL;
    return nsize <= SMALL ? get(arena, nsize) : malloc(nsize);
  }
  if (nsize == 0) {
    if (osize <= SMALL) {
      put(arena, ptr);
    } else {
      free(ptr);
    }
    return NULL;
  }
  if (osize > SMALL && nsize > SMALL) return realloc(ptr, nsize);
  if (osize <= SMALL && nsize <= SMALL &&
      (osize + STEP - 1) / STEP == (nsize + STEP - 1) / STEP)
    return ptr;
  void *p = nsize <= SMALL ? get(arena, nsize) : malloc(nsize);
  if (p == NULL) return osize >= nsize && osize <= SMALL ? ptr : NULL;
  memcpy(p, ptr, osize < nsize ? osize : nsize);
  if (osize <= SMALL) {
    put(arena, ptr);
  } else {
    free(ptr);
  }
  return p;
}
