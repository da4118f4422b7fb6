/* SPDX-License-Identifier: MIT
 *
 * names.c - what crosses by its name: loaded modules, functions and userdata in them,
 * the table of globals, classes of errors, and metatables that were given one.
 *
 * A name is a letter and what it says:
 *   g  the table of globals
 *   m  a module: its name
 *   f  a field of a module: length of the module's name as 4 bytes, it, the field
 *   c  a class of errors: its number as a byte
 *   r  what was registered: length of the name of a module that has it as 4 bytes (0 when
 *      none is known), that, the name
 *
 * The names are kept by value in a table with weak keys. A set of the addresses stands
 * before it, so that the tables of a program's data cost no look into Lua; it may hold
 * addresses of values that are gone.
 */
#include "packcode.h"

#include <lualib.h>

#include <stdlib.h>

/* Names of modules: those of Lua first, so that nobody's copy of print is taken for
 * where it comes from. */
static int rank(const char *name) {
  static const char *const first[] = {"_G",      "string",    "table", "math",
                                      "io",      "os",        "utf8",  "debug",
                                      "package", "coroutine", "neap"};
  int n = (int)(sizeof first / sizeof *first);
  for (int i = 0; i < n; i++)
    if (strcmp(name, first[i]) == 0) return i;
  return n;
}

static int by_rank(const void *a, const void *b) {
  const char *x = *(const char *const *)a, *y = *(const char *const *)b;
  int order = rank(x) - rank(y);
  return order != 0 ? order : strcmp(x, y);
}

/* Pushes the table of names, made where there is none. [-0, +1, m] */
static void push_store(lua_State *L) {
  neap__reg_get(L, NEAP__R_NAMES);
  if (lua_istable(L, -1)) return;
  lua_pop(L, 1);
  lua_createtable(L, 3, 0);
  for (int i = NEAP__N_NAMES; i <= NEAP__N_LIST; i++) {
    lua_createtable(L, 0, 0);
    lua_rawseti(L, -2, i);
  }
  lua_pushvalue(L, -1);
  neap__reg_set(L, NEAP__R_NAMES);
}

/* A mark of which modules are loaded. [-0, +0, -] */
static uint64_t mark_of_loaded(lua_State *L) {
  uint64_t sum = 1;
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_istable(L, -1)) {
    lua_pushnil(L);
    while (lua_next(L, -2)) {
      uint64_t key = (uint64_t)(uintptr_t)lua_topointer(L, -2);
      uint64_t value = (uint64_t)(uintptr_t)lua_topointer(L, -1);
      uint64_t x = (key ^ value * UINT64_C(0x9e3779b97f4a7c15)) *
                   UINT64_C(0xbf58476d1ce4e5b9);
      sum += x ^ x >> 29;
      lua_pop(L, 1);
    }
  }
  lua_pop(L, 1);
  return sum;
}

bool neap__names_current(lua_State *L, const struct neap__packer *packer) {
  return packer->names_known && packer->loaded == mark_of_loaded(L);
}

void neap__names_changed(neap_runtime *rt) {
  if (rt->packer != NULL) rt->packer->names_known = false;
}

/* ---- looking them up --------------------------------------------------------------- */

/* The indices of l_build. */
enum { B_STORE = 1, B_NAMES, B_LOADED, B_LIST, B_MODULE };

/* The value on top has the name below it, unless it has one. [-2, +0, m] */
static void name_it(lua_State *L) {
  lua_pushvalue(L, -1);
  if (lua_rawget(L, B_NAMES) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_insert(L, -2);
    lua_rawset(L, B_NAMES);
    return;
  }
  /* Of several fields of one module the first in the alphabet. */
  size_t a, b;
  const char *old = lua_tolstring(L, -1, &a), *new = lua_tolstring(L, -3, &b);
  uint32_t x = 0, y = 0;
  if (*old == 'f' && *new == 'f') {
    memcpy(&x, old + 1, sizeof x);
    memcpy(&y, new + 1, sizeof y);
  }
  if (x > 0 && x == y && memcmp(old, new, 5 + x) == 0 &&
      strcmp(new + 5 + x, old + 5 + x) < 0) {
    lua_pop(L, 1);
    lua_insert(L, -2);
    lua_rawset(L, B_NAMES);
    return;
  }
  lua_pop(L, 3);
}

