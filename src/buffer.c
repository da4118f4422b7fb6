/* SPDX-License-Identifier: MIT
 *
 * buffer.c - thread.Buffer: bytes that several threads hold, of a size that is fixed.
 *
 * Each call takes the buffer's mutex once, so it is one step for the other threads.
 * Nothing of Lua's is called while it is held: what goes in is checked before, what comes
 * out has its place made before.
 */
#include "share.h"

#include <stdlib.h>
#include <string.h>

#define ALIGN 16 /* the most that a format may ask for, as in Lua */

typedef struct buffer {
  neap__shared shared; /* first */
  uv_mutex_t mutex;    /* guards the bytes */
  size_t size;
  _Alignas(ALIGN) unsigned char bytes[];
} buffer;

#define SIZE_LIMIT ((size_t)PTRDIFF_MAX - sizeof(buffer))

static void buffer_open(lua_State *L, neap_runtime *rt);

static void destroy(neap__shared *shared) {
  buffer *b = (buffer *)(void *)shared;
  uv_mutex_destroy(&b->mutex);
  free(b);
}

static const neap__shared_type buffer_type = {NEAP__K_BUFFER, "Buffer",
                                              buffer_open, destroy};

static buffer *self(lua_State *L, neap_runtime *rt) {
  return (buffer *)(void *)neap__shared_check(L, rt, 1, &buffer_type);
}

/* ---- making ---------------------------------------------------------------------- */

static buffer *new_buffer(const char *bytes, size_t size) {
  /* calloc, since zeros that nobody touches may cost no memory. */
  buffer *b = calloc(1, sizeof *b + size);
  if (b == NULL) return NULL;
  neap__shared_init(&b->shared, &buffer_type);
  b->size = size;
  if (uv_mutex_init(&b->mutex) < 0) {
    free(b);
    return NULL;
  }
  if (bytes != NULL) memcpy(b->bytes, bytes, size);
  return b;
}

/* buffer (light userdata) -> its object */
static int l_push(lua_State *L) {
  neap__shared_push(L, neap_of(L), lua_touserdata(L, 1));
  return 1;
}

/* Buffer(size or string) -> a buffer of so many zeros, or of these bytes. */
static int l_buffer(lua_State *L) {
  const char *bytes = NULL;
  size_t size;
  if (lua_type(L, 1) == LUA_TSTRING) {
    bytes = lua_tolstring(L, 1, &size);
  } else {
    if (lua_type(L, 1) != LUA_TNUMBER) luaL_typeerror(L, 1, "size or string");
    lua_Integer n = luaL_checkinteger(L, 1);
    luaL_argcheck(L, n >= 0 && (lua_Unsigned)n <= SIZE_LIMIT, 1,
                  "size out of range");
    size = (size_t)n;
  }
  buffer *b = new_buffer(bytes, size);
  if (b == NULL) luaL_error(L, "not enough memory");
  lua_pushcfunction(L, l_push);
  lua_pushlightuserdata(L, b);
  int status = lua_pcall(L, 1, 1, 0);
  neap__shared_unref(&b->shared); /* the object has its own */
  if (status != LUA_OK) lua_error(L);
  /* The collector is told of what it does not see, as if Lua had allocated it. */
  if (size >= 1024 && lua_gc(L, LUA_GCISRUNNING))
    lua_gc(
        L, LUA_GCSTEP,
        (int)(size / 1024 < INT32_MAX / 2048 ? size / 1024 : INT32_MAX / 2048));
  return 1;
}

/* ---- strings ---------------------------------------------------------------------- */

/* The range i..j as string.sub takes it: where it begins, and its length. */
static size_t range(lua_State *L, const buffer *b, int arg, size_t *from) {
  lua_Integer size = (lua_Integer)b->size;
  lua_Integer i = luaL_optinteger(L, arg, 1);
  lua_Integer j = luaL_optinteger(L, arg + 1, -1);
  if (i < 0) i = i < -size ? 1 : size + i + 1;
  if (i == 0) i = 1;
  if (j < 0) j = j < -size ? 0 : size + j + 1;
  if (j > size) j = size;
  if (i > j) return 0;
  *from = (size_t)i - 1;
  return (size_t)(j - i) + 1;
}

