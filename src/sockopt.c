/* SPDX-License-Identifier: MIT
 *
 * sockopt.c - what the socket of a stream says, and what it can be told.
 */
#include "address.h"
#include "stream.h"

/* getpeername or getsockname of what the stream is; nil, err where it is no socket. */
static int push_name(lua_State *L, const char *name,
                     int (*get)(int, struct sockaddr *, socklen_t *),
                     const char *op) {
  neap__stream *s = neap__stream_check(L, neap__rt(L), 1, name);
  struct sockaddr_storage address;
  socklen_t len = sizeof address;
  uv_os_fd_t fd;
  int status = uv_fileno(&s->uv.handle, &fd);
  if (status == 0 && get(fd, (struct sockaddr *)&address, &len) < 0)
    status = uv_translate_sys_error(errno);
  if (status < 0) return neap_refuse(L, status, op);
  return neap__address_name(L, &address, len);
}

/* stream:peer() -> host, port of the other side; of a Unix socket "unix:/path" ("unix:"
 * when it has none). */
static int l_peer(lua_State *L) {
  return push_name(L, "Stream:peer", getpeername, "getpeername");
}

/* stream:address() -> the same of this side. */
static int l_address(lua_State *L) {
  return push_name(L, "Stream:address", getsockname, "getsockname");
}

/* The stream, once an option was set; or why it was not. */
static int option_set(lua_State *L, int status) {
  if (status < 0) return neap_refuse(L, status, "setsockopt");
  lua_settop(L, 1);
  return 1;
}

/* stream:set_nodelay(flag): small packets leave at once (TCP_NODELAY; the default). */
static int l_set_nodelay(lua_State *L) {
  neap__stream *s = neap__stream_check(L, neap__rt(L), 1, "Stream:set_nodelay");
  luaL_checktype(L, 2, LUA_TBOOLEAN);
  return option_set(L, s->type == NEAP__TCP
                           ? uv_tcp_nodelay(&s->uv.tcp, lua_toboolean(L, 2))
                           : UV_ENOTSUP);
}

/* stream:set_keepalive(seconds or false): a peer that says nothing for so long is asked
 * whether it is there (SO_KEEPALIVE). */
static int l_set_keepalive(lua_State *L) {
  neap__stream *s =
      neap__stream_check(L, neap__rt(L), 1, "Stream:set_keepalive");
  lua_Integer delay = 0;
  if (lua_type(L, 2) != LUA_TBOOLEAN || lua_toboolean(L, 2)) {
    delay = luaL_checkinteger(L, 2);
    luaL_argcheck(L, delay >= 1 && delay <= 32767, 2,
                  "seconds from 1 to 32767 expected");
  }
  return option_set(
      L, s->type == NEAP__TCP
             ? uv_tcp_keepalive(&s->uv.tcp, delay > 0, (unsigned)delay)
             : UV_ENOTSUP);
}

/* stream:reset(): closes it at once, as abort does, and has the peer get an error
 * (ECONNRESET) in place of the end. Other than TCP: abort. */
static int l_reset(lua_State *L) {
  neap__stream *s = neap__stream_check(L, neap__rt(L), 1, NULL);
  const struct linger none = {.l_onoff = 1, .l_linger = 0};
  uv_os_fd_t fd;
  if (s == NULL || !s->io.open) return 0;
  if (s->type == NEAP__TCP && uv_fileno(&s->uv.handle, &fd) == 0)
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
  neap__io_close(&s->io);
  return 0;
}

const luaL_Reg neap__stream_socket_methods[] = {
    {"peer", l_peer},
    {"address", l_address},
    {"set_nodelay", l_set_nodelay},
    {"set_keepalive", l_set_keepalive},
    {"reset", l_reset},
    {NULL, NULL},
};
