/* SPDX-License-Identifier: MIT
 *
 * packpath.c - says where the value is that cannot cross, and why not.
 */
#include "packcode.h"

static void push_object(neap__writer *w, uint32_t number) {
  if (number < NEAP__STACKED) {
    lua_pushvalue(w->L, w->base + NEAP__S_OBJECTS + (int)number);
  } else {
    lua_rawgeti(w->L, w->base + NEAP__S_LIST, (lua_Integer)number + 1);
  }
}

/* Pushes how one gets to the key on top: ".name", "[3]". [-1, +1, m] */
static void push_key(lua_State *L) {
  switch (lua_type(L, -1)) {
  case LUA_TSTRING: {
    size_t n;
    const char *s = lua_tolstring(L, -1, &n);
    size_t letters = strspn(s, "abcdefghijklmnopqrstuvwxyz"
                               "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
    if (n > 0 && n == letters && n <= 60 && strchr("0123456789", *s) == NULL) {
      lua_pushfstring(L, ".%s", s);
    } else {
      lua_pushlstring(L, s, n < 40 ? n : 40);
      lua_pushfstring(L, "[\"%s%s\"]", lua_tostring(L, -1),
                      n < 40 ? "" : "...");
      lua_remove(L, -2);
    }
    break;
  }
  case LUA_TNUMBER:
  case LUA_TBOOLEAN:
    luaL_tolstring(L, -1, NULL);
    lua_pushfstring(L, "[%s]", lua_tostring(L, -1));
    lua_remove(L, -2);
    break;
  default:
    lua_pushfstring(L, "[a %s]", luaL_typename(L, -1));
    break;
  }
  lua_remove(L, -2);
}

/* Pushes how one gets from the object at `outer` to the value on top. [-1, +1, m] */
static void push_step(lua_State *L, int outer) {
  int inner = lua_gettop(L);
  if (lua_isfunction(L, outer)) {
    const char *name;
    for (int i = 1; (name = lua_getupvalue(L, outer, i)) != NULL; i++) {
      bool same = lua_rawequal(L, -1, inner);
      lua_pop(L, 1);
      if (!same) continue;
      lua_pushfstring(L, " (upvalue '%s')", name);
      lua_remove(L, inner);
      return;
    }
    lua_pushliteral(L, " (upvalue)");
    lua_remove(L, inner);
    return;
  }
  bool key = false;
  lua_pushnil(L);
  while (lua_next(L, outer)) {
    if (lua_rawequal(L, -1, inner)) {
      lua_pop(L, 1);
      push_key(L);
      lua_remove(L, inner);
      return;
    }
    lua_pop(L, 1);
    key = key || lua_rawequal(L, -1, inner);
  }
  lua_pushstring(L, key ? " (a key)" : " (inside)");
  lua_remove(L, inner);
}

#define STEPS_SHOWN 10 /* at either end of a path */

/* Pushes where the object `number` is. */
static void push_path(neap__writer *w, uint32_t number, const char *what) {
  lua_State *L = w->L;
  const uint32_t *parents = w->packer->parents;
  uint32_t depth = 0, first = number;
  for (; first != NEAP__NO_OBJECT && parents[first] != NEAP__NO_OBJECT;
       first = parents[first])
    depth++;
  int root = 0;
  if (first != NEAP__NO_OBJECT) {
    push_object(w, first);
  } else {
    lua_pushvalue(L, w->bad);
  }
  while (root < w->n - 1 && !lua_rawequal(L, -1, w->first + root))
    root++;
  lua_pop(L, 1);
  if (w->n == 1 && *what != '\0' && what[strlen(what) - 1] == ':') {
    lua_pushlstring(L, what, strlen(what) - 1);
  } else {
    lua_pushfstring(L, "%s %d", what, root + 1);
  }
  /* The steps from the root on; each is found by walking up to it. */
  int parts = 1;
  for (uint32_t i = 1; i <= depth; i++) {
    if (i > STEPS_SHOWN && i + STEPS_SHOWN <= depth) {
      lua_pushliteral(L, "...");
      parts++;
      i = depth - STEPS_SHOWN;
      continue;
    }
    uint32_t inner = number;
    for (uint32_t up = depth; up > i; up--)
      inner = parents[inner];
    push_object(w, parents[inner]);
    int outer = lua_gettop(L);
    push_object(w, inner);
    push_step(L, outer);
    lua_remove(L, outer);
    parts++;
  }
  lua_concat(L, parts);
}

/* Pushes what the value is, in words. */
static void push_kind(lua_State *L, int index) {
  switch (lua_type(L, index)) {
  case LUA_TTHREAD:
    lua_pushliteral(L, "a coroutine");
    return;
  case LUA_TLIGHTUSERDATA:
    lua_pushliteral(L, "a light userdata");
    return;
  case LUA_TFUNCTION:
    lua_pushliteral(L, "a C function that no loaded module has as a field");
    return;
  default:
    break;
  }
  if (luaL_getmetafield(L, index, "__name") == LUA_TSTRING) {
    lua_pushfstring(L, "a userdata (%s)", lua_tostring(L, -1));
    lua_remove(L, -2);
  } else {
    lua_pushliteral(L, "a userdata");
  }
}

/* Raises the error of the value at w->bad. */
int neap__pack_refuse(neap__writer *w, enum neap__why why, const char *what) {
  lua_State *L = w->L;
  int bad = w->bad, key = w->base + NEAP__S_END + 2;
  const char *to =
      w->flags & NEAP__FOREIGN ? "another process" : "another thread";
  luaL_checkstack(L, 40, NULL);
  push_path(w, w->at, what);
  if (w->at != NEAP__NO_OBJECT && w->in == NEAP__IN_FIELD) {
    lua_pushvalue(L, key);
    push_key(L);
    lua_concat(L, 2);
  } else if (w->at != NEAP__NO_OBJECT && w->in == NEAP__IN_UPVALUE) {
    lua_pushfstring(L, " (upvalue '%s')",
                    lua_getupvalue(L, key - 1, w->upvalue));
    lua_remove(L, -2);
    lua_concat(L, 2);
  }
  const char *path = lua_tostring(L, -1);
  if (why == NEAP__W_METATABLE) {
    lua_pushfstring(L,
                    "%s: a table whose metatable has no name there (see "
                    "thread.register) cannot cross to %s",
                    path, to);
  } else if (why == NEAP__W_UNSEALED) {
    lua_pushfstring(L, "%s: a function cannot cross to %s without a key", path,
                    to);
  } else if (why == NEAP__W_SHARED) {
    push_kind(L, bad);
    lua_pushfstring(L, "%s: %s cannot cross to %s", path, lua_tostring(L, -1),
                    to);
  } else {
    push_kind(L, bad);
    lua_pushfstring(L, "%s: %s%s cannot cross to %s", path, lua_tostring(L, -1),
                    w->in == NEAP__IN_KEY ? " as a key" : "", to);
  }
  neap__packer_forget(L, w->packer->nobjects);
  neap__packer_drop_refs(w->packer);
  neap__packer_trim(w->rt, w->packer, NEAP__PLACES_KEPT, NEAP__BUFFER_KEPT);
  return lua_error(L);
}
