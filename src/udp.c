/* SPDX-License-Identifier: MIT
 *
 * udp.c - datagrams. The module "neap.core.udp"; programs use neap.net.udp.
 *
 * A socket reads from the first recv() on, and reads ahead until what nobody has asked
 * for reaches a limit; after that the system's own buffer fills, and it drops what finds
 * no room there. Each datagram is given to one of the tasks that wait, in their order;
 * one that is cancelled before it runs puts it back.
 *
 * Sending is done on the spot where the system takes it. What it does not take is
 * libuv's, in memory of its own: a task that is cancelled does not wait for it.
 */
#include "udp.h"

#include <netinet/in.h>
#include <string.h>

#define BURST 64 /* datagrams sent before others get a turn */

struct neap__packet {
  neap__packet *next;
  size_t len;
  int error; /* a UV_E* code instead of a datagram, or 0 */
  struct sockaddr_storage from;
  char data[];
};

typedef struct sending {
  uv_udp_send_t uv;
  neap_runtime *rt;
  neap_wait *wait; /* NULL: nobody cares any more */
  size_t size;
  char data[];
} sending;

/* ---- life -------------------------------------------------------------------------- */

static neap__udp *of(neap__io *io) {
  return neap__container_of(io, neap__udp, io);
}

static neap__packet *take_out(neap__udp *u) {
  neap__packet *p = u->first;
  u->first = p->next;
  if (u->first == NULL) u->last = NULL;
  u->bytes -= sizeof *p + p->len;
  u->serial++;
  return p;
}

static void put_back(neap__udp *u, neap__packet *p) {
  p->next = u->first;
  u->first = p;
  if (u->last == NULL) u->last = p;
  u->bytes += sizeof *p + p->len;
}

static void free_first(neap__udp *u) {
  neap__packet *p = take_out(u);
  neap__alloc(u->io.rt, p, sizeof *p + p->len, 0);
}

static void drop(neap__io *io) {
  neap__udp *u = of(io);
  while (u->first != NULL)
    free_first(u);
}

/* Where the wait of a receiver has what it was woken for; NULL: nothing. */
static neap__packet **packet_of(neap_wait *wait) {
  return (neap__packet **)(void *)&neap__link_of(wait)->queue.next;
}

static void closing(neap__io *io) {
  neap__udp *u = of(io);
  u->receiving = false;
  while (u->receivers.head != NULL) {
    neap_wait *wait = neap__waitq_wake(&u->receivers, UV_EBADF);
    *packet_of(wait) = NULL;
  }
  drop(io);
}

neap__udp *neap__udp_new(neap__loop *loop, int family, int *status) {
  neap__udp *u = neap__io_new(loop->rt, NEAP__K_UDP, sizeof *u);
  *status = UV_ENOMEM;
  if (u == NULL) return NULL;
  *status = uv_udp_init_ex(loop->uv, &u->uv, (unsigned)family);
  if (*status < 0) {
    neap__block_free(loop->rt, u);
    return NULL;
  }
  u->family = family;
  u->io.closing = closing;
  u->io.drop = drop;
  neap__io_open(&u->io, loop, (uv_handle_t *)&u->uv);
  return u;
}

/* ---- what arrives ------------------------------------------------------------------ */

/* Each of those who wait gets a datagram, while there are some. */
static void grant(neap__udp *u) {
  while (u->receivers.head != NULL && u->first != NULL) {
    neap_wait *wait = neap__waitq_wake(&u->receivers, 0);
    *packet_of(wait) = take_out(u);
  }
}

static void keep(neap__udp *u, int error, const char *data, size_t len,
                 const struct sockaddr *from) {
  neap__packet *p = neap__alloc(u->io.rt, NULL, 0, sizeof *p + len);
  if (p == NULL) {
    u->missed++;
    return;
  }
  memset(p, 0, sizeof *p);
  p->len = len;
  p->error = error;
  if (len > 0) memcpy(p->data, data, len);
  if (from != NULL)
    memcpy(&p->from, from,
           from->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                       : sizeof(struct sockaddr_in));
  if (u->last != NULL) {
    u->last->next = p;
  } else {
    u->first = p;
  }
  u->last = p;
  u->bytes += sizeof *p + len;
  grant(u);
}

static void on_alloc(uv_handle_t *uv, size_t suggested, uv_buf_t *buf) {
  neap__udp *u = uv->data;
  neap__loop *loop = u->io.loop;
  (void)suggested;
  if (loop->slab == NULL)
    loop->slab = neap__alloc(loop->rt, NULL, 0, NEAP__SLAB);
  *buf = uv_buf_init(loop->slab, loop->slab != NULL ? NEAP__SLAB : 0);
}

