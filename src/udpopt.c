/* SPDX-License-Identifier: MIT
 *
 * udpopt.c - making sockets for datagrams, and what can be set on them.
 */
#include "udp.h"

#include <netinet/in.h>
#include <string.h>

#define LIMIT (256 * 1024) /* bytes that are read before somebody asks */

/* ---- options ------------------------------------------------------------------------ */

static int answer(lua_State *L, int status, const char *op) {
  if (status < 0) return neap_refuse(L, status, op);
  lua_pushboolean(L, 1);
  return 1;
}

/* The string at `index`. */
static const char *check_text(lua_State *L, int index, const char *what,
                              const char *name) {
  if (lua_type(L, index) != LUA_TSTRING)
    neap__bad_value(L, neap__rt(L), index, what, name, "string");
  return lua_tostring(L, index);
}

static const char *opt_text(lua_State *L, int index, const char *what,
                            const char *name) {
  if (lua_isnoneornil(L, index)) return NULL;
  return check_text(L, index, what, name);
}

static bool check_flag(lua_State *L, int index, const char *what,
                       const char *name) {
  if (!lua_isboolean(L, index))
    neap__bad_value(L, neap__rt(L), index, what, name, "boolean");
  return lua_toboolean(L, index);
}

static int member(lua_State *L, const char *name, uv_membership membership) {
  neap__udp *u = neap__udp_check(L, name);
  const char *group = check_text(L, 2, "argument #1", name);
  const char *interface = opt_text(L, 3, "argument #2", name);
  const char *source = opt_text(L, 4, "argument #3", name);
  if (interface != NULL && u->family == AF_INET6 &&
      strchr(interface, ':') == NULL)
    interface = lua_pushfstring(L, "::%%%s", interface);
  int status =
      source != NULL
          ? uv_udp_set_source_membership(&u->uv, group, interface, source,
                                         membership)
          : uv_udp_set_membership(&u->uv, group, interface, membership);
  return answer(L, status, membership == UV_JOIN_GROUP ? "join" : "leave");
}

/* udp:join(group, interface, source) -> true; nil, err. */
static int l_join(lua_State *L) {
  return member(L, "Udp:join", UV_JOIN_GROUP);
}

/* udp:leave(group, interface, source) -> true; nil, err. */
static int l_leave(lua_State *L) {
  return member(L, "Udp:leave", UV_LEAVE_GROUP);
}

static int check_ttl(lua_State *L, int index, const char *what,
                     const char *name) {
  lua_Integer ttl = lua_isinteger(L, index) ? lua_tointeger(L, index) : 0;
  if (ttl < 1 || ttl > 255)
    neap__bad_value(L, neap__rt(L), index, what, name, "integer from 1 to 255");
  return (int)ttl;
}

static int l_set_ttl(lua_State *L) {
  neap__udp *u = neap__udp_check(L, "Udp:set_ttl");
  int ttl = check_ttl(L, 2, "argument #1", "Udp:set_ttl");
  return answer(L, uv_udp_set_ttl(&u->uv, ttl), "set_ttl");
}

static int l_set_multicast_ttl(lua_State *L) {
  neap__udp *u = neap__udp_check(L, "Udp:set_multicast_ttl");
  int ttl = check_ttl(L, 2, "argument #1", "Udp:set_multicast_ttl");
  return answer(L, uv_udp_set_multicast_ttl(&u->uv, ttl), "set_multicast_ttl");
}

static int l_set_multicast_loop(lua_State *L) {
  neap__udp *u = neap__udp_check(L, "Udp:set_multicast_loop");
  bool flag = check_flag(L, 2, "argument #1", "Udp:set_multicast_loop");
  int status = uv_udp_set_multicast_loop(&u->uv, flag);
  return answer(L, status, "set_multicast_loop");
}

static int l_set_multicast_interface(lua_State *L) {
  neap__udp *u = neap__udp_check(L, "Udp:set_multicast_interface");
  const char *interface =
      opt_text(L, 2, "argument #1", "Udp:set_multicast_interface");
  if (interface != NULL && u->family == AF_INET6 &&
      strchr(interface, ':') == NULL)
    interface = lua_pushfstring(L, "::%%%s", interface);
  int status = uv_udp_set_multicast_interface(&u->uv, interface);
  return answer(L, status, "set_multicast_interface");
}

