/* SPDX-License-Identifier: MIT
 *
 * jobcode.c - a function that many jobs call: packed once, and unpacked once by each
 * thread that runs one of them.
 */
#include "job.h"

#define CODES 256 /* functions that a thread keeps */

static void destroy_code(neap__shared *shared) {
  neap__code *code = (neap__code *)(void *)shared;
  neap__packet_free(&code->packet);
  neap__share_alloc(code, 0);
}

static void open_code(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {{"__gc", neap__l_shared_gc}, {NULL, NULL}};
  neap__new_class(L, rt, NEAP__K_CODE, "neap.code", methods);
  lua_pop(L, 1);
}

const neap__shared_type neap__code_type = {NEAP__K_CODE, "code", open_code,
                                           destroy_code};

int neap__l_hold_code(lua_State *L) {
  neap__code *code = lua_touserdata(L, 1);
  neap__shared_push(L, neap_of(L), &code->shared);
  return 1;
}

void neap__push_code(lua_State *L, neap_runtime *rt, neap__code *code) {
  neap__reg_get(L, NEAP__R_CODE);
  if (!lua_istable(L, -1) || rt->ncodes >= CODES) {
    lua_pop(L, 1);
    lua_createtable(L, 0, 4);
    lua_pushvalue(L, -1);
    neap__reg_set(L, NEAP__R_CODE);
    rt->ncodes = 0;
  }
  /* Its object is the key: as long as it is there, so is the code. */
  neap__shared_push(L, rt, &code->shared);
  lua_pushvalue(L, -1);
  if (lua_rawget(L, -3) == LUA_TNIL) {
    lua_pop(L, 1);
    int top = lua_gettop(L);
    if (neap__unpack(L, rt, &code->packet, 0) != 1)
      luaL_error(L, "no function came");
    lua_settop(L, top + 1);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, -5);
    rt->ncodes++;
  }
  lua_replace(L, -3);
  lua_pop(L, 1);
}