static void pull(neap__udp *u);

static void on_receive(uv_udp_t *uv, ssize_t n, const uv_buf_t *buf,
                       const struct sockaddr *from, unsigned flags) {
  neap__udp *u = uv->data;
  (void)flags;
  if (n == 0 && from == NULL) return; /* nothing there after all */
  if (n < 0) {
    if (n == UV_ENOBUFS) u->asked = false; /* no memory: until somebody asks */
    keep(u, n == UV_ENOBUFS ? UV_ENOMEM : (int)n, NULL, 0, NULL);
  } else {
    keep(u, 0, buf->base, (size_t)n, from);
  }
  pull(u);
}

/* Makes libuv receive, or stop, as what is there and who waits demand. */
static void pull(neap__udp *u) {
  bool wanted = u->io.open && u->asked && u->bytes < u->limit;
  if (wanted == u->receiving) return;
  if (!wanted) {
    if (u->io.open) uv_udp_recv_stop(&u->uv);
    u->receiving = false;
    return;
  }
  int status = uv_udp_recv_start(&u->uv, on_alloc, on_receive);
  u->receiving = status == 0;
  if (status < 0) keep(u, status, NULL, 0, NULL);
}

/* ---- arguments --------------------------------------------------------------------- */

static neap__udp *self(lua_State *L) {
  return (neap__udp *)neap__io_check(L, neap__rt(L), 1, NEAP__K_UDP, "Udp");
}

neap__udp *neap__udp_check(lua_State *L, const char *name) {
  neap__udp *u = self(L);
  if (u == NULL || !u->io.open)
    luaL_error(L, "attempt to use a closed socket (in '%s')", name);
  return u;
}

/* An address of IPv4 as a socket of IPv6 has it. */
void neap__udp_map(struct sockaddr_storage *address) {
  struct sockaddr_in inet;
  memcpy(&inet, address, sizeof inet);
  struct sockaddr_in6 *inet6 = (struct sockaddr_in6 *)(void *)address;
  memset(inet6, 0, sizeof *inet6);
  inet6->sin6_family = AF_INET6;
  inet6->sin6_port = inet.sin_port;
  inet6->sin6_addr.s6_addr[10] = inet6->sin6_addr.s6_addr[11] = 0xff;
  memcpy(&inet6->sin6_addr.s6_addr[12], &inet.sin_addr, 4);
}

/* Host, port, family; one of IPv4 as such. [-0, +3, m] */
int neap__udp_push_address(lua_State *L,
                           const struct sockaddr_storage *address) {
  const struct sockaddr_in6 *inet6 =
      (const struct sockaddr_in6 *)(const void *)address;
  if (address->ss_family != AF_INET6 ||
      !IN6_IS_ADDR_V4MAPPED(&inet6->sin6_addr))
    return neap__address_push(L, address, sizeof *address);
  struct sockaddr_in inet = {.sin_family = AF_INET,
                             .sin_port = inet6->sin6_port};
  memcpy(&inet.sin_addr, &inet6->sin6_addr.s6_addr[12], 4);
  return neap__address_push(L, &inet, sizeof inet);
}

/* ---- receiving --------------------------------------------------------------------- */

/* The first datagram, or the error that came in its place. [-0, +3, m] */
static int take_first(lua_State *L, neap__udp *u) {
  neap__packet *p = u->first;
  if (p->error != 0) {
    int status = p->error;
    free_first(u);
    pull(u);
    return neap_refuse(L, status, "recv");
  }
  struct sockaddr_storage from = p->from;
  unsigned serial = u->serial;
  lua_pushlstring(L, p->data, p->len);
  neap__udp_push_address(L, &from);
  lua_pop(L, 1);
  /* Finalizers may have run. One that closed the socket does no harm. */
  if (!u->io.open) return 3;
  if (NEAP__UNLIKELY(u->serial != serial))
    return luaL_error(L, "a finalizer has received from the same socket");
  free_first(u);
  pull(u);
  return 3;
}

static neap_aborted receive_abort(neap_wait *wait) {
  neap__udp *u = neap__link_of(wait)->object;
  neap__waitq_remove(&u->receivers, wait);
  *packet_of(wait) = NULL;
  return NEAP_ABORT_DONE;
}