/* Pushes a copy of these bytes. [-0, +1, m] */
static void push_bytes(lua_State *L, buffer *b, size_t from, size_t n) {
  luaL_Buffer out;
  char *to = luaL_buffinitsize(L, &out, n);
  uv_mutex_lock(&b->mutex);
  memcpy(to, b->bytes + from, n);
  uv_mutex_unlock(&b->mutex);
  luaL_pushresultsize(&out, n);
}

/* buffer:sub(i, j) -> string */
static int l_sub(lua_State *L) {
  buffer *b = self(L, neap__rt(L));
  size_t from = 0;
  size_t n = range(L, b, 2, &from);
  push_bytes(L, b, from, n);
  return 1;
}

/* The position in argument 2, from 0, of something of `n` bytes. */
static size_t check_place(lua_State *L, const buffer *b, size_t n) {
  lua_Integer pos = luaL_checkinteger(L, 2);
  luaL_argcheck(L,
                pos >= 1 && (lua_Unsigned)pos - 1 <= b->size &&
                    n <= b->size - (size_t)(pos - 1),
                2, "outside the buffer");
  return (size_t)(pos - 1);
}

/* buffer:write(pos, s, ...) -> the position behind what was written */
static int l_write(lua_State *L) {
  buffer *b = self(L, neap__rt(L));
  int top = lua_gettop(L);
  size_t total = 0, length;
  luaL_checkinteger(L, 2);
  luaL_checkstring(L, 3);
  for (int i = 3; i <= top; i++) {
    luaL_checklstring(L, i, &length); /* a number becomes a string here */
    total = length > SIZE_MAX - total ? SIZE_MAX : total + length;
  }
  size_t at = check_place(L, b, total);
  uv_mutex_lock(&b->mutex);
  unsigned char *to = b->bytes + at;
  for (int i = 3; i <= top; i++) {
    const char *s = lua_tolstring(L, i, &length);
    memcpy(to, s, length);
    to += length;
  }
  uv_mutex_unlock(&b->mutex);
  at += total + 1;
  lua_pushinteger(L, (lua_Integer)at);
  return 1;
}

/* buffer:fill(byte, i, j): bytes i to j, as string.sub takes them */
static int l_fill(lua_State *L) {
  buffer *b = self(L, neap__rt(L));
  lua_Integer byte = luaL_checkinteger(L, 2);
  luaL_argcheck(L, byte >= 0 && byte <= 255, 2, "byte out of range");
  size_t from = 0;
  size_t n = range(L, b, 3, &from);
  uv_mutex_lock(&b->mutex);
  memset(b->bytes + from, (int)byte, n);
  uv_mutex_unlock(&b->mutex);
  return 0;
}

/* ---- numbers ------------------------------------------------------------------------ */

/* buffer:add(pos, n) -> the new value of the integer of 8 bytes there */
static int l_add(lua_State *L) {
  buffer *b = self(L, neap__rt(L));
  lua_Unsigned value;
  lua_Unsigned n = (lua_Unsigned)luaL_optinteger(L, 3, 1);
  size_t at = check_place(L, b, sizeof value);
  luaL_argcheck(L, at % sizeof value == 0, 2, "not aligned to 8 bytes");
  uv_mutex_lock(&b->mutex);
  memcpy(&value, b->bytes + at, sizeof value);
  value += n; /* wraps around, as integers of Lua do */
  memcpy(b->bytes + at, &value, sizeof value);
  uv_mutex_unlock(&b->mutex);
  lua_pushinteger(L, (lua_Integer)value);
  return 1;
}

enum { UP_PACK = 2, UP_PACKSIZE, UP_UNPACK };