/* Pushes the name of a field. [-0, +1, m] */
static void push_field_name(lua_State *L, const char *module, size_t length,
                            int field) {
  uint32_t n = (uint32_t)length;
  luaL_Buffer b;
  field = lua_absindex(L, field);
  luaL_buffinit(L, &b);
  luaL_addchar(&b, 'f');
  luaL_addlstring(&b, (const char *)&n, sizeof n);
  luaL_addlstring(&b, module, length);
  lua_pushvalue(L, field);
  luaL_addvalue(&b);
  luaL_pushresult(&b);
}

/* The table on top is the module's, or in it: if it was registered, its name tells so, for
 * the other side may have to load the module first. [-1, +0, m] */
static void add_module(lua_State *L, const char *module, size_t length) {
  size_t n;
  uint32_t known = 1;
  int top = lua_gettop(L);
  lua_pushvalue(L, top);
  const char *name =
      lua_rawget(L, B_NAMES) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : "";
  if (*name == 'r') memcpy(&known, name + 1, sizeof known);
  if (known == 0) {
    uint32_t size = (uint32_t)length;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    luaL_addchar(&b, 'r');
    luaL_addlstring(&b, (const char *)&size, sizeof size);
    luaL_addlstring(&b, module, length);
    luaL_addlstring(&b, name + 1 + sizeof size, n - 1 - sizeof size);
    luaL_pushresult(&b);
    lua_pushvalue(L, top);
    lua_insert(L, -2);
    lua_rawset(L, B_NAMES);
  }
  lua_settop(L, top - 1);
}

/* Names what is in the module at B_MODULE. */
static void name_fields(lua_State *L, const char *module, size_t length) {
  bool globals = strcmp(module, "_G") == 0;
  lua_pushnil(L);
  while (lua_next(L, B_MODULE)) {
    int type = lua_type(L, -1);
    if (lua_type(L, -2) == LUA_TSTRING &&
        ((type == LUA_TFUNCTION && (!globals || lua_iscfunction(L, -1))) ||
         (!globals && (type == LUA_TUSERDATA || type == LUA_TLIGHTUSERDATA)))) {
      push_field_name(L, module, length, -2);
      lua_pushvalue(L, -2);
      name_it(L);
    } else if (type == LUA_TTABLE && !globals) {
      lua_pushvalue(L, -1);
      add_module(L, module, length);
    }
    lua_pop(L, 1);
  }
}

/* Names the module `name` and what is in it. */
static void name_module(lua_State *L, int i) {
  size_t length;
  lua_rawgeti(L, B_LIST, i);
  const char *name = lua_tolstring(L, -1, &length);
  lua_rawget(L, B_LOADED);
  lua_replace(L, B_MODULE);
  int type = lua_type(L, B_MODULE);
  if (type == LUA_TTABLE || type == LUA_TFUNCTION || type == LUA_TUSERDATA) {
    lua_pushliteral(L, "m");
    lua_rawgeti(L, B_LIST, i);
    lua_concat(L, 2);
    lua_pushvalue(L, B_MODULE);
    name_it(L);
  }
  if (type == LUA_TTABLE) {
    lua_pushvalue(L, B_MODULE);
    add_module(L, name, length);
    name_fields(L, name, length);
  }
}

static void name_modules(lua_State *L) {
  int n = 0;
  lua_pushnil(L);
  while (lua_next(L, B_LOADED)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) == LUA_TSTRING) n++;
  }
  const char **order = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *order, 0);
  int found = 0;
  lua_pushnil(L);
  while (lua_next(L, B_LOADED)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) == LUA_TSTRING && found < n)
      order[found++] = lua_tostring(L, -1);
  }
  qsort(order, (size_t)found, sizeof *order, by_rank);
  lua_createtable(L, found, 0);
  lua_replace(L, B_LIST);
  for (int i = 0; i < found; i++) {
    lua_pushstring(L, order[i]);
    lua_rawseti(L, B_LIST, i + 1);
  }
  for (int i = 1; i <= found; i++)
    name_module(L, i);
}

/* Functions of Lua's own that ours have replaced: a program may have kept them. They are
 * opened again, into a table that takes the place of the globals meanwhile. */
static void name_replaced(lua_State *L) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  lua_pushcfunction(L, luaopen_base);
  lua_createtable(L, 0, 32);
  lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  int status = lua_pcall(L, 0, 1, 0);
  lua_pushvalue(L, B_MODULE + 1);
  lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  if (status != LUA_OK) lua_error(L);
  lua_replace(L, B_MODULE);
  name_fields(L, "_G", 2);
  lua_pushcfunction(L, luaopen_coroutine);
  lua_call(L, 0, 1);
  lua_replace(L, B_MODULE);
  name_fields(L, "coroutine", 9);
  lua_settop(L, B_MODULE);
}