static int receive_finish(lua_State *L, neap_wait *wait) {
  neap__udp *u = neap__link_of(wait)->object;
  neap__packet *p = *packet_of(wait);
  neap__io_release(&u->io);
  if (p != NULL) put_back(u, p);
  if (L != NULL && wait->status == 0) return take_first(L, u);
  if (u->io.open) {
    grant(u); /* what it was woken for is another's */
  } else {
    drop(&u->io);
  }
  return L == NULL ? 0 : neap_refuse(L, wait->status, "recv");
}

/* Of the iterator: a closed socket is its end, other errors are raised. */
static int next_finish(lua_State *L, neap_wait *wait) {
  const neap__udp *u = neap__link_of(wait)->object;
  int n = receive_finish(L, wait);
  if (n != 2) return n;
  if (!u->io.open) return 0;
  return lua_error(L);
}

static int take_now(lua_State *L, neap__udp *u, neap_finish finish) {
  int n = take_first(L, u);
  return n == 2 && finish == next_finish ? lua_error(L) : n;
}

static int receive(lua_State *L, const char *name, neap_finish finish) {
  neap_runtime *rt = neap__rt(L);
  neap__udp *u = neap__udp_check(L, name);
  neap__io_check_here(L, rt, &u->io);
  if (u->first != NULL) {
    neap__check_again(rt, L, name);
    return take_now(L, u, finish);
  }
  neap__check_park(rt, L, name);
  u->asked = true;
  pull(u);
  if (u->first != NULL) return take_now(L, u, finish); /* it could not begin */
  neap_wait *wait = neap__io_wait(rt, receive_abort, finish, name, u);
  neap__waitq_push(&u->receivers, wait);
  neap__io_hold(&u->io);
  return neap__park(rt, L, wait);
}

/* udp:recv() -> data, host, port; nil, err. Waits. */
static int l_recv(lua_State *L) {
  return receive(L, "Udp:recv", receive_finish);
}

static int l_next(lua_State *L) {
  const neap__udp *u = self(L);
  if (u == NULL || !u->io.open) return 0;
  lua_settop(L, 1);
  return receive(L, "Udp:packets", next_finish);
}

/* udp:packets() -> an iterator of data, host, port, which ends when it is closed. */
static int l_packets(lua_State *L) {
  neap__udp_check(L, "Udp:packets");
  neap__push_self(L, neap__rt(L));
  lua_pushcclosure(L, l_next, 1);
  lua_pushvalue(L, 1);
  return 2;
}

/* ---- sending ----------------------------------------------------------------------- */

static void on_sent(uv_udp_send_t *uv, int status) {
  sending *s = neap__container_of(uv, sending, uv);
  if (s->wait != NULL)
    neap_wake(s->wait, status == UV_ECANCELED ? UV_EBADF : status);
  neap__alloc(s->rt, s, s->size, 0);
}

/* Where the wait has its `sending`. */
static void **sending_of(neap_wait *wait) {
  return (void **)(void *)&neap__link_of(wait)->queue.next;
}

/* The datagram leaves all the same. */
static neap_aborted send_abort(neap_wait *wait) {
  sending *s = *sending_of(wait);
  s->wait = NULL;
  return NEAP_ABORT_DONE;
}

static int send_finish(lua_State *L, neap_wait *wait) {
  if (L == NULL) return 0;
  if (wait->status < 0) return neap_refuse(L, wait->status, "send");
  lua_pushboolean(L, 1);
  return 1;
}

static int queue(lua_State *L, neap__udp *u, const char *data, size_t len,
                 const struct sockaddr *to) {
  neap_runtime *rt = u->io.rt;
  neap__check_park(rt, L, "Udp:send");
  sending *s = neap__alloc(rt, NULL, 0, sizeof *s + len);
  if (s == NULL) return luaL_error(L, "not enough memory");
  memset(s, 0, sizeof *s);
  s->rt = rt;
  s->size = sizeof *s + len;
  if (len > 0) memcpy(s->data, data, len);
  uv_buf_t buf = {.base = s->data, .len = len};
  int status = uv_udp_send(&s->uv, &u->uv, &buf, 1, to, on_sent);
  if (status < 0) {
    neap__alloc(rt, s, s->size, 0);
    return neap_refuse(L, status, "send");
  }
  s->wait = neap__io_wait(rt, send_abort, send_finish, "Udp:send", u);
  *sending_of(s->wait) = s;
  u->burst = 0;
  return neap__park(rt, L, s->wait);
}

