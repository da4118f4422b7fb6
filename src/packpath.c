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

/* Pushes ["text"], its first 40 bytes, what cannot be shown as Lua would write it. */
static void push_quoted(lua_State *L, const char *s, size_t n) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  luaL_addstring(&b, "[\"");
  for (size_t i = 0; i < n && i < 40; i++) {
    unsigned char c = (unsigned char)s[i];
    char code[8];
    if (c == '"' || c == '\\') luaL_addchar(&b, '\\');
    if (c >= ' ' && c != 127) {
      luaL_addchar(&b, s[i]);
    } else {
      snprintf(code, sizeof code, "\\%03d", c);
      luaL_addstring(&b, code);
    }
  }
  luaL_addstring(&b, n <= 40 ? "\"]" : "...\"]");
  luaL_pushresult(&b);
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
      push_quoted(L, s, n);
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

/* Pushes the objects on the way to this one, from the outermost on; of a long way those
 * at its ends. Allocates nothing: finalizers may write packets of their own. Returns how
 * many there are. */
static int push_chain(neap__writer *w, uint32_t number, bool *is_long) {
  const uint32_t *parents = w->packer->parents;
  uint32_t depth = 0;
  int pushed = 0;
  *is_long = false;
  if (number == NEAP__NO_OBJECT) return 0;
  for (uint32_t i = number; parents[i] != NEAP__NO_OBJECT; i = parents[i])
    depth++;
  *is_long = depth > 2 * STEPS_SHOWN;
  for (uint32_t i = 0; i <= depth; i++) {
    if (*is_long && i == STEPS_SHOWN + 1) i = depth - STEPS_SHOWN;
    uint32_t inner = number;
    for (uint32_t up = depth; up > i; up--)
      inner = parents[inner];
    push_object(w, inner);
    pushed++;
  }
  return pushed;
}

/* Pushes how one gets to the last of the n objects at `chain`. */
static void push_path(neap__writer *w, int chain, int n, bool is_long,
                      const char *what) {
  lua_State *L = w->L;
  int root = 0;
  while (root < w->n - 1 &&
         !lua_rawequal(L, n > 0 ? chain : w->bad, w->first + root))
    root++;
  if (w->n == 1 && *what != '\0' && what[strlen(what) - 1] == ':') {
    lua_pushlstring(L, what, strlen(what) - 1);
  } else {
    lua_pushfstring(L, "%s %d", what, root + 1);
  }
  int parts = 1;
  for (int i = 1; i < n; i++, parts++) {
    if (is_long && i == STEPS_SHOWN + 1) {
      lua_pushliteral(L, "...");
    } else {
      lua_pushvalue(L, chain + i);
      push_step(L, chain + i - 1);
    }
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
  bool is_long;
  int chain = lua_gettop(L) + 1;
  int n = push_chain(w, w->at, &is_long);
  neap__packer_forget(L, w->packer);
  neap__packer_drop_refs(w->packer);
  neap__packer_trim(w->rt, w->packer, NEAP__PLACES_KEPT, NEAP__BUFFER_KEPT);
  push_path(w, chain, n, is_long, what);
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
  return lua_error(L);
}