/* Calls a function of the string library; its error gets our place. [-(n+1), +r, v] */
static void call_string(lua_State *L, int n, int nresults) {
  if (lua_pcall(L, n, nresults, 0) == LUA_OK) return;
  if (lua_type(L, -1) == LUA_TSTRING) {
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  lua_error(L);
}

/* Pushes the function and the format at `arg`, behind as much padding as there are
 * bytes between `at` and an aligned place, so that it aligns as in the whole buffer.
 * [-0, +2, m] */
static void push_call(lua_State *L, int upvalue, int arg, size_t at) {
  lua_pushvalue(L, lua_upvalueindex(upvalue));
  if (lua_isnil(L, -1)) luaL_error(L, "the string library is missing");
  lua_pushlstring(L, "xxxxxxxxxxxxxxxx", at % ALIGN);
  lua_pushvalue(L, arg);
  lua_concat(L, 2);
}

/* buffer:get(fmt, pos) -> values, the position behind them; as string.unpack */
static int l_get(lua_State *L) {
  buffer *b = self(L, neap__rt(L));
  luaL_checkstring(L, 2);
  lua_Integer pos = luaL_optinteger(L, 3, 1);
  luaL_argcheck(L, pos >= 1 && (lua_Unsigned)pos - 1 <= b->size, 3,
                "outside the buffer");
  lua_settop(L, 2);
  size_t at = (size_t)(pos - 1);
  size_t from = at - at % ALIGN, n = b->size - from;
  push_call(L, UP_PACKSIZE, 2, at);
  if (lua_pcall(L, 1, 1, 0) == LUA_OK) { /* of a fixed size */
    size_t size = (size_t)lua_tointeger(L, -1);
    luaL_argcheck(L, size <= n, 3, "outside the buffer");
    n = size;
  }
  lua_settop(L, 2);
  push_call(L, UP_UNPACK, 2, at);
  push_bytes(L, b, from, n);
  call_string(L, 2, LUA_MULTRET);
  lua_pushinteger(L, lua_tointeger(L, -1) + (lua_Integer)from);
  lua_replace(L, -2);
  return lua_gettop(L) - 2;
}

/* buffer:set(pos, fmt, ...) -> the position behind; as string.pack */
static int l_set(lua_State *L) {
  buffer *b = self(L, neap__rt(L));
  int top = lua_gettop(L);
  luaL_checkinteger(L, 2);
  luaL_checkstring(L, 3);
  size_t at = check_place(L, b, 0), n;
  luaL_checkstack(L, top, "too many values");
  push_call(L, UP_PACK, 3, at);
  for (int i = 4; i <= top; i++)
    lua_pushvalue(L, i);
  call_string(L, top - 2, 1);
  const char *bytes = lua_tolstring(L, -1, &n);
  bytes += at % ALIGN;
  n -= at % ALIGN;
  check_place(L, b, n);
  uv_mutex_lock(&b->mutex);
  memcpy(b->bytes + at, bytes, n);
  uv_mutex_unlock(&b->mutex);
  at += n + 1;
  lua_pushinteger(L, (lua_Integer)at);
  return 1;
}

/* ---- the class ------------------------------------------------------------------------- */

static int l_len(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)self(L, neap__rt(L))->size);
  return 1;
}

static int l_tostring(lua_State *L) {
  const buffer *b = self(L, neap__rt(L));
  lua_pushfstring(L, "<Buffer of %I bytes: %p>", (LUAI_UACINT)b->size,
                  (const void *)b);
  return 1;
}

/* Functions that use those of the string library. [-0, +0, m] */
static void set_formats(lua_State *L, neap_runtime *rt) {
  static const char *const names[] = {"pack", "packsize", "unpack"};
  static const luaL_Reg funcs[] = {{"get", l_get}, {"set", l_set}};
  int class = lua_gettop(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  bool there = lua_getfield(L, -1, "string") == LUA_TTABLE;
  int lib = lua_gettop(L);
  for (size_t i = 0; i < sizeof funcs / sizeof *funcs; i++) {
    neap__push_self(L, rt);
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
      if (there) {
        lua_getfield(L, lib, names[k]);
      } else {
        lua_pushnil(L);
      }
    }
    lua_pushcclosure(L, funcs[i].func, 4);
    lua_setfield(L, class, funcs[i].name);
  }
  lua_settop(L, class);
}

static void buffer_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {
      {"sub", l_sub},
      {"write", l_write},
      {"fill", l_fill},
      {"add", l_add},
      {"__len", l_len},
      {"__tostring", l_tostring},
      {"__gc", neap__l_shared_gc},
      {NULL, NULL},
  };
  luaL_checkstack(L, 12, NULL);
  neap__new_class(L, rt, NEAP__K_BUFFER, "neap.Buffer", methods);
  set_formats(L, rt);
  lua_pop(L, 1);
}

int neap__open_buffer(lua_State *L) {
  static const luaL_Reg functions[] = {{"Buffer", l_buffer}, {NULL, NULL}};
  lua_createtable(L, 0, 1);
  neap__set_funcs(L, neap_of(L), functions);
  return 1;
}
