/* SPDX-License-Identifier: MIT
 *
 * listener.c - TCP and Unix sockets: listening and accepting.
 *
 * Connections are accepted as soon as they come, up to a few ahead of who wants them;
 * after that the system's own queue holds them. uv_listen is not used: where
 * descriptors run out it would drop connections without a word.
 */
#include "net.h"

#include "stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define AHEAD 32 /* connections that nobody has asked for yet */

typedef struct listener {
  neap__io io;
  uv_poll_t uv;
  int fd;
  bool polling;
  bool local; /* a Unix socket */
  neap__waitq waiting;
  size_t
      given; /* waits that are woken for a connection, and have not run yet */
  int ready[AHEAD]; /* a ring of descriptors */
  size_t first, count;
  char *path; /* of a file that is ours to remove, or NULL */
  dev_t dev;  /* the file is this one */
  ino_t ino;
} listener;

static listener *of(neap__io *io) {
  return neap__container_of(io, listener, io);
}

/* ---- who gets the next connection ------------------------------------------------------ */

/* A wait that was given a connection points at itself. */
static bool is_given(neap_wait *wait) {
  return neap__link_of(wait)->queue.prev == wait;
}

/* Gives what is there to those who wait. */
static void give(listener *l) {
  while (l->count > l->given && l->waiting.head != NULL) {
    neap_wait *wait = l->waiting.head;
    neap__waitq_remove(&l->waiting, wait);
    neap__link_of(wait)->queue.prev = wait;
    l->given++;
    neap_wake(wait, 0);
  }
}

static void wake_all(listener *l, int status) {
  while (l->waiting.head != NULL) {
    neap__link_of(l->waiting.head)->queue.prev = NULL;
    neap__waitq_wake(&l->waiting, status);
  }
}

/* ---- accepting --------------------------------------------------------------------------- */

static int take_next(int fd) {
#ifdef SOCK_CLOEXEC
  int got = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  return got < 0 ? -errno : got;
#else
  int got = accept(fd, NULL, NULL);
  if (got < 0) return -errno;
  fcntl(got, F_SETFD, FD_CLOEXEC);
  fcntl(got, F_SETFL, O_NONBLOCK);
  return got;
#endif
}

/* The connection failed before it was accepted: the next one may be good. (Linux tells
 * errors of the new connection's network here.) */
static bool is_passing(int status) {
  switch (status) {
  case UV_EINTR:
  case UV_ECONNABORTED:
  case UV_EPROTO:
  case UV_ENOPROTOOPT:
  case UV_ENETDOWN:
  case UV_ENETUNREACH:
  case UV_EHOSTUNREACH:
  case UV_ETIMEDOUT:
  case UV_EPERM: /* a firewall's */
#ifdef UV_EHOSTDOWN
  case UV_EHOSTDOWN:
#endif
    return true;
  default:
    return false;
  }
}

static void stop_polling(listener *l) {
  if (l->polling) uv_poll_stop(&l->uv);
  l->polling = false;
}

static void fill(listener *l) {
  for (int failed = 0; l->count < AHEAD && failed < AHEAD;) {
    int fd = take_next(l->fd);
    if (fd == UV_EAGAIN) break;
    if (fd < 0 && is_passing(fd)) {
      failed++;
      continue;
    }
    if (fd < 0) {
      give(l);
      wake_all(l, fd);
      stop_polling(l); /* until somebody tries again */
      return;
    }
    l->ready[(l->first + l->count++) % AHEAD] = fd;
  }
  give(l);
  if (l->count == AHEAD) stop_polling(l);
}

static void on_connection(uv_poll_t *uv, int status, int events) {
  listener *l = of(uv->data);
  (void)events;
  if (status < 0) {
    stop_polling(l);
    wake_all(l, status);
  } else {
    fill(l);
  }
}

/* 0 or a UV_E* code. */
static int start_polling(listener *l) {
  if (l->polling) return 0;
  int status = uv_poll_start(&l->uv, UV_READABLE, on_connection);
  l->polling = status == 0;
  return status;
}

/* Nobody has the stream in the box. */
static void give_up(neap__io **box) {
  neap__io *gone = *box;
  *box = NULL;
  neap__io_disown(gone);
}

