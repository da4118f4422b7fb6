/* SPDX-License-Identifier: MIT
 *
 * net.c - TCP and Unix sockets: connecting. The module "neap.core.net", which is for
 * lua/neap/net; listening is in listener.c.
 */
#include "net.h"

#include "stream.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

/* ---- sockets ----------------------------------------------------------------------- */

int neap__socket(int family) {
#ifdef SOCK_CLOEXEC
  int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  return fd < 0 ? -errno : fd;
#else
  int fd = socket(family, SOCK_STREAM, 0);
  if (fd < 0) return -errno;
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  return fd;
#endif
}

int neap__socket_option(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value) < 0 ? -errno : 0;
}

int neap__socket_keepalive(int fd, int seconds) {
  if (seconds <= 0) return 0;
  int status = neap__socket_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
#if defined(TCP_KEEPIDLE) && defined(TCP_KEEPINTVL) && defined(TCP_KEEPCNT)
  int pause = seconds >= 5 ? seconds / 5 : 1;
  if (status == 0)
    status = neap__socket_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
  if (status == 0)
    status = neap__socket_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, pause);
  if (status == 0)
    status = neap__socket_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 5);
#endif
  return status;
}

/* ---- connecting by TCP ---------------------------------------------------------------- */

/* Indices in the frame of connect_tcp. */
enum { HOST = 1, PORT, LOCAL_HOST, LOCAL_PORT, NODELAY, KEEPALIVE, BOX };

typedef struct connecting {
  neap__req req;
  uv_connect_t uv;
  neap__stream *stream;
  struct sockaddr_storage to;
  int keepalive;
} connecting;

static void on_connected(uv_connect_t *uv, int status) {
  connecting *op = neap__container_of(uv, connecting, uv);
  neap__req_done(&op->req, status);
}

/* Its callback comes all the same. */
static neap_aborted connect_abort(neap_wait *wait) {
  connecting *op = neap__container_of(wait, connecting, req.wait);
  neap__io_close(&op->stream->io);
  return NEAP_ABORT_PENDING;
}

/* The stream in the box is not to be. */
static void give_up(lua_State *L, int box) {
  neap__io **io = lua_touserdata(L, box);
  neap__io *gone = *io;
  *io = NULL;
  neap__io_disown(gone);
}

/* Both ends are one: a port that nobody listens on, chosen by the system for our end. */
static bool is_self(neap__stream *stream, const struct sockaddr_storage *to) {
  struct sockaddr_storage own;
  int len = sizeof own;
  memset(&own, 0, sizeof own);
  if (uv_tcp_getsockname(&stream->uv.tcp, (struct sockaddr *)&own, &len) < 0 ||
      own.ss_family != to->ss_family)
    return false;
  if (to->ss_family == AF_INET) {
    const struct sockaddr_in *a = (const void *)&own, *b = (const void *)to;
    return a->sin_port == b->sin_port &&
           a->sin_addr.s_addr == b->sin_addr.s_addr;
  }
  const struct sockaddr_in6 *a = (const void *)&own, *b = (const void *)to;
  return a->sin6_port == b->sin6_port &&
         memcmp(&a->sin6_addr, &b->sin6_addr, sizeof a->sin6_addr) == 0;
}

static int connected(neap__stream *stream, const connecting *op) {
  uv_os_fd_t fd;
  if (is_self(stream, &op->to)) return UV_ECONNREFUSED;
  int status = uv_fileno(&stream->uv.handle, &fd);
  if (status == 0) status = neap__socket_keepalive(fd, op->keepalive);
  if (status == 0) neap__stream_opened(stream, true, true);
  return status;
}

static int connect_finish(lua_State *L, neap_wait *wait) {
  connecting *op = neap__container_of(wait, connecting, req.wait);
  neap__stream *stream = op->stream;
  int status = wait->status;
  if (status >= 0 && !stream->io.open) status = UV_ECANCELED;
  if (status >= 0) status = connected(stream, op);
  neap__req_free(&op->req);
  if (L == NULL) {
    neap__io_close(&stream->io); /* the box, which nobody has, frees it */
    return 0;
  }
  if (status < 0) {
    give_up(L, BOX);
    return neap_refuse(L, status, "connect");
  }
  lua_pushvalue(L, BOX);
  return 1;
}

/* Address and port at `host` and the index after it. 0, or UV_ENODEV for one of a
 * network interface that is not there. */
static int check_address(lua_State *L, int host,
                         struct sockaddr_storage *address) {
  size_t len;
  const char *text = luaL_checklstring(L, host, &len);
  lua_Integer port = luaL_checkinteger(L, host + 1);
  luaL_argcheck(L, port >= 0 && port <= 65535, host + 1,
                "integer from 0 to 65535 expected");
  int status = neap__address_parse(text, len, (int)port, address);
  luaL_argcheck(L, status == 0 || status == UV_ENODEV, host,
                "numeric address expected");
  return status;
}