static int l_set_broadcast(lua_State *L) {
  neap__udp *u = neap__udp_check(L, "Udp:set_broadcast");
  bool flag = check_flag(L, 2, "argument #1", "Udp:set_broadcast");
  return answer(L, uv_udp_set_broadcast(&u->uv, flag), "set_broadcast");
}

/* udp:address() -> host, port, family; nil, err. */
static int l_address(lua_State *L) {
  neap__udp *u = neap__udp_check(L, "Udp:address");
  struct sockaddr_storage address;
  int len = sizeof address;
  int status = uv_udp_getsockname(&u->uv, (struct sockaddr *)&address, &len);
  return status < 0 ? neap_refuse(L, status, "address")
                    : neap__address_push(L, &address, (socklen_t)len);
}

/* udp:peer() -> host, port, family; nil, err where it is not connected. */
static int l_peer(lua_State *L) {
  neap__udp *u = neap__udp_check(L, "Udp:peer");
  struct sockaddr_storage address;
  int len = sizeof address;
  int status = uv_udp_getpeername(&u->uv, (struct sockaddr *)&address, &len);
  return status < 0 ? neap_refuse(L, status, "peer")
                    : neap__udp_push_address(L, &address);
}

/* udp:dropped() -> how many datagrams came and found no room. */
static int l_dropped(lua_State *L) {
  neap__udp *u = neap__udp_check(L, "Udp:dropped");
  lua_Integer n = u->missed;
#ifdef SO_MEMINFO
  uint32_t info[16] = {0}; /* [8]: SK_MEMINFO_DROPS */
  socklen_t len = sizeof info;
  uv_os_fd_t fd;
  if (uv_fileno((uv_handle_t *)&u->uv, &fd) == 0 &&
      getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len) == 0)
    n += info[8];
#endif
  lua_pushinteger(L, n);
  return 1;
}

/* ---- making one ---------------------------------------------------------------------- */

#define NAME "neap.net.udp"

/* Pushes the option `name` of the table at 1; false where it is nil. */
static bool has(lua_State *L, const char *name) {
  return lua_getfield(L, 1, name) != LUA_TNIL;
}

static int bad_option(lua_State *L, const char *name, const char *expected) {
  const char *what = lua_pushfstring(L, "option '%s'", name);
  return neap__bad_value(L, neap__rt(L), -2, what, NAME, expected);
}

static bool opt_bool(lua_State *L, const char *name) {
  if (has(L, name) && !lua_isboolean(L, -1)) bad_option(L, name, "boolean");
  return lua_toboolean(L, -1);
}

static int opt_size(lua_State *L, const char *name, int otherwise) {
  if (!has(L, name)) return otherwise;
  if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) < 1 ||
      lua_tointeger(L, -1) > INT32_MAX)
    bad_option(L, name, "positive integer");
  return (int)lua_tointeger(L, -1);
}

/* The address that two options give; false where there is none. The Lua side has
 * resolved names. */
static bool opt_address(lua_State *L, const char *host_name,
                        const char *port_name, const char *otherwise,
                        struct sockaddr_storage *address, int *status) {
  int port = 0;
  size_t len;
  if (has(L, port_name)) {
    const char *what = lua_pushfstring(L, "option '%s'", port_name);
    port = neap__check_port(L, neap__rt(L), -2, what, NAME);
  }
  if (!has(L, host_name)) {
    if (otherwise == NULL) return false;
    lua_pushstring(L, otherwise);
  } else if (lua_type(L, -1) != LUA_TSTRING) {
    bad_option(L, host_name, "string");
  }
  const char *host = lua_tolstring(L, -1, &len);
  *status = neap__address_parse(host, len, port, address);
  return true;
}

typedef struct config {
  struct sockaddr_storage local, remote;
  bool connect, reuse_addr, reuse_port, broadcast, ipv6only;
  int ttl, recv_buffer, send_buffer;
} config;