/* Makes a stream of the first connection that is ready, in the box on top. */
static int take(lua_State *L, listener *l) {
  neap__io **box = lua_touserdata(L, -1);
  int status;
  neap__stream *stream = neap__stream_new(
      l->io.loop, l->local ? NEAP__PIPE : NEAP__TCP, -1, &status);
  if (stream == NULL) return neap_refuse(L, status, "accept");
  neap__io_own(box, &stream->io);
  int fd = l->ready[l->first];
  status = l->local ? uv_pipe_open(&stream->uv.pipe, fd)
                    : uv_tcp_open(&stream->uv.tcp, fd);
  l->first = (l->first + 1) % AHEAD;
  l->count--;
  if (l->count < AHEAD / 2) start_polling(l);
  if (status < 0) {
    close(fd);
    give_up(box);
    return neap_refuse(L, status, "accept");
  }
  neap__stream_opened(stream, true, true);
  return 1;
}

static int refuse_closed(lua_State *L, const char *op) {
  lua_pushnil(L);
  lua_pushfstring(L, "%s: the listener is closed", op);
  neap__error_new(L, NEAP__OSERROR);
  lua_pushliteral(L, "EBADF");
  lua_setfield(L, -2, "code");
  lua_pushstring(L, op);
  lua_setfield(L, -2, "op");
  return 2;
}

static neap_aborted accept_abort(neap_wait *wait) {
  listener *l = neap__link_of(wait)->object;
  neap__waitq_remove(&l->waiting, wait);
  neap__link_of(wait)->queue.prev = NULL;
  return NEAP_ABORT_DONE;
}

static int accept_finish(lua_State *L, neap_wait *wait) {
  listener *l = neap__link_of(wait)->object;
  bool given = is_given(wait);
  neap__io_release(&l->io);
  if (given && l->given > 0) l->given--;
  if (wait->status < 0 && given) give(l); /* it was meant for this task */
  if (L == NULL) return 0;
  if (wait->status == UV_EBADF) return refuse_closed(L, "accept");
  if (wait->status < 0) return neap_refuse(L, wait->status, "accept");
  if (l->count == 0)
    return refuse_closed(L, "accept"); /* closed since it was woken */
  return take(L, l);
}

/* ---- the Listener of Lua ------------------------------------------------------------------ */

static listener *check(lua_State *L) {
  return (listener *)neap__io_check(L, neap__rt(L), 1, NEAP__K_LISTENER,
                                    "Listener");
}

static bool is_open(const listener *l) {
  return l != NULL && l->io.open;
}

/* listener:accept() -> a stream, or nil and an error. Waits. */
static int l_accept(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  listener *l = check(L);
  lua_settop(L, 1);
  neap__io_box(L, rt,
               NEAP__K_STREAM); /* may run finalizers, so it comes first */
  if (!is_open(l)) {
    neap__check_again(rt, L, "Listener:accept");
    return refuse_closed(L, "accept");
  }
  neap__io_check_here(L, rt, &l->io);
  if (l->count > l->given) {
    neap__check_again(rt, L, "Listener:accept");
    return take(L, l);
  }
  neap__check_park(rt, L, "Listener:accept");
  int status = start_polling(l);
  if (status < 0) return neap_refuse(L, status, "accept");
  neap_wait *wait =
      neap__io_wait(rt, accept_abort, accept_finish, "Listener:accept", l);
  neap__waitq_push(&l->waiting, wait);
  neap__io_hold(&l->io);
  return neap__park(rt, L, wait);
}

/* listener:close(): nobody can connect from now on. A second call does nothing. */
static int l_close(lua_State *L) {
  listener *l = check(L);
  if (l != NULL) neap__io_close(&l->io);
  return 0;
}

/* listener:is_closed() */
static int l_is_closed(lua_State *L) {
  lua_pushboolean(L, !is_open(check(L)));
  return 1;
}

static int push_address(lua_State *L, const listener *l) {
  struct sockaddr_storage address;
  socklen_t len = sizeof address;
  memset(&address, 0, sizeof address);
  if (getsockname(l->fd, (struct sockaddr *)&address, &len) < 0)
    return neap_refuse(L, -errno, "address");
  return neap__address_name(L, &address, len);
}

/* listener:address() -> host, port; or "unix:/path": as net.connect takes it. */
static int l_address(lua_State *L) {
  listener *l = check(L);
  return is_open(l) ? push_address(L, l) : refuse_closed(L, "address");
}

/* listener:fileno() -> its descriptor. */
static int l_fileno(lua_State *L) {
  listener *l = check(L);
  if (!is_open(l)) return refuse_closed(L, "fileno");
  lua_pushinteger(L, l->fd);
  return 1;
}

/* is_listener(value): whether it is a Listener that a task of this loop may accept on (or
 * is told by accept that it is closed). */
static int l_is_listener(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__io **box = neap__test(L, rt, 1, NEAP__K_LISTENER);
  if (box != NULL && *box != NULL && (*box)->open)
    neap__io_check_here(L, rt, *box);
  lua_pushboolean(L, box != NULL);
  return 1;
}

