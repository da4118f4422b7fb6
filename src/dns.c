/* SPDX-License-Identifier: MIT
 *
 * dns.c - names to addresses. The module "neap.core.dns"; programs use neap.net.resolve.
 *
 * Numeric addresses are read on the spot. Names are c-ares' business where it can be
 * opened (cares.c), and otherwise that of libuv's pool: there at most THREADS of a loop
 * are asked for at a time, so that slow names leave threads to files, and the others
 * stand in line.
 */
#include "dns.h"

#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS 2

/* ---- queries ------------------------------------------------------------------------- */

bool neap__query_reserve(neap__query *q, size_t n) {
  if (n == 0) return true;
  q->found = neap__block_try(q->rt, n * sizeof *q->found);
  return q->found != NULL;
}

void neap__query_add(neap__query *q, const struct sockaddr *address) {
  size_t size = address->sa_family == AF_INET    ? sizeof(struct sockaddr_in)
                : address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                 : 0;
  if (size > 0) memcpy(&q->found[q->nfound++], address, size);
}

void neap__query_free(neap__query *q) {
  if (q->found != NULL) neap__block_free(q->rt, q->found);
  neap__block_free(q->rt, q);
}

void neap__query_done(neap__query *q, int status) {
  bool abandoned = q->busy && q->wait == NULL;
  if (status == 0 && q->nfound == 0) status = UV_EAI_NODATA;
  q->busy = false;
  q->status = status;
  if (abandoned) {
    neap__query_free(q);
  } else if (q->wait != NULL) {
    neap_wake(q->wait, 0);
  }
}