/* What can only be said before it is bound, and binding. *op: what failed. */
static int set_up(neap__udp *u, config *c, const char **op) {
  uv_handle_t *uv = (uv_handle_t *)&u->uv;
  int status = 0, on = 1, off = 0;
  uv_os_fd_t fd;
  *op = "udp";
  if ((status = uv_fileno(uv, &fd)) < 0) return status;
#ifdef SO_REUSEPORT
  if (c->reuse_port &&
      setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0)
    return uv_translate_sys_error(errno);
#else
  if (c->reuse_port) return UV_ENOTSUP;
#endif
    /* Of groups only what it joined, not what others of this system have. */
#ifdef IP_MULTICAST_ALL
  if (c->local.ss_family == AF_INET)
    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_ALL, &off, sizeof off);
#endif
#ifdef IPV6_MULTICAST_ALL
  if (c->local.ss_family == AF_INET6)
    setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, &off, sizeof off);
#endif
  (void)off;
  if (c->recv_buffer > 0 &&
      (status = uv_recv_buffer_size(uv, &c->recv_buffer)) < 0)
    return status;
  if (c->send_buffer > 0 &&
      (status = uv_send_buffer_size(uv, &c->send_buffer)) < 0)
    return status;
  if (c->broadcast && (status = uv_udp_set_broadcast(&u->uv, 1)) < 0)
    return status;
  if (c->ttl > 0 && (status = uv_udp_set_ttl(&u->uv, c->ttl)) < 0)
    return status;
  *op = "bind";
  status = uv_udp_bind(&u->uv, (const struct sockaddr *)&c->local,
                       (c->reuse_addr ? UV_UDP_REUSEADDR : 0U) |
                           (c->ipv6only ? UV_UDP_IPV6ONLY : 0U));
  if (status < 0 || !c->connect) return status;
  *op = "connect";
  u->connected = true;
  return uv_udp_connect(&u->uv, (const struct sockaddr *)&c->remote);
}

/* open(opts) -> socket; nil, err. Addresses are numeric: host, port; peer_host,
 * peer_port. */
int neap__udp_open(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  config c = {.ttl = 0};
  int status = 0;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  luaL_checkstack(L, 24, NULL);
  c.connect =
      opt_address(L, "peer_host", "peer_port", NULL, &c.remote, &status);
  if (status == 0)
    opt_address(L, "host", "port",
                c.connect && c.remote.ss_family == AF_INET6 ? "::" : "0.0.0.0",
                &c.local, &status);
  if (c.connect && c.local.ss_family == AF_INET6 &&
      c.remote.ss_family == AF_INET)
    neap__udp_map(&c.remote);
  c.reuse_addr = opt_bool(L, "reuse_addr");
  c.reuse_port = opt_bool(L, "reuse_port");
  c.broadcast = opt_bool(L, "broadcast");
  c.ipv6only = opt_bool(L, "ipv6only");
  c.recv_buffer = opt_size(L, "recv_buffer", 0);
  c.send_buffer = opt_size(L, "send_buffer", 0);
  int limit = opt_size(L, "limit", LIMIT);
  if (has(L, "ttl")) c.ttl = check_ttl(L, -1, "option 'ttl'", NAME);
  if (status < 0) return neap_refuse(L, status, "udp");

  neap__loop *loop = neap__the_loop(L, rt);
  if (loop->closed) return luaL_error(L, "Event loop is closed");
  neap__io **box = neap__io_box(L, rt, NEAP__K_UDP);
  neap__udp *u = neap__udp_new(loop, c.local.ss_family, &status);
  if (u == NULL) return neap_refuse(L, status, "socket");
  u->limit = (size_t)limit;
  neap__io_own(box, &u->io);
  const char *op;
  if ((status = set_up(u, &c, &op)) == 0) return 1;
  neap__io_close(&u->io);
  return neap_refuse(L, status, op);
}

const luaL_Reg neap__udp_option_methods[] = {
    {"join", l_join},
    {"leave", l_leave},
    {"set_ttl", l_set_ttl},
    {"set_multicast_ttl", l_set_multicast_ttl},
    {"set_multicast_loop", l_set_multicast_loop},
    {"set_multicast_interface", l_set_multicast_interface},
    {"set_broadcast", l_set_broadcast},
    {"address", l_address},
    {"peer", l_peer},
    {"dropped", l_dropped},
    {NULL, NULL},
};
