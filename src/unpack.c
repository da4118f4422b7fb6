/* SPDX-License-Identifier: MIT
 *
 * unpack.c - reads the bytes of a packet; see packcode.h.
 *
 * They may be any bytes, so everything is checked against what is left: no allocation is
 * larger than the packet gives reason for, nothing recurses, and bytecode from another
 * process is looked at only when its seal is right, for Lua does not check it.
 */
#include "packcode.h"

#include <math.h>

typedef struct reader {
  lua_State *L;
  neap_runtime *rt;
  const neap__packet *packet;
  const unsigned char *p, *end;
  unsigned flags;
  uint32_t nobjects, made; /* objects; how many there are yet */
  int objects;  /* where the first is on the stack, or the table of them */
  size_t hints; /* of sizes that may still be believed */
} reader;

static int bad(reader *r) {
  return luaL_error(r->L, "bad packet");
}

static inline size_t left(const reader *r) {
  return (size_t)(r->end - r->p);
}

static inline unsigned byte(reader *r) {
  if (NEAP__UNLIKELY(r->p == r->end)) bad(r);
  return *r->p++;
}

static uint64_t number(reader *r) {
  uint64_t x = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    uint64_t b = byte(r);
    if (shift == 63 && b > 1) break;
    x |= (b & 0x7f) << shift;
    if (b < 0x80) return x;
  }
  bad(r);
  return 0;
}

static uint64_t word(reader *r, unsigned n) {
  uint64_t x = 0;
  if (left(r) < n) bad(r);
  for (unsigned i = 0; i < n; i++)
    x |= (uint64_t)r->p[i] << (8 * i);
  r->p += n;
  return x;
}

static const char *bytes(reader *r, uint64_t n) {
  if (n > left(r)) bad(r);
  const char *start = (const char *)r->p;
  r->p += n;
  return start;
}

/* ---- objects --------------------------------------------------------------------- */

static inline bool listed(const reader *r) {
  return r->nobjects > NEAP__STACKED;
}

/* Numbers the one on top, which stays. */
static void add_object(reader *r) {
  if (r->made == r->nobjects) bad(r);
  if (listed(r)) {
    lua_pushvalue(r->L, -1);
    lua_rawseti(r->L, r->objects, (lua_Integer)++r->made);
  } else {
    lua_copy(r->L, -1, r->objects + (int)r->made++);
  }
}

static void push_object(reader *r, uint64_t which) {
  if (which >= r->made) bad(r);
  if (listed(r)) {
    lua_rawgeti(r->L, r->objects, (lua_Integer)which + 1);
  } else {
    lua_pushvalue(r->L, r->objects + (int)which);
  }
}

/* A size that is claimed, as far as it can be true. */
static int hint(reader *r, uint64_t size, size_t bytes_each) {
  size_t most = r->hints / bytes_each;
  if (size > most) size = most;
  if (size > INT32_MAX / 2) size = INT32_MAX / 2;
  r->hints -= size * bytes_each;
  return (int)size;
}

static void push_table(reader *r) {
  uint64_t row = number(r), fields = number(r);
  int a = hint(r, row, 1);
  int b = hint(r, fields, 2);
  lua_createtable(r->L, a, b);
  add_object(r);
}

static void push_function(reader *r) {
  uint64_t size = word(r, 4);
  if (r->flags & NEAP__FOREIGN) {
    uint64_t seal = word(r, 8);
    const char *code = bytes(r, size);
    struct neap__packer *packer = r->rt->packer;
    if (packer == NULL || !packer->has_key ||
        neap__seal(packer->key, code, size) != seal)
      luaL_error(r->L, "bad packet (a function whose seal is wrong)");
    r->p -= size;
  }
  const char *code = bytes(r, size);
  if (luaL_loadbufferx(r->L, code, size, "=packet", "b") != LUA_OK)
    lua_error(r->L);
  add_object(r);
}

static void push_shared(reader *r) {
  uint64_t i = number(r);
  if (i >= r->packet->nrefs) bad(r);
  neap__shared_push(r->L, r->rt, r->packet->big.refs[i]);
}

static void push_name(reader *r) {
  uint64_t n = number(r);
  const char *name = bytes(r, n);
  neap__named(r->L, r->rt, name, n);
}

/* ---- values ------------------------------------------------------------------------ */

static void push_float(reader *r) {
  uint64_t x = word(r, 8);
  lua_Number value;
  memcpy(&value, &x, sizeof value);
  lua_pushnumber(r->L, value);
}

