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

/* ---- Lua --------------------------------------------------------------------------------- */

/* A packet whose memory a to-be-collected userdata owns. [-0, +1, m] */
static neap__packet *new_packet(lua_State *L) {
  neap__packet *packet = lua_newuserdatauv(L, sizeof *packet, 0);
  *packet = (neap__packet){0};
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_setmetatable(L, -2);
  return packet;
}

static int l_packet_gc(lua_State *L) {
  if (lua_getmetatable(L, 1) && lua_rawequal(L, -1, lua_upvalueindex(1)))
    neap__packet_free(lua_touserdata(L, 1));
  return 0;
}

/* pack(...) -> the values as a string, for unpack in another process. */
static int l_pack(lua_State *L) {
  int n = lua_gettop(L);
  neap__packet *packet = new_packet(L);
  neap__pack(L, neap__rt(L), 1, n, NEAP__FOREIGN, "value", packet);
  lua_pushlstring(L, (const char *)neap__packet_bytes(packet), packet->size);
  neap__packet_free(packet);
  return 1;
}

/* unpack(string) -> the values. */
static int l_unpack(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  luaL_argcheck(L, n > 0 && n <= UINT32_MAX, 1, "no packet");
  neap__packet packet = {.size = (uint32_t)n};
  if (n <= NEAP__PACKET_SMALL) {
    memcpy(packet.small, s, n);
  } else { /* Lua's string is only read */
    packet.big.data = (unsigned char *)(uintptr_t)s;
    packet.big.refs = NULL;
  }
  return neap__unpack(L, neap__rt(L), &packet, NEAP__FOREIGN);
}

/* copy(...) -> what another thread would be given for the values. */
static int l_copy(lua_State *L) {
  int n = lua_gettop(L);
  neap__packet *packet = new_packet(L);
  neap__pack(L, neap__rt(L), 1, n, 0, "value", packet);
  n = neap__unpack(L, neap__rt(L), packet, 0);
  neap__packet_free(packet);
  return n;
}

/* copy_error(err, traceback) -> the two as an outcome carries them. */
static int l_copy_error(lua_State *L) {
  lua_settop(L, 2);
  neap__packet *packet = new_packet(L);
  neap__pack_error(L, neap__rt(L), 1, 2, 0, packet);
  int n = neap__unpack(L, neap__rt(L), packet, 0);
  neap__packet_free(packet);
  return n;
}

/* register(name, metatable): tables that have it cross, to where it has that name. */
static int l_register(lua_State *L) {
  size_t n;
  luaL_checklstring(L, 1, &n);
  luaL_argcheck(L, lua_type(L, 1) == LUA_TSTRING && n > 0, 1,
                "non-empty string expected");
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  neap__names_register(L, neap__rt(L));
  return 0;
}

/* key() -> the 16 bytes that seal functions; made of chance at first. */
static int l_key(lua_State *L) {
  struct neap__packer *packer = neap__packer(L, neap__rt(L));
  if (!packer->has_key) {
    int status =
        uv_random(NULL, NULL, packer->key, sizeof packer->key, 0, NULL);
    if (status < 0) return neap_fail(L, status, "random");
    packer->has_key = true;
  }
  lua_pushlstring(L, (const char *)packer->key, sizeof packer->key);
  return 1;
}

/* set_key(key) */
static int l_set_key(lua_State *L) {
  size_t n;
  const char *key = luaL_checklstring(L, 1, &n);
  struct neap__packer *packer = neap__packer(L, neap__rt(L));
  luaL_argcheck(L, n == sizeof packer->key, 1, "16 bytes expected");
  memcpy(packer->key, key, n);
  packer->has_key = true;
  return 0;
}

int neap__open_packet(lua_State *L) {
  neap_runtime *rt = neap_of(L);
  static const luaL_Reg plain[] = {
      {"register", l_register}, {"unpack", l_unpack}, {"key", l_key},
      {"set_key", l_set_key},   {NULL, NULL},
  };
  static const luaL_Reg packing[] = {
      {"pack", l_pack},
      {"copy", l_copy},
      {"copy_error", l_copy_error},
      {NULL, NULL},
  };
  lua_createtable(L, 0, 8);
  neap__set_funcs(L, rt, plain);
  neap__push_self(L, rt);
  lua_createtable(L, 0, 2); /* of packets */
  lua_pushvalue(L, -1);
  lua_pushcclosure(L, l_packet_gc, 1);
  lua_setfield(L, -2, "__gc");
  lua_pushliteral(L, "neap.packet");
  lua_setfield(L, -2, "__name");
  luaL_setfuncs(L, packing, 2);
  return 1;
}
