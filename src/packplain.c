/* SPDX-License-Identifier: MIT
 *
 * packplain.c - packets of plain values: numbers, strings and the like. Most messages are
 * such; they are written where they stay, and the small ones into the packet itself.
 */
#include "packcode.h"

static unsigned char *put_number_at(lua_State *L, int i, unsigned char *p) {
  return lua_isinteger(L, i) ? neap__put_integer(p, lua_tointeger(L, i))
                             : neap__put_float(p, lua_tonumber(L, i));
}

/* Those that fit into the packet. False too when they do not. */
static bool pack_small(lua_State *L, int first, int n, neap__packet *out) {
  unsigned char bytes[NEAP__PACKET_SMALL + 12], *p = bytes;
  unsigned char *const end = bytes + NEAP__PACKET_SMALL;
  if (n > NEAP__PACKET_SMALL) return false;
  *p++ = (unsigned char)n;
  *p++ = 0;
  for (int i = first; i < first + n; i++) {
    switch (lua_type(L, i)) {
    case LUA_TNIL:
      *p++ = NEAP__C_NIL;
      break;
    case LUA_TBOOLEAN:
      *p++ = lua_toboolean(L, i) ? NEAP__C_TRUE : NEAP__C_FALSE;
      break;
    case LUA_TNUMBER:
      p = put_number_at(L, i, p);
      break;
    case LUA_TSTRING: {
      size_t length;
      const char *s = lua_tolstring(L, i, &length);
      if (length >= (size_t)(end - p)) return false;
      *p++ = (unsigned char)(NEAP__C_SHORT + length);
      memcpy(p, s, length);
      p += length;
      break;
    }
    default:
      return false;
    }
    if (p > end) return false;
  }
  out->nrefs = 0;
  out->size = (uint32_t)(p - bytes);
  memcpy(out->small, bytes, NEAP__PACKET_SMALL);
  return true;
}

#define MOST 11 /* bytes of a number, or before those of a string */

/* How many bytes the values take at most; 0 when one is not plain. */
static size_t measure(lua_State *L, int first, int n) {
  size_t size = (size_t)2 * MOST;
  for (int i = first; i < first + n; i++) {
    switch (lua_type(L, i)) {
    case LUA_TNIL:
    case LUA_TBOOLEAN:
    case LUA_TNUMBER:
      size += MOST;
      break;
    case LUA_TSTRING:
      size += lua_rawlen(L, i) + MOST;
      break;
    default:
      return 0;
    }
  }
  return size;
}

static unsigned char *put_string(unsigned char *p, lua_State *L, int i) {
  size_t length;
  const char *s = lua_tolstring(L, i, &length);
  if (length <= NEAP__SHORT_MAX) {
    *p++ = (unsigned char)(NEAP__C_SHORT + length);
  } else {
    *p++ = NEAP__C_STRING;
    p = neap__put_number(p, length);
  }
  memcpy(p, s, length);
  return p + length;
}

static unsigned char *put_all(lua_State *L, int first, int n,
                              unsigned char *p) {
  unsigned nobjects = 0;
  for (int i = first; i < first + n; i++)
    nobjects +=
        lua_type(L, i) == LUA_TSTRING && lua_rawlen(L, i) > NEAP__SHORT_MAX;
  p = neap__put_number(neap__put_number(p, (uint64_t)n), nobjects);
  for (int i = first; i < first + n; i++) {
    switch (lua_type(L, i)) {
    case LUA_TNIL:
      *p++ = NEAP__C_NIL;
      break;
    case LUA_TBOOLEAN:
      *p++ = lua_toboolean(L, i) ? NEAP__C_TRUE : NEAP__C_FALSE;
      break;
    case LUA_TNUMBER:
      p = put_number_at(L, i, p);
      break;
    default:
      p = put_string(p, L, i);
      break;
    }
  }
  return p;
}

bool neap__pack_plain(lua_State *L, int first, int n, neap__packet *out) {
  if (pack_small(L, first, n, out)) return true;
  size_t size = measure(L, first, n);
  if (size == 0) return false;
  if (size > UINT32_MAX) luaL_error(L, "the values are too large to cross");
  unsigned char *bytes = neap__share_alloc(NULL, size);
  if (bytes == NULL) luaL_error(L, "not enough memory");
  size = (size_t)(put_all(L, first, n, bytes) - bytes);
  *out = (neap__packet){.size = (uint32_t)size};
  out->big.refs = (neap__shared **)(void *)bytes;
  out->big.data = bytes;
  return true;
}