static void push_listener(lua_State *L, const void *object) {
  const listener *l = object;
  if (!is_open(l)) {
    lua_pushliteral(L, "<Listener closed>");
    return;
  }
  int top = lua_gettop(L);
  int n = push_address(L, l);
  const char *host = lua_tostring(L, top + 1);
  if (host == NULL) {
    lua_pushliteral(L, "<Listener>");
  } else if (n == 1) {
    const char *path = host + strlen("unix:");
    bool abstract = path[0] == '\0' && lua_rawlen(L, top + 1) > 5;
    lua_pushfstring(L, "<Listener unix:%s%s>", abstract ? "@" : "",
                    path + abstract);
  } else {
    lua_pushfstring(
        L, strchr(host, ':') ? "<Listener [%s]:%d>" : "<Listener %s:%d>", host,
        (int)lua_tointeger(L, top + 2));
  }
  lua_replace(L, top + 1);
  lua_settop(L, top + 1);
}

static int l_tostring(lua_State *L) {
  push_listener(L, check(L));
  return 1;
}

/* ---- making one ------------------------------------------------------------------------------ */

/* The file of a Unix socket, if it is still the one that we made. */
static void remove_file(listener *l) {
  struct stat now;
  if (l->path == NULL) return;
  if (stat(l->path, &now) == 0 && now.st_dev == l->dev && now.st_ino == l->ino)
    unlink(l->path);
}

static void closing(neap__io *io) {
  listener *l = of(io);
  stop_polling(l);
  remove_file(l);
  close(l->fd);
  l->fd = -1;
  for (; l->count > 0; l->count--) {
    close(l->ready[l->first]);
    l->first = (l->first + 1) % AHEAD;
  }
  wake_all(l, UV_EBADF);
}

static void drop(neap__io *io) {
  listener *l = of(io);
  if (l->path != NULL) neap__alloc(io->rt, l->path, strlen(l->path) + 1, 0);
}

/* Makes the Listener in `box` of a socket, which is listening. 0 or a UV_E* code, and
 * then the socket is still the caller's. */
static int make(neap__io **box, neap__loop *loop, int fd, bool local) {
  listener *l = neap__io_new(loop->rt, NEAP__K_LISTENER, sizeof *l);
  if (l == NULL) return UV_ENOMEM;
  int status = uv_poll_init(loop->uv, &l->uv, fd);
  if (status < 0) {
    neap__block_free(loop->rt, l);
    return status;
  }
  l->fd = fd;
  l->local = local;
  l->io.closing = closing;
  l->io.drop = drop;
  neap__io_open(&l->io, loop, (uv_handle_t *)&l->uv);
  neap__io_own(box, &l->io);
  return 0;
}

/* Listens on the socket; ends a function that makes a Listener. */
static int begin(lua_State *L, neap__io **box, neap__loop *loop, int fd,
                 int backlog, int status, bool local) {
  if (status == 0 && listen(fd, backlog) < 0) status = -errno;
  if (status == 0) status = make(box, loop, fd, local);
  if (status < 0) {
    close(fd);
    return neap_refuse(L, status, "listen");
  }
  return 1;
}

typedef struct settings {
  bool reuse_addr, reuse_port, ipv6only, nodelay;
  int keepalive;
} settings;

/* The accepted sockets have what this one has. */
static int set_options(int fd, int family, const settings *s) {
  int status = 0;
  if (s->reuse_addr)
    status = neap__socket_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (status == 0 && s->reuse_port)
#ifdef SO_REUSEPORT
    status = neap__socket_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
#else
    status = UV_ENOTSUP;
#endif
  if (status == 0 && family == AF_INET6)
    status = neap__socket_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, s->ipv6only);
  if (status == 0 && s->nodelay)
    status = neap__socket_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (status == 0) status = neap__socket_keepalive(fd, s->keepalive);
  return status;
}

/* listen_tcp(address, port, backlog, reuse_addr, reuse_port, ipv6only, nodelay,
 * keepalive in seconds or 0) -> a Listener, or nil and an error. */
