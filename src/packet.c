/* SPDX-License-Identifier: MIT
 *
 * packet.c - packets as a whole: those of errors, and the module neap.core.packet.
 */
#include "packcode.h"

void neap__packet_free(neap__packet *packet) {
  if (packet->size > NEAP__PACKET_SMALL || packet->nrefs > 0) {
    for (uint32_t i = 0; i < packet->nrefs; i++)
      neap__shared_unref(packet->big.refs[i]);
    neap__share_alloc(packet->big.refs, 0);
  }
  *packet = (neap__packet){0};
}

/* ---- errors -------------------------------------------------------------------------- */

/* error, traceback, flags, where to (light userdata) */
static int l_pack_two(lua_State *L) {
  neap__pack(L, neap_of(L), 1, 2, (unsigned)lua_tointeger(L, 3), "error",
             lua_touserdata(L, 4));
  return 0;
}

void neap__pack_error(lua_State *L, neap_runtime *rt, int index, int traceback,
                      unsigned flags, neap__packet *out) {
  index = lua_absindex(L, index);
  traceback = lua_absindex(L, traceback);
  luaL_checkstack(L, 8, NULL);
  lua_pushcfunction(L, l_pack_two);
  lua_pushvalue(L, index);
  lua_pushvalue(L, traceback);
  lua_pushinteger(L, (lua_Integer)flags);
  lua_pushlightuserdata(L, out);
  if (lua_pcall(L, 4, 0, 0) == LUA_OK) return;
  lua_pop(L, 1);
  int first = lua_gettop(L) + 1;
  neap__push_text(L, index);
  if (lua_isstring(L, traceback)) {
    lua_pushvalue(L, traceback);
  } else {
    lua_pushnil(L);
  }
  neap__pack(L, rt, first, 2, flags, "error", out);
  lua_settop(L, first - 1);
}

/* ---- Lua --------------------------------------------------------------------------------- */

/* A packet that is freed with its userdata, which is pushed. [-0, +1, m] */
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

static int push_bytes(lua_State *L, neap__packet *packet) {
  lua_pushlstring(L, (const char *)neap__packet_bytes(packet), packet->size);
  neap__packet_free(packet);
  return 1;
}

static int pack_from(lua_State *L, int first, const char *what) {
  int n = lua_gettop(L) - first + 1;
  neap__packet *packet = new_packet(L);
  neap__pack(L, neap__rt(L), first, n, NEAP__FOREIGN, what, packet);
  return push_bytes(L, packet);
}

/* pack(...) -> the values as a string, for unpack in another process. */
static int l_pack(lua_State *L) {
  return pack_from(L, 1, "value");
}

/* pack_as(what, ...) -> the same; `what` is the word for the values in errors. */
static int l_pack_as(lua_State *L) {
  return pack_from(L, 2, luaL_checkstring(L, 1));
}

/* pack_error(err, traceback) -> the two as a string; the text of one that cannot cross. */
static int l_pack_error(lua_State *L) {
  lua_settop(L, 2);
  neap__packet *packet = new_packet(L);
  neap__pack_error(L, neap__rt(L), 1, 2, NEAP__FOREIGN, packet);
  return push_bytes(L, packet);
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
      {"pack_as", l_pack_as},
      {"pack_error", l_pack_error},
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