/* Pushes the value that begins with this byte. */
static void push_value(reader *r, unsigned code) {
  lua_State *L = r->L;
  uint64_t n;
  if (code >= NEAP__C_SHORT) {
    n = code - NEAP__C_SHORT;
    lua_pushlstring(L, bytes(r, n), n);
    return;
  }
  if (code >= NEAP__C_SMALL) {
    lua_pushinteger(L, (lua_Integer)code - NEAP__C_SMALL + NEAP__SMALL_MIN);
    return;
  }
  switch (code) {
  case NEAP__C_NIL:
    lua_pushnil(L);
    return;
  case NEAP__C_FALSE:
  case NEAP__C_TRUE:
    lua_pushboolean(L, code == NEAP__C_TRUE);
    return;
  case NEAP__C_INTEGER:
    n = number(r);
    lua_pushinteger(L, (lua_Integer)(n >> 1 ^ (n & 1 ? UINT64_MAX : 0)));
    return;
  case NEAP__C_FLOAT:
    push_float(r);
    return;
  case NEAP__C_STRING:
    n = number(r);
    lua_pushlstring(L, bytes(r, n), n);
    add_object(r);
    return;
  case NEAP__C_TABLE:
    push_table(r);
    return;
  case NEAP__C_FUNCTION:
    push_function(r);
    return;
  case NEAP__C_REF:
    push_object(r, number(r));
    return;
  case NEAP__C_SHARED:
    push_shared(r);
    return;
  case NEAP__C_NAME:
    push_name(r);
    return;
  default:
    bad(r);
  }
}

/* ---- what is inside objects ---------------------------------------------------------- */

/* A key and a value; the first byte of the key has been read. */
static void read_pair(reader *r, int table, unsigned code) {
  lua_State *L = r->L;
  push_value(r, code);
  if (lua_isnil(L, -1) ||
      (lua_type(L, -1) == LUA_TNUMBER && isnan(lua_tonumber(L, -1))))
    bad(r);
  push_value(r, byte(r));
  lua_rawset(L, table);
}

static void read_table(reader *r, int table) {
  lua_State *L = r->L;
  unsigned code;
  for (lua_Integer i = 1; (code = byte(r)) > NEAP__C_PAIRS; i++) {
    push_value(r, code);
    lua_rawseti(L, table, i);
  }
  if (code == NEAP__C_PAIRS)
    while ((code = byte(r)) > NEAP__C_PAIRS)
      read_pair(r, table, code);
  if (code == NEAP__C_PAIRS) bad(r);
  if (code == NEAP__C_END) return;
  if (byte(r) != NEAP__C_NAME) bad(r);
  push_name(r);
  if (!lua_istable(L, -1)) bad(r);
  lua_setmetatable(L, table);
}

static void read_function(reader *r, int function) {
  lua_State *L = r->L;
  unsigned code;
  for (int i = 1; (code = byte(r)) != NEAP__C_END; i++) {
    if (code == NEAP__C_UPVALUE) {
      push_object(r, number(r));
      uint64_t which = number(r);
      if (!lua_isfunction(L, -1) || which < 1 || which > 255 ||
          lua_getupvalue(L, -1, (int)which) == NULL)
        bad(r);
      lua_pop(L, 1);
      if (lua_getupvalue(L, function, i) == NULL) bad(r);
      lua_pop(L, 1);
      lua_upvaluejoin(L, function, i, -1, (int)which);
      lua_pop(L, 1);
    } else {
      push_value(r, code);
      if (lua_setupvalue(L, function, i) == NULL) bad(r);
    }
  }
}

static void read_objects(reader *r) {
  lua_State *L = r->L;
  for (uint32_t i = 0; i < r->nobjects; i++) {
    push_object(r, i);
    int index = lua_gettop(L);
    int type = lua_type(L, index);
    if (type == LUA_TTABLE) read_table(r, index);
    if (type == LUA_TFUNCTION) read_function(r, index);
    lua_settop(L, index - 1);
  }
}

/* ---- packets ---------------------------------------------------------------------------- */

static int read_all(reader *r) {
  lua_State *L = r->L;
  uint64_t n = number(r), nobjects = number(r);
  if (n > left(r) || nobjects > left(r) || n > INT32_MAX / 2) bad(r);
  r->hints = left(r);
  int base = lua_gettop(L);
  luaL_checkstack(L, (int)n + NEAP__STACKED + 20, "too many values");
  if (nobjects == 0) {
    for (uint64_t i = 0; i < n; i++)
      push_value(r, byte(r));
  } else {
    r->nobjects = (uint32_t)nobjects;
    r->objects = base + (int)n + 1;
    lua_settop(L, base + (int)n);
    if (listed(r)) {
      lua_createtable(L, hint(r, nobjects, 1), 0);
    } else {
      lua_settop(L, base + (int)n + (int)nobjects);
    }
    for (int i = 1; i <= (int)n; i++) {
      push_value(r, byte(r));
      lua_replace(L, base + i);
    }
    read_objects(r);
    lua_settop(L, base + (int)n);
  }
  if (r->p != r->end) bad(r);
  return (int)n;
}

int neap__unpack(lua_State *L, neap_runtime *rt, const neap__packet *packet,
                 unsigned flags) {
  if (packet->size == 0) return 0;
  reader r = {.L = L,
              .rt = rt,
              .packet = packet,
              .p = neap__packet_bytes(packet),
              .flags = flags};
  r.end = r.p + packet->size;
  if (flags & NEAP__FOREIGN) {
    if (left(&r) < NEAP__PACKET_HEADER || r.p[0] != 'N' || r.p[1] != 'P')
      bad(&r);
    if (r.p[2] != NEAP__PACKET_VERSION)
      luaL_error(L, "bad packet (of version %d, not %d)", r.p[2],
                 NEAP__PACKET_VERSION);
    r.p += NEAP__PACKET_HEADER;
  }
  return read_all(&r);
}