bool neap__out_of_descriptors(void) {
  int fd = open("/", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno == EMFILE || errno == ENFILE;
  close(fd);
  return false;
}

/* ---- by libuv's pool --------------------------------------------------------------------- */

static void start_next(neap__loop *loop);

static void on_found(uv_getaddrinfo_t *uv, int status, struct addrinfo *found) {
  neap__query *q = neap__container_of(uv, neap__query, uv);
  neap__loop *loop = q->loop;
  size_t n = 0;
  for (const struct addrinfo *one = found; one != NULL; one = one->ai_next)
    n++;
  if (status == 0 && !neap__query_reserve(q, n)) status = UV_EAI_MEMORY;
  for (const struct addrinfo *one = found; status == 0 && one != NULL;
       one = one->ai_next)
    neap__query_add(q, one->ai_addr);
  uv_freeaddrinfo(found);
  loop->open_handles--;
  loop->nresolving--;
  neap__query_done(q, status);
  start_next(loop);
  neap__loop_rearm(loop);
}

static int start_thread(neap__query *q) {
  neap__loop *loop = q->loop;
  struct addrinfo hints;
  memset(&hints, 0, sizeof hints);
  hints.ai_family = q->family;
  hints.ai_socktype = SOCK_STREAM;
  int status =
      uv_getaddrinfo(loop->uv, &q->uv, on_found, q->name, q->service, &hints);
  if (status < 0) /* it is no name that could be encoded */
    return status == UV_ENOMEM ? UV_EAI_MEMORY : UV_EAI_NONAME;
  loop->open_handles++;
  loop->nresolving++;
  return 0;
}

static void start_next(neap__loop *loop) {
  while (loop->resolve_line != NULL && loop->nresolving < THREADS) {
    neap__query *q = loop->resolve_line;
    loop->resolve_line = q->next;
    q->next = NULL;
    int status = start_thread(q);
    if (status < 0) neap__query_done(q, status);
  }
}

static int enter_line(neap__query *q) {
  neap__query **at = &q->loop->resolve_line;
  while (*at != NULL)
    at = &(*at)->next;
  *at = q;
  q->status = 1; /* not answered */
  start_next(q->loop);
  q->busy = q->status == 1;
  return 0;
}

/* Nobody waits for it any more. */
static void leave_line(neap__query *q) {
  for (neap__query **at = &q->loop->resolve_line; *at != NULL;
       at = &(*at)->next) {
    if (*at != q) continue;
    *at = q->next;
    neap__query_free(q);
    return;
  }
  uv_cancel((uv_req_t *)&q->uv); /* only where it has not begun */
}

/* ---- results ------------------------------------------------------------------------------ */

/* Pushes nil and the error. [-0, +2, v] */
static int refuse(lua_State *L, const char *name, int status,
                  const char *text) {
  char buffer[128];
  if (text == NULL) text = uv_strerror_r(status, buffer, sizeof buffer);
  neap_refuse(L, status, "resolve");
  lua_pushfstring(L, "resolve %s: %s", name, text);
  lua_setfield(L, -2, "message");
  return 2;
}

/* Adds { address, family, port } to the list on top. [-0, +0, m] */
static void add_address(lua_State *L, const struct sockaddr_storage *address,
                        bool with_port) {
  lua_createtable(L, 0, with_port ? 3 : 2);
  neap__address_push(L, address, sizeof *address);
  lua_setfield(L, -4, "family");
  if (with_port) {
    lua_setfield(L, -3, "port");
  } else {
    lua_pop(L, 1);
  }
  lua_setfield(L, -2, "address");
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

static void set_port(struct sockaddr_storage *address, int port) {
  if (address->ss_family == AF_INET6) {
    ((struct sockaddr_in6 *)(void *)address)->sin6_port = htons((uint16_t)port);
  } else {
    ((struct sockaddr_in *)(void *)address)->sin_port = htons((uint16_t)port);
  }
}

/* The answer, as results; frees the query. */
static int give(lua_State *L, neap__query *q) {
  int n = 1;
  if (q->status < 0) {
    bool known = !neap__out_of_descriptors(); /* nobody could be asked */
    n = refuse(L, q->name, known ? q->status : UV_EMFILE,
               known ? q->text : NULL);
  } else {
    lua_createtable(L, (int)q->nfound, 0);
    for (size_t i = 0; i < q->nfound; i++) {
      if (q->port >= 0) set_port(&q->found[i], q->port);
      add_address(L, &q->found[i], q->port >= 0 || q->service != NULL);
    }
  }
  neap__query_free(q);
  return n;
}

static neap_aborted resolve_abort(neap_wait *wait) {
  neap__query *q = neap__link_of(wait)->object;
  neap__link_of(wait)->object = NULL;
  q->wait = NULL;
  if (q->resolver != NULL) {
    neap__cares_abandon(q);
  } else {
    leave_line(q);
  }
  return NEAP_ABORT_DONE;
}

static int resolve_finish(lua_State *L, neap_wait *wait) {
  neap__query *q = neap__link_of(wait)->object;
  if (q != NULL && (L == NULL || wait->status < 0)) neap__query_free(q);
  if (L == NULL) return 0;
  if (wait->status < 0) return neap_refuse(L, wait->status, "resolve");
  return give(L, q);
}

/* ---- Lua functions -------------------------------------------------------------------------- */

/* "inet", "inet6" or nil. */
static int check_family(lua_State *L, int index) {
  if (lua_isnoneornil(L, index)) return AF_UNSPEC;
  return strcmp(luaL_checkstring(L, index), "inet6") == 0 ? AF_INET6 : AF_INET;
}

/* Whether c-ares is to be asked. NEAP_RESOLVER=libuv: not. */
static bool by_cares(neap_runtime *rt) {
  const char *wish = getenv("NEAP_RESOLVER");
  if (rt->no_cares || (wish != NULL && strcmp(wish, "libuv") == 0))
    return false;
  return neap__cares_load(rt);
}

/* numeric(host, family, port) -> list; false where it is no numeric address; nil, err
 * where it is one of the other family, or its scope is not there. */
static int l_numeric(lua_State *L) {
  size_t len;
  struct sockaddr_storage address;
  const char *host = luaL_checklstring(L, 1, &len);
  int family = check_family(L, 2);
  int port = (int)luaL_optinteger(L, 3, -1);
  int status = neap__address_parse(host, len, port >= 0 ? port : 0, &address);
  if (status == UV_EINVAL) {
    lua_pushboolean(L, 0);
    return 1;
  }
  if (status < 0) return refuse(L, host, status, NULL);
  if (family != AF_UNSPEC && family != address.ss_family)
    return refuse(L, host, UV_EAI_ADDRFAMILY, NULL);
  lua_createtable(L, 1, 0);
  add_address(L, &address, port >= 0);
  return 1;
}

/* resolve(host, family, port, service, servers) -> list; nil, err. servers: "a,b".
 * Waits. */
static int l_resolve(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  size_t len, service_len = 0;
  const char *host = luaL_checklstring(L, 1, &len);
  int family = check_family(L, 2);
  int port = (int)luaL_optinteger(L, 3, -1);
  const char *service = luaL_optlstring(L, 4, NULL, &service_len);
  const char *servers = luaL_optstring(L, 5, NULL);
  neap__check_park(rt, L, "neap.net.resolve");
  if (len == 0 || strlen(host) != len)
    return refuse(L, host, UV_EAI_NONAME, NULL);
  bool cares = by_cares(rt);
  if (servers != NULL && !cares && neap__out_of_descriptors())
    return refuse(L, host, UV_EMFILE, NULL); /* it could not be opened */
  if (servers != NULL && !cares)
    return refuse(L, host, UV_ENOTSUP, "servers can be asked by c-ares only");
  neap__query *q = neap__block_try(rt, sizeof *q + len + 1 + service_len + 1);
  if (q == NULL) return luaL_error(L, "not enough memory");
  q->tag = neap__tag(rt, NEAP__K_QUERY);
  q->rt = rt;
  q->loop = neap__the_loop(L, rt);
  q->family = family;
  q->port = port;
  memcpy(q->name, host, len + 1);
  if (service != NULL) {
    q->service = q->name + len + 1;
    memcpy(q->name + len + 1, service, service_len + 1);
  }
  int status = cares ? neap__cares_start(q, servers) : enter_line(q);
  if (status < 0) {
    neap__query_free(q);
    return refuse(L, host, status, NULL);
  }
  if (!q->busy) return give(L, q);
  q->wait =
      neap__io_wait(rt, resolve_abort, resolve_finish, "neap.net.resolve", q);
  return neap__park(rt, L, q->wait);
}

/* backend(name or nil) -> "c-ares" or "libuv", who answers. name: for tests, "libuv"
 * forbids c-ares from now on, another name allows it again. */
static int l_backend(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  const char *wish = luaL_optstring(L, 1, NULL);
  if (wish != NULL) rt->no_cares = strcmp(wish, "libuv") == 0;
  lua_pushstring(L, by_cares(rt) ? "c-ares" : "libuv");
  return 1;
}

/* pending() -> how many names libuv's threads have, how many wait for one. */
static int l_pending(lua_State *L) {
  const neap__loop *loop = neap__the_loop(L, neap__rt(L));
  lua_Integer n = 0;
  for (const neap__query *q = loop->resolve_line; q != NULL; q = q->next)
    n++;
  lua_pushinteger(L, loop->nresolving);
  lua_pushinteger(L, n);
  return 2;
}

static void push_query(lua_State *L, const void *object) {
  lua_pushfstring(L, "\"%s\"", ((const neap__query *)object)->name);
}

int neap__open_dns(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"numeric", l_numeric}, {"resolve", l_resolve}, {"backend", l_backend},
      {"pending", l_pending}, {NULL, NULL},
  };
  static const neap__teller teller = {.push = push_query};
  neap_runtime *rt = neap_of(L);
  neap__set_teller(rt, NEAP__K_QUERY, &teller);
  lua_createtable(L, 0, 4);
  neap__set_funcs(L, rt, functions);
  return 1;
}