static void name_classes(lua_State *L) {
  neap__reg_get(L, NEAP__R_CLASSES);
  for (int class = 0; class < NEAP__CLASSES; class ++) {
    char name[2] = {'c', (char)class};
    lua_pushlstring(L, name, sizeof name);
    lua_rawgeti(L, B_MODULE + 1, class + 1);
    name_it(L);
  }
  lua_settop(L, B_MODULE);
}

static void name_registered(lua_State *L) {
  lua_rawgeti(L, B_STORE, NEAP__N_TABLES);
  lua_pushnil(L);
  while (lua_next(L, B_MODULE + 1)) {
    lua_pushlstring(L, "r\0\0\0\0", 5); /* no module yet */
    lua_pushvalue(L, -3);
    lua_concat(L, 2);
    lua_rotate(L, -2, 1);
    name_it(L);
  }
  lua_settop(L, B_MODULE);
}

/* Writes down where the values are that have names. [-0, +0, m] */
static void note_addresses(lua_State *L, neap_runtime *rt) {
  struct neap__packer *packer = rt->packer;
  uint32_t n = 0, capacity = 16;
  lua_pushnil(L);
  while (lua_next(L, B_NAMES)) {
    n++;
    lua_pop(L, 1);
  }
  while (capacity < 2 * n)
    capacity *= 2;
  const void **set = neap__alloc(rt, NULL, 0, capacity * sizeof *set);
  if (set == NULL) luaL_error(L, "not enough memory");
  memset(set, 0, capacity * sizeof *set);
  lua_pushnil(L);
  while (lua_next(L, B_NAMES)) {
    const void *pointer = lua_topointer(L, -2);
    lua_pop(L, 1);
    if (pointer == NULL) continue;
    uint32_t at = neap__pointer_hash(pointer) & (capacity - 1);
    while (set[at] != NULL)
      at = (at + 1) & (capacity - 1);
    set[at] = pointer;
  }
  neap__alloc(rt, packer->named, packer->named_capacity * sizeof *set, 0);
  packer->named = set;
  packer->named_capacity = capacity;
}

/* runtime (light userdata). The collector stands still, so that no finalizer changes a
 * table under lua_next. */
static int l_build(lua_State *L) {
  neap_runtime *rt = lua_touserdata(L, 1);
  uint64_t mark = mark_of_loaded(L);
  lua_settop(L, 0);
  luaL_checkstack(L, 20, NULL);
  push_store(L);
  lua_createtable(L, 0, 64);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (!lua_istable(L, B_LOADED)) {
    lua_createtable(L, 0, 0);
    lua_replace(L, B_LOADED);
  }
  lua_settop(L, B_MODULE);
  lua_pushliteral(L, "g");
  lua_pushglobaltable(L);
  name_it(L);
  name_classes(L);
  name_registered(L);
  name_modules(L);
  lua_settop(L, B_MODULE);
  name_replaced(L);
  note_addresses(L, rt);
  lua_pushvalue(L, B_NAMES);
  lua_rawseti(L, B_STORE, NEAP__N_NAMES);
  rt->packer->loaded = mark;
  rt->packer->names_known = true;
  return 0;
}

void neap__names_build(lua_State *L, neap_runtime *rt) {
  neap__packer(L, rt);
  luaL_checkstack(L, 4, NULL);
  bool collects = lua_gc(L, LUA_GCISRUNNING);
  lua_gc(L, LUA_GCSTOP);
  lua_pushcfunction(L, l_build);
  lua_pushlightuserdata(L, rt);
  int status = lua_pcall(L, 1, 0, 0);
  if (collects) lua_gc(L, LUA_GCRESTART);
  if (status != LUA_OK) lua_error(L);
}

/* ---- finding what has a name --------------------------------------------------------- */

