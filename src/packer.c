/* SPDX-License-Identifier: MIT
 *
 * packer.c - what a runtime keeps to write packets with: the buffer, and which objects
 * the packet that is being written has seen.
 */
#include "packcode.h"

#define LISTED_MAX 1024 /* entries of the list of objects that are kept */

/* ---- memory ------------------------------------------------------------------------- */

struct neap__packer *neap__packer(lua_State *L, neap_runtime *rt) {
  if (rt->packer != NULL) return rt->packer;
  struct neap__packer *packer = neap__alloc(rt, NULL, 0, sizeof *packer);
  if (packer == NULL) luaL_error(L, "not enough memory");
  memset(packer, 0, sizeof *packer);
  rt->packer = packer;
  return packer;
}

void neap__packer_drop_refs(struct neap__packer *packer) {
  while (packer->nrefs > 0)
    neap__shared_unref(packer->refs[--packer->nrefs]);
}

bool neap__packer_grow(neap_runtime *rt, void *array, uint32_t *capacity,
                       size_t element, uint32_t needed) {
  void *old;
  memcpy(&old, array, sizeof old);
  uint64_t more = *capacity < 16 ? 16 : (uint64_t)*capacity * 2;
  if (more < needed) more = needed;
  if (more > UINT32_MAX / 2) return false;
  void *new = neap__alloc(rt, old, *capacity * element, more * element);
  if (new == NULL) return false;
  memcpy(array, &new, sizeof new);
  *capacity = (uint32_t)more;
  return true;
}

static void drop(neap_runtime *rt, void *array, uint32_t *capacity,
                 size_t element) {
  void *old;
  memcpy(&old, array, sizeof old);
  neap__alloc(rt, old, *capacity * element, 0);
  old = NULL;
  memcpy(array, &old, sizeof old);
  *capacity = 0;
}

void neap__packer_trim(neap_runtime *rt, struct neap__packer *packer,
                       uint32_t limit, size_t bytes) {
  if (packer->capacity > bytes) {
    neap__alloc(rt, packer->buffer, packer->capacity, 0);
    packer->buffer = NULL;
    packer->capacity = 0;
  }
  if (packer->objects_capacity > limit)
    drop(rt, &packer->parents, &packer->objects_capacity,
         sizeof *packer->parents);
  if (packer->places_capacity > limit)
    drop(rt, &packer->places, &packer->places_capacity, sizeof *packer->places);
  if (packer->upvalues_capacity > limit)
    drop(rt, &packer->upvalues, &packer->upvalues_capacity,
         sizeof *packer->upvalues);
  if (packer->refs_capacity > limit)
    drop(rt, &packer->refs, &packer->refs_capacity, sizeof *packer->refs);
}

void neap__packer_free(neap_runtime *rt) {
  struct neap__packer *packer = rt->packer;
  if (packer == NULL) return;
  neap__packer_drop_refs(packer);
  neap__packer_trim(rt, packer, 0, 0);
  neap__alloc(rt, packer->named, packer->named_capacity * sizeof *packer->named,
              0);
  neap__alloc(rt, packer, sizeof *packer, 0);
  rt->packer = NULL;
}

/* ---- objects ------------------------------------------------------------------ */

static bool enlarge_places(neap__writer *w) {
  struct neap__packer *packer = w->packer;
  uint32_t old = packer->places_capacity, capacity = old == 0 ? 64 : old * 2;
  size_t size = sizeof *packer->places;
  if (capacity > UINT32_MAX / 4) return false;
  struct neap__packed_place *new = neap__alloc(w->rt, NULL, 0, capacity * size);
  if (new == NULL) return false;
  memset(new, 0, capacity * size);
  for (uint32_t i = 0; i < old; i++) {
    struct neap__packed_place *place = &packer->places[i];
    if (place->use != packer->use) continue;
    uint32_t at = neap__pointer_hash(place->pointer) & (capacity - 1);
    while (new[at].pointer != NULL)
      at = (at + 1) & (capacity - 1);
    new[at] = *place;
  }
  neap__alloc(w->rt, packer->places, old * size, 0);
  packer->places = new;
  packer->places_capacity = capacity;
  return true;
}

struct neap__packed_place *neap__packer_place(neap__writer *w,
                                              const void *pointer) {
  struct neap__packer *packer = w->packer;
  if (packer->nplaces >= packer->places_capacity / 2 && !enlarge_places(w))
    return NULL;
  uint32_t mask = packer->places_capacity - 1;
  for (uint32_t i = neap__pointer_hash(pointer);; i++) {
    struct neap__packed_place *place = &packer->places[i & mask];
    if (place->use != packer->use) {
      place->pointer = pointer;
      place->use = packer->use;
      place->number = NEAP__NO_OBJECT;
      packer->nplaces++;
      return place;
    }
    if (place->pointer == pointer) return place;
  }
}

void neap__packer_forget(lua_State *L, struct neap__packer *packer) {
  if (packer->nlisted == 0) return;
  neap__reg_get(L, NEAP__R_NAMES);
  lua_rawgeti(L, -1, NEAP__N_LIST);
  for (lua_Integer i = NEAP__STACKED + 1; i <= packer->nlisted; i++) {
    lua_pushnil(L);
    lua_rawseti(L, -2, i);
  }
  lua_pop(L, 2);
  packer->large = packer->nlisted > LISTED_MAX;
  packer->nlisted = 0;
}

static int l_new_list(lua_State *L) {
  neap__reg_get(L, NEAP__R_NAMES);
  lua_createtable(L, 0, 0);
  lua_rawseti(L, -2, NEAP__N_LIST);
  return 0;
}

void neap__packer_shrink(lua_State *L, struct neap__packer *packer) {
  packer->large = false;
  lua_pushcfunction(L, l_new_list);
  if (lua_pcall(L, 0, 0, 0) != LUA_OK) lua_pop(L, 1); /* then it stays */
}