static int l_listen_tcp(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  size_t len;
  struct sockaddr_storage address;
  const char *host = luaL_checklstring(L, 1, &len);
  lua_Integer port = luaL_checkinteger(L, 2);
  int backlog = (int)luaL_checkinteger(L, 3);
  luaL_argcheck(L, port >= 0 && port <= 65535, 2,
                "integer from 0 to 65535 expected");
  settings set = {
      lua_toboolean(L, 4), lua_toboolean(L, 5),           lua_toboolean(L, 6),
      lua_toboolean(L, 7), (int)luaL_optinteger(L, 8, 0),
  };
  int status = neap__address_parse(host, len, (int)port, &address);
  luaL_argcheck(L, status != UV_EINVAL, 1, "numeric address expected");
  if (status < 0) return neap_refuse(L, status, "listen");
  neap__loop *loop = neap__the_loop(L, rt);
  neap__io **box = neap__io_box(L, rt, NEAP__K_LISTENER);
  int family = address.ss_family, fd = neap__socket(family);
  if (fd < 0) return neap_refuse(L, fd, "listen");
  status = set_options(fd, family, &set);
  if (status == 0 && bind(fd, (const struct sockaddr *)&address,
                          neap__address_len(&address)) < 0)
    status = -errno;
  return begin(L, box, loop, fd, backlog, status, false);
}

/* Nobody listens on this path any more: a file was left behind. */
static bool is_stale(const struct sockaddr_storage *address, socklen_t len) {
  const struct sockaddr_un *un = (const void *)address;
  struct stat file;
  if (un->sun_path[0] == '\0' || lstat(un->sun_path, &file) < 0 ||
      !S_ISSOCK(file.st_mode))
    return false;
  int fd = neap__socket(AF_UNIX);
  if (fd < 0) return false;
  bool refused = connect(fd, (const struct sockaddr *)address, len) < 0 &&
                 errno == ECONNREFUSED;
  close(fd);
  return refused;
}

static int bind_path(int fd, const struct sockaddr_storage *address,
                     socklen_t len, int mode) {
  const struct sockaddr_un *un = (const void *)address;
  bool abstract = un->sun_path[0] == '\0';
  /* So that it never is more open than asked for. */
  if (mode >= 0 && !abstract && fchmod(fd, (mode_t)mode) < 0) return -errno;
  int status = 0;
  if (bind(fd, (const struct sockaddr *)address, len) < 0) {
    status = -errno;
    if (status != UV_EADDRINUSE || !is_stale(address, len)) return status;
    unlink(un->sun_path);
    if (bind(fd, (const struct sockaddr *)address, len) < 0) return -errno;
  }
  if (mode >= 0 && !abstract && chmod(un->sun_path, (mode_t)mode) < 0) {
    status = -errno;
    unlink(un->sun_path);
    return status;
  }
  return 0;
}

/* listen_unix(path, backlog, mode of the file or -1) -> a Listener, or nil and an
 * error. */
static int l_listen_unix(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  struct sockaddr_storage address;
  struct stat file;
  socklen_t address_len;
  size_t len;
  const char *path = luaL_checklstring(L, 1, &len);
  int backlog = (int)luaL_checkinteger(L, 2);
  int mode = (int)luaL_checkinteger(L, 3);
  int status = neap__address_unix(path, len, &address, &address_len);
  luaL_argcheck(L, status != UV_EINVAL, 1, "path expected");
  if (status < 0) return neap_refuse(L, status, "listen");
  neap__loop *loop = neap__the_loop(L, rt);
  neap__io **box = neap__io_box(L, rt, NEAP__K_LISTENER);
  int fd = neap__socket(AF_UNIX);
  if (fd < 0) return neap_refuse(L, fd, "listen");
  status = bind_path(fd, &address, address_len, mode);
  int n = begin(L, box, loop, fd, backlog, status, true);
  if (n != 1 || path[0] == '\0') return n;
  listener *l = of(*box);
  l->path = neap__alloc(rt, NULL, 0, len + 1);
  if (l->path == NULL) return n; /* the file stays, and is taken for stale */
  memcpy(l->path, path, len + 1);
  if (stat(path, &file) == 0) {
    l->dev = file.st_dev;
    l->ino = file.st_ino;
  }
  return n;
}

void neap__listener_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {
      {"accept", l_accept},
      {"close", l_close},
      {"is_closed", l_is_closed},
      {"address", l_address},
      {"fileno", l_fileno},
      {"__close", l_close},
      {"__gc", neap__io_gc},
      {"__tostring", l_tostring},
      {NULL, NULL},
  };
  static const luaL_Reg functions[] = {
      {"listen_tcp", l_listen_tcp},
      {"listen_unix", l_listen_unix},
      {"is_listener", l_is_listener},
      {NULL, NULL},
  };
  static const neap__teller teller = {.push = push_listener};
  if (rt->mt[NEAP__K_LISTENER] == NULL) { /* it may be loaded again */
    neap__new_class(L, rt, NEAP__K_LISTENER, "neap.Listener", methods);
    lua_pop(L, 1);
    neap__set_teller(rt, NEAP__K_LISTENER, &teller);
  }
  neap__set_funcs(L, rt, functions);
}
