/* SPDX-License-Identifier: MIT
 *
 * anchor.c - what the runtime holds in its Lua state: coroutines of tasks and loop
 * callbacks, by number, and which coroutines Lua code got to see.
 *
 * A slot that is free again keeps `false` in the table, so that setting it later
 * cannot fail for lack of memory.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- anchors ------------------------------------------------------------------ */

uint32_t neap__anchor(lua_State *L, neap_runtime *rt) {
  luaL_checkstack(L, 2, NULL);
  uint32_t slot;
  if (rt->nfree_slots > 0) {
    slot = rt->free_slots[rt->nfree_slots - 1];
  } else {
    if (rt->nslots == rt->slot_cap) {
      uint32_t cap = rt->slot_cap < 64 ? 64 : rt->slot_cap + rt->slot_cap / 2;
      neap_task **slots = neap__alloc(
          rt, rt->slots, rt->slot_cap * sizeof *slots, cap * sizeof *slots);
      if (slots == NULL) luaL_error(L, "not enough memory");
      rt->slots = slots;
      uint32_t *free_slots =
          neap__alloc(rt, rt->free_slots, rt->slot_cap * sizeof *free_slots,
                      cap * sizeof *free_slots);
      if (free_slots == NULL) {
        /* keep the sizes equal, as neap__alloc accounts by them */
        rt->slots = neap__alloc(rt, rt->slots, cap * sizeof *slots,
                                rt->slot_cap * sizeof *slots);
        luaL_error(L, "not enough memory");
      }
      rt->free_slots = free_slots;
      rt->slot_cap = cap;
    }
    slot = rt->nslots + 1;
  }
  neap__reg_get(L, NEAP__R_THREADS);
  lua_insert(L, -2);
  lua_rawseti(L, -2, slot); /* may raise; nothing is taken yet */
  lua_pop(L, 1);
  if (slot > rt->nslots) {
    rt->nslots = slot;
  } else {
    rt->nfree_slots--;
  }
  rt->slots[slot - 1] = NULL;
  return slot;
}

void neap__unanchor(lua_State *L, neap_runtime *rt, uint32_t slot) {
  if (slot == 0) return;
  neap__reg_get(L, NEAP__R_THREADS);
  lua_pushboolean(L, 0); /* keeps the slot, so that setting it cannot fail */
  lua_rawseti(L, -2, slot);
  lua_pop(L, 1);
  rt->slots[slot - 1] = NULL;
  rt->free_slots[rt->nfree_slots++] = slot;
}

bool neap__is_pending(const neap_runtime *rt, const neap_task *task,
                      uint32_t slot, uint64_t id) {
  return slot > 0 && slot <= rt->nslots && rt->slots[slot - 1] == task &&
         task->id == id && task->future.state == NEAP__PENDING;
}

/* ---- blocks of objects ---------------------------------------------------------- */

void *neap__block_try(neap_runtime *rt, size_t size) {
  neap__block *block = neap__alloc(rt, NULL, 0, sizeof *block + size);
  if (block == NULL) return NULL;
  *block = (neap__block){rt->blocks, NULL, size, 0};
  if (rt->blocks != NULL) rt->blocks->prev = block;
  rt->blocks = block;
  memset(block + 1, 0, size);
  return block + 1;
}

void *neap__block_new(lua_State *L, neap_runtime *rt, size_t size) {
  void *memory = neap__block_try(rt, size);
  if (memory == NULL) luaL_error(L, "not enough memory");
  return memory;
}

void neap__block_free(neap_runtime *rt, void *memory) {
  if (memory == NULL) return;
  neap__block *block = (neap__block *)memory - 1;
  if (block->prev != NULL) {
    block->prev->next = block->next;
  } else {
    rt->blocks = block->next;
  }
  if (block->next != NULL) block->next->prev = block->prev;
  neap__alloc(rt, block, sizeof *block + block->size, 0);
}

void neap__blocks_free(neap_runtime *rt) {
  while (rt->blocks != NULL)
    neap__block_free(rt, rt->blocks + 1);
}

/* ---- coroutines that Lua code may hold ---------------------------------------- */

void neap__note_seen(lua_State *L, neap_runtime *rt, lua_State *co,
                     neap_task *task) {
  if (task->seen) return;
  luaL_checkstack(L, 4, NULL);
  lua_checkstack(co, 1);
  neap__reg_get(L, NEAP__R_SEEN);
  lua_pushthread(co);
  if (co != L) lua_xmove(co, L, 1);
  lua_pushboolean(L, 1);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  task->seen = 1;
  rt->any_seen = true;
}

void neap__mark_seen(lua_State *L, neap_task *task) {
  neap__note_seen(L, task->future.loop->rt, task->co, task);
}

bool neap__is_of_task(lua_State *L, const neap_runtime *rt, lua_State *co) {
  if (!rt->any_seen || !lua_checkstack(L, 3) || !lua_checkstack(co, 1))
    return false;
  neap__reg_get(L, NEAP__R_SEEN);
  lua_pushthread(co);
  if (co != L) lua_xmove(co, L, 1);
  bool found = lua_rawget(L, -2) == LUA_TBOOLEAN;
  lua_pop(L, 2);
  return found;
}

/* ---- the tasks of a loop ---------------------------------------------------------- */

int neap__compare_ids(const void *a, const void *b) {
  const neap_task *x = *(neap_task *const *)a, *y = *(neap_task *const *)b;
  return (x->id > y->id) - (x->id < y->id);
}

neap_task **neap__list_tasks(lua_State *L, neap_runtime *rt,
                             const neap__loop *loop, size_t *n) {
  size_t max = 0;
  for (neap__loop *l = rt->loops; l != NULL; l = l->next)
    if (loop == NULL || l == loop) max += l->ntasks;
  luaL_checkstack(L, 6, NULL);
  neap_task **list = lua_newuserdatauv(L, (max + 1) * sizeof(neap_task *), 0);
  *n = 0;
  for (uint32_t i = 0; i < rt->nslots && *n < max; i++) {
    neap_task *task = rt->slots[i];
    if (task != NULL && (loop == NULL || task->future.loop == loop) &&
        task->future.state == NEAP__PENDING)
      list[(*n)++] = task;
  }
  qsort(list, *n, sizeof *list, neap__compare_ids);
  return list;
}

void neap__push_tasks(lua_State *L, neap__loop *loop) {
  size_t n;
  neap_task **list = neap__list_tasks(L, loop->rt, loop, &n);
  lua_createtable(L, (int)n, 0);
  for (size_t i = 0; i < n; i++) {
    neap__push_task(L, list[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_remove(L, -2);
}
