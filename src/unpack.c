/* SPDX-License-Identifier: MIT */
#include "packet.h"

int neap__unpack(lua_State *L, neap_runtime *rt, const neap__packet *packet,
                 unsigned flags) {
  (void)rt, (void)packet, (void)flags;
  return luaL_error(L, "not yet");
}
void neap__packet_free(neap__packet *packet) {
  (void)packet;
}
int neap__open_packet(lua_State *L) {
  lua_createtable(L, 0, 0);
  return 1;
}