static int start(connecting *op, const struct sockaddr_storage *local,
                 bool nodelay) {
  uv_tcp_t *tcp = &op->stream->uv.tcp;
  int status = 0;
  if (nodelay) status = uv_tcp_nodelay(tcp, 1);
  if (status == 0 && local != NULL)
    status = uv_tcp_bind(tcp, (const struct sockaddr *)local, 0);
  if (status == 0)
    status = uv_tcp_connect(&op->uv, tcp, (const struct sockaddr *)&op->to,
                            on_connected);
  return status;
}

/* connect_tcp(address, port, local address or nil, local port, nodelay, keepalive in
 * seconds or 0) -> a stream, or nil and an error. Waits. */
static int l_connect_tcp(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  struct sockaddr_storage to, local;
  lua_settop(L, KEEPALIVE);
  int status = check_address(L, HOST, &to);
  bool bound = !lua_isnil(L, LOCAL_HOST);
  if (bound && status == 0) status = check_address(L, LOCAL_HOST, &local);
  int keepalive = (int)luaL_optinteger(L, KEEPALIVE, 0);
  neap__check_park(rt, L, "neap.net.connect");
  if (status < 0) return neap_refuse(L, status, "connect");
  neap__io **box = neap__io_box(L, rt, NEAP__K_STREAM);
  connecting *op = neap__req_new(L, rt, sizeof *op, offsetof(connecting, uv),
                                 connect_finish, "neap.net.connect");
  neap__stream *stream = neap__stream_new(op->req.loop, NEAP__TCP, -1, &status);
  if (stream == NULL) {
    neap__req_free(&op->req);
    return neap_refuse(L, status, "connect");
  }
  neap__io_own(box, &stream->io);
  op->req.wait.abort = connect_abort;
  op->stream = stream;
  op->to = to;
  op->keepalive = keepalive;
  status = start(op, bound ? &local : NULL, lua_toboolean(L, NODELAY));
  if (status < 0) {
    neap__req_free(&op->req);
    give_up(L, BOX);
    return neap_refuse(L, status, "connect");
  }
  neap__req_started(&op->req);
  return neap__park(rt, L, &op->req.wait);
}

/* ---- connecting to a Unix socket ------------------------------------------------------ */

/* Descriptor of a socket that is connected, or a UV_E* code. It is or is not at once. */
static int connect_path(const struct sockaddr_storage *to, socklen_t len) {
  int fd = neap__socket(AF_UNIX), status;
  if (fd < 0) return fd;
  do {
    status = connect(fd, (const struct sockaddr *)to, len) < 0 ? -errno : 0;
  } while (status == UV_EINTR);
  if (status == 0) return fd;
  close(fd);
  return status;
}

/* connect_unix(path) -> a stream, or nil and an error (EAGAIN: the listener's backlog is
 * full). Path: one that begins with "\0" is an abstract name. */
static int l_connect_unix(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  struct sockaddr_storage to;
  socklen_t to_len;
  size_t len;
  const char *path = luaL_checklstring(L, 1, &len);
  int status = neap__address_unix(path, len, &to, &to_len);
  if (status == UV_EINVAL) luaL_argerror(L, 1, "path expected");
  neap__check_again(rt, L, "neap.net.connect");
  neap__loop *loop = neap__the_loop(L, rt);
  neap__io **box = neap__io_box(L, rt, NEAP__K_STREAM);
  if (status == 0) status = connect_path(&to, to_len);
  if (status < 0) return neap_refuse(L, status, "connect");
  int fd = status;
  neap__stream *stream = neap__stream_new(loop, NEAP__PIPE, -1, &status);
  if (stream == NULL) {
    close(fd);
    return neap_refuse(L, status, "connect");
  }
  neap__io_own(box, &stream->io);
  status = uv_pipe_open(&stream->uv.pipe, fd);
  if (status < 0) {
    close(fd);
    give_up(L, lua_gettop(L));
    return neap_refuse(L, status, "connect");
  }
  neap__stream_opened(stream, true, true);
  return 1;
}

/* is_address(text) -> "inet" or "inet6" for a numeric address, else nothing. */
static int l_is_address(lua_State *L) {
  struct sockaddr_storage address;
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  int status = neap__address_parse(text, len, 0, &address);
  if (status < 0 && status != UV_ENODEV) return 0;
  lua_pushstring(L, address.ss_family == AF_INET6 ? "inet6" : "inet");
  return 1;
}

int neap__open_net(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"pair", neap__l_stream_pair},
      {"connect_tcp", l_connect_tcp},
      {"connect_unix", l_connect_unix},
      {"is_address", l_is_address},
      {NULL, NULL},
  };
  neap_runtime *rt = neap_of(L);
  if (rt == NULL) return luaL_error(L, "'neap.core.net' needs neap");
  neap__stream_open(L, rt);
  lua_createtable(L, 0, 8);
  neap__set_funcs(L, rt, functions);
  neap__listener_open(L, rt);
  neap__push_class(L, rt, NEAP__K_STREAM);
  lua_getfield(L, -1, "__index");
  lua_setfield(L, -3, "methods");
  lua_pop(L, 1);
  return 1;
}