/* Pushes the module. Runs Lua code where it is not loaded. [-0, +1, v] */
static void push_module(lua_State *L, const char *name, size_t length) {
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_pushlstring(L, name, length);
  if (lua_istable(L, -2)) {
    lua_pushvalue(L, -1);
    if (lua_rawget(L, -3) != LUA_TNIL) {
      lua_replace(L, -3);
      lua_pop(L, 1);
      return;
    }
    lua_pop(L, 1);
  }
  if (lua_getglobal(L, "require") != LUA_TFUNCTION)
    luaL_error(L, "module '%s' is not loaded here, and there is no require",
               lua_tostring(L, -2));
  lua_replace(L, -3);
  lua_call(L, 1, 1);
}

/* The length of the module's name that a name begins with, and what follows. */
static uint32_t length_of_module(lua_State *L, const char **name,
                                 size_t *length) {
  uint32_t n = UINT32_MAX;
  if (*length > sizeof n) memcpy(&n, *name, sizeof n);
  if (*length <= sizeof n || n > *length - sizeof n)
    luaL_error(L, "bad packet (a name)");
  *name += sizeof n;
  *length -= sizeof n;
  return n;
}

static void push_field(lua_State *L, const char *name, size_t length) {
  uint32_t n = length_of_module(L, &name, &length);
  push_module(L, name, n);
  lua_pushlstring(L, name + n, length - n);
  bool found = false;
  if (lua_istable(L, -2)) {
    lua_pushvalue(L, -1);
    found = lua_gettable(L, -3) != LUA_TNIL;
  }
  if (!found) {
    lua_pushlstring(L, name, n);
    lua_pushlstring(L, name + n, length - n);
    luaL_error(L, "module '%s' has no '%s' here", lua_tostring(L, -2),
               lua_tostring(L, -1));
  }
  lua_replace(L, -3);
  lua_pop(L, 1);
}

/* Pushes the metatable of that name, or nil. [-0, +1, m] */
static void find_registered(lua_State *L, const char *name, size_t length) {
  push_store(L);
  lua_rawgeti(L, -1, NEAP__N_TABLES);
  lua_pushlstring(L, name, length);
  lua_rawget(L, -2);
  lua_replace(L, -3);
  lua_pop(L, 1);
}

static void push_registered(lua_State *L, const char *name, size_t length) {
  uint32_t n = length_of_module(L, &name, &length);
  find_registered(L, name + n, length - n);
  if (lua_isnil(L, -1) && n > 0) {
    lua_pop(L, 1);
    push_module(L, name, n);
    lua_pop(L, 1);
    find_registered(L, name + n, length - n);
  }
  if (lua_isnil(L, -1)) {
    lua_pushlstring(L, name + n, length - n);
    luaL_error(L, "metatable '%s' is not registered here", lua_tostring(L, -1));
  }
}

void neap__named(lua_State *L, neap_runtime *rt, const char *name,
                 size_t length) {
  (void)rt;
  luaL_checkstack(L, 8, NULL);
  switch (length > 0 ? *name : 0) {
  case 'g':
    lua_pushglobaltable(L);
    return;
  case 'm':
    push_module(L, name + 1, length - 1);
    return;
  case 'f':
    push_field(L, name + 1, length - 1);
    return;
  case 'r':
    push_registered(L, name + 1, length - 1);
    return;
  case 'c':
    if (length != 2 || (unsigned char)name[1] >= NEAP__CLASSES) break;
    neap__reg_get(L, NEAP__R_CLASSES);
    lua_rawgeti(L, -1, (unsigned char)name[1] + 1);
    lua_replace(L, -2);
    return;
  default:
    break;
  }
  luaL_error(L, "bad packet (a name)");
}

void neap__names_register(lua_State *L, neap_runtime *rt) {
  int name = lua_gettop(L) - 1, mt = name + 1;
  luaL_checkstack(L, 8, NULL);
  push_store(L);
  lua_rawgeti(L, -1, NEAP__N_TABLES);
  int tables = lua_gettop(L);
  lua_pushvalue(L, name);
  if (lua_rawget(L, tables) != LUA_TNIL && !lua_rawequal(L, -1, mt))
    luaL_error(L, "the name '%s' is taken by another metatable",
               lua_tostring(L, name));
  lua_pushnil(L);
  while (lua_next(L, tables)) {
    if (lua_rawequal(L, -1, mt) && !lua_rawequal(L, -2, name))
      luaL_error(L, "the metatable is registered as '%s' already",
                 lua_tostring(L, -2));
    lua_pop(L, 1);
  }
  lua_pushvalue(L, name);
  lua_pushvalue(L, mt);
  lua_rawset(L, tables);
  neap__names_changed(rt);
  lua_settop(L, name - 1);
}
