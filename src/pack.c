/* SPDX-License-Identifier: MIT */
#include "packet.h"

void neap__pack(lua_State *L, neap_runtime *rt, int first, int n,
                unsigned flags, const char *what, neap__packet *out) {
  (void)rt, (void)first, (void)n, (void)flags, (void)what, (void)out;
  luaL_error(L, "not yet");
}
void neap__pack_error(lua_State *L, neap_runtime *rt, int index, int traceback,
                      unsigned flags, neap__packet *out) {
  (void)rt, (void)index, (void)traceback, (void)flags, (void)out;
  luaL_error(L, "not yet");
}
