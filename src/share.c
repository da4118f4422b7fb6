/* SPDX-License-Identifier: MIT
 *
 * share.c - what several threads hold, and its objects in each of their Lua states.
 */
#include "share.h"

#include "channel.h"
#include "mailbox.h"

void neap__shared_unref(neap__shared *shared) {
  if (shared == NULL) return;
  if (atomic_fetch_sub_explicit(&shared->refs, 1, memory_order_acq_rel) == 1)
    shared->type->destroy(shared);
}

/* Pushes the table of a state's objects. [-0, +1, m] */
static void push_objects(lua_State *L) {
  neap__reg_get(L, NEAP__R_SHARED);
  if (lua_istable(L, -1)) return;
  lua_pop(L, 1);
  lua_createtable(L, 0, 4);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  neap__reg_set(L, NEAP__R_SHARED);
}

void neap__shared_class(lua_State *L, neap_runtime *rt,
                        const neap__shared_type *type) {
  luaL_checkstack(L, 8, NULL);
  if (rt->mt[type->kind] == NULL) type->open(L, rt);
  neap__push_class(L, rt, type->kind);
}

/* Pushes an object that has nothing yet. [-0, +1, m] */
static neap__shared **new_object(lua_State *L, neap_runtime *rt,
                                 const neap__shared_type *type) {
  neap__shared **box = lua_newuserdatauv(L, sizeof *box, 0);
  *box = NULL;
  neap__shared_class(L, rt, type);
  lua_setmetatable(L, -2);
  return box;
}

void neap__shared_make(lua_State *L, neap_runtime *rt,
                       const neap__shared_type *type,
                       neap__shared *(*make)(const void *arg),
                       const void *arg) {
  luaL_checkstack(L, 8, NULL);
  neap__shared **box = new_object(L, rt, type);
  *box = make(arg);
  if (*box == NULL) luaL_error(L, "not enough memory");
  push_objects(L);
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, *box);
  lua_pop(L, 1);
}

void neap__shared_push(lua_State *L, neap_runtime *rt, neap__shared *shared) {
  luaL_checkstack(L, 8, NULL);
  if (shared->type == &neap__mailbox_type) {
    neap__loop *loop = neap__mailbox_here((neap__mailbox *)(void *)shared, rt);
    if (loop != NULL) {
      neap__push_loop(L, loop);
      return;
    }
  }
  push_objects(L);
  if (lua_rawgetp(L, -1, shared) == LUA_TUSERDATA) {
    lua_remove(L, -2);
    return;
  }
  lua_pop(L, 1);
  neap__shared **box = new_object(L, rt, shared->type);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, -3, shared);
  *box = neap__shared_ref(shared);
  lua_remove(L, -2);
}

neap__shared *neap__shared_check(lua_State *L, neap_runtime *rt, int index,
                                 const neap__shared_type *type) {
  neap__shared **box = neap__test(L, rt, index, type->kind);
  if (NEAP__UNLIKELY(box == NULL || *box == NULL))
    luaL_typeerror(L, index, type->name);
  return *box;
}

neap__shared *neap__shared_at(lua_State *L, neap_runtime *rt, int index) {
  static const enum neap__kind kinds[] = {NEAP__K_CHANNEL, NEAP__K_BUFFER,
                                          NEAP__K_REMOTE};
  void *p = lua_touserdata(L, index);
  if (p == NULL || !lua_getmetatable(L, index)) return NULL;
  const void *mt = lua_topointer(L, -1);
  lua_pop(L, 1);
  if (mt == rt->mt[NEAP__K_LOOP]) {
    neap__loop *loop = ((neap__loop_object *)p)->loop;
    if (loop == NULL) return NULL;
    neap__mailbox *box = neap__mailbox_of(loop);
    if (box == NULL) luaL_error(L, "not enough memory");
    loop->known = true;
    return &box->shared;
  }
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if (mt != rt->mt[kinds[i]]) continue;
    neap__shared *shared = *(neap__shared **)p;
    if (shared != NULL && kinds[i] == NEAP__K_CHANNEL &&
        !neap__channel_cross((neap__channel *)(void *)shared))
      luaL_error(L, "not enough memory");
    return shared;
  }
  return NULL;
}

int neap__l_shared_gc(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  static const enum neap__kind kinds[] = {NEAP__K_CHANNEL, NEAP__K_BUFFER,
                                          NEAP__K_REMOTE, NEAP__K_CODE};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    neap__shared **box = neap__test(L, rt, 1, kinds[i]);
    if (box == NULL) continue;
    neap__shared *shared = *box;
    *box = NULL;
    if (shared == NULL) return 0;
    /* Somebody may call this by hand: no other object is to be found then. */
    neap__reg_get(L, NEAP__R_SHARED);
    if (lua_rawgetp(L, -1, shared) == LUA_TUSERDATA &&
        lua_touserdata(L, -1) == (void *)box) {
      lua_pushnil(L);
      lua_rawsetp(L, -3, shared);
    }
    lua_settop(L, 1);
    neap__shared_unref(shared);
    return 0;
  }
  return 0;
}
