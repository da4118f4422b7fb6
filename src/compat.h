/* SPDX-License-Identifier: MIT
 *
 * compat.h - what differs between the patch releases of Lua 5.4 (5.4.4 is the
 * oldest that is supported).
 */
#ifndef NEAP_COMPAT_H
#define NEAP_COMPAT_H

#include <lua.h>

/* lua_closethread came with 5.4.6 and made lua_resetthread old. */
static inline int neap__close_thread(lua_State *co, lua_State *from) {
#if LUA_VERSION_RELEASE_NUM >= 50406
  return lua_closethread(co, from);
#else
  (void)from;
  return lua_resetthread(co);
#endif
}

#endif