static int send_to(lua_State *L, bool has_room) {
  neap_runtime *rt = neap__rt(L);
  neap__udp *u = neap__udp_check(L, "Udp:send");
  size_t len, host_len;
  struct sockaddr_storage storage;
  const struct sockaddr *to = NULL;
  if (lua_type(L, 2) != LUA_TSTRING)
    neap__bad_value(L, rt, 2, "argument #1", "Udp:send", "string");
  const char *data = lua_tolstring(L, 2, &len);
  if (!u->connected) {
    if (lua_type(L, 3) != LUA_TSTRING)
      neap__bad_value(L, rt, 3, "argument #2", "Udp:send", "string");
    const char *host = lua_tolstring(L, 3, &host_len);
    int port = neap__check_port(L, rt, 4, "argument #3", "Udp:send");
    int status = neap__address_parse(host, host_len, port, &storage);
    if (status == UV_EINVAL) {
      lua_pushboolean(L, 0);
      return 1;
    }
    if (status < 0) return neap_refuse(L, status, "send");
    if (u->family == AF_INET6 && storage.ss_family == AF_INET)
      neap__udp_map(&storage);
    to = (const struct sockaddr *)&storage;
  } else if (!lua_isnoneornil(L, 3)) {
    neap__bad_value(L, rt, 3, "argument #2", "Udp:send",
                    "nothing, as the socket is connected,");
  }
  neap__io_check_here(L, rt, &u->io);
  neap__check_again(rt, L, "Udp:send");
  uv_buf_t buf = {.base = (char *)(uintptr_t)data, .len = len};
  int status = has_room ? uv_udp_try_send(&u->uv, &buf, 1, to) : UV_EAGAIN;
  if (status == UV_EAGAIN) return queue(L, u, data, len, to);
  if (status < 0) return neap_refuse(L, status, "send");
  lua_settop(L, 1);
  lua_pushboolean(L, 1);
  if (++u->burst < BURST || rt->current == &rt->root || rt->current == NULL ||
      !lua_isyieldable(L))
    return 1;
  u->burst = 0;
  return neap__yield(rt, L, "Udp:send");
}

/* udp:send(data, host, port) -> true; nil, err; false: `host` is a name. Without host and
 * port where it is connected. Waits. */
static int l_send(lua_State *L) {
  return send_to(L, true);
}

/* send_queued(udp, ...): for tests, a send for which the system has no room at once,
 * which no loopback does on demand. */
static int l_send_queued(lua_State *L) {
  return send_to(L, false);
}

/* ---- the rest of the methods -------------------------------------------------------- */

/* udp:close(): who waits gets nil, err. */
static int l_close(lua_State *L) {
  neap__udp *u = self(L);
  if (u != NULL) neap__io_close(&u->io);
  return 0;
}

static int l_is_closed(lua_State *L) {
  const neap__udp *u = self(L);
  lua_pushboolean(L, u == NULL || !u->io.open);
  return 1;
}

/* Pushes its text; runs no Lua. */
static void push_udp(lua_State *L, const void *object) {
  const neap__udp *u = object;
  struct sockaddr_storage address;
  int len = sizeof address;
  if (u == NULL || !u->io.open ||
      uv_udp_getsockname(&u->uv, (struct sockaddr *)&address, &len) < 0) {
    lua_pushliteral(L, "<Udp closed>");
    return;
  }
  neap__address_push(L, &address, (socklen_t)len);
  lua_pop(L, 1);
  lua_pushfstring(L, "<Udp %s port %d>", lua_tostring(L, -2),
                  (int)lua_tointeger(L, -1));
  lua_replace(L, -3);
  lua_pop(L, 1);
}

static int l_tostring(lua_State *L) {
  push_udp(L, self(L));
  return 1;
}

int neap__open_udp(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"send", l_send},      {"recv", l_recv},           {"packets", l_packets},
      {"close", l_close},    {"is_closed", l_is_closed}, {"__close", l_close},
      {"__gc", neap__io_gc}, {"__tostring", l_tostring}, {NULL, NULL},
  };
  static const luaL_Reg functions[] = {
      {"open", neap__udp_open}, {"send_queued", l_send_queued}, {NULL, NULL}};
  static const neap__teller teller = {.push = push_udp};
  neap_runtime *rt = neap_of(L);
  if (rt->mt[NEAP__K_UDP] == NULL) { /* it may be loaded again */
    neap__new_class(L, rt, NEAP__K_UDP, "neap.Udp", methods);
    neap__set_funcs(L, rt, neap__udp_option_methods);
    lua_pop(L, 1);
    neap__set_teller(rt, NEAP__K_UDP, &teller);
  }
  lua_createtable(L, 0, 2);
  neap__set_funcs(L, rt, functions);
  neap__push_class(L, rt, NEAP__K_UDP);
  lua_setfield(L, -2, "methods");
  return 1;
}
