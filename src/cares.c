/* SPDX-License-Identifier: MIT
 *
 * cares.c - names by c-ares, which asks servers without threads.
 *
 * The library is opened when the first name is asked for: nothing is linked, and a
 * program without names does not pay for it. A channel (`resolver`) lives while somebody
 * waits for one of its queries. It reads the system's settings when it is made, so that
 * changes count from the next quiet moment on, and it is destroyed with the last waiter:
 * c-ares cannot cancel a single query. That is never done inside a call of c-ares.
 */
#include "dns.h"

#include <string.h>

#if defined(__has_include)
#if __has_include(<ares.h>) && !defined(NEAP_NO_CARES)
#define HAVE_ARES 1
#endif
#endif

#ifdef HAVE_ARES

#include <ares.h>
#include <dlfcn.h>

#define FUNCTIONS(X)                                                           \
  X(ares_library_init)                                                         \
  X(ares_init_options)                                                         \
  X(ares_destroy)                                                              \
  X(ares_set_servers_ports_csv)                                                \
  X(ares_getaddrinfo)                                                          \
  X(ares_freeaddrinfo)                                                         \
  X(ares_process_fd)                                                           \
  X(ares_timeout)                                                              \
  X(ares_strerror)

struct neap__cares {
#define X(name) __typeof__(name) *(name);
  FUNCTIONS(X)
#undef X
};

typedef struct neap__resolver {
  neap__io io; /* of its timer */
  uv_timer_t uv;
  struct neap__resolver *next; /* of the loop */
  const struct neap__cares *api;
  ares_channel channel;
  struct watch *watches;
  size_t waiting; /* busy queries that somebody waits for */
  char *servers;  /* "a,b"; NULL: the system's */
} resolver;

/* A socket of c-ares'. */
typedef struct watch {
  neap__io io;
  uv_poll_t uv;
  struct watch *next;
  resolver *resolver; /* NULL: it is gone */
  ares_socket_t fd;
} watch;

/* ---- the library --------------------------------------------------------------------- */

#ifdef __APPLE__
#define LIBRARY "libcares.2.dylib"
#else
#define LIBRARY "libcares.so.2"
#endif

/* False, and *again where it may be there another time. */
static bool load(struct neap__cares *api, bool *again) {
  void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
  *again = library == NULL && neap__out_of_descriptors();
  if (library == NULL) return false;
  void *symbol;
#define X(name)                                                                \
  symbol = dlsym(library, #name);                                              \
  if (symbol == NULL) return false;                                            \
  memcpy(&api->name, &symbol, sizeof symbol);
  FUNCTIONS(X)
#undef X
  return api->ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS;
}

bool neap__cares_load(neap_runtime *rt) {
  if (rt->cares_tried) return rt->cares != NULL;
  bool again = false;
  struct neap__cares *api = neap__block_try(rt, sizeof *api);
  if (api == NULL) return false;
  if (load(api, &again)) {
    rt->cares = api;
  } else {
    neap__block_free(rt, api);
  }
  rt->cares_tried = !again;
  return rt->cares != NULL;
}

static int code_of(int status) {
  switch (status) {
  case ARES_SUCCESS:
    return 0;
  case ARES_ENOTFOUND:
  case ARES_ENONAME:
  case ARES_EBADNAME:
    return UV_EAI_NONAME;
  case ARES_ENODATA:
    return UV_EAI_NODATA;
  case ARES_ESERVFAIL:
  case ARES_ETIMEOUT:
  case ARES_ECONNREFUSED:
    return UV_EAI_AGAIN;
  case ARES_ENOMEM:
    return UV_EAI_MEMORY;
  case ARES_ESERVICE:
    return UV_EAI_SERVICE;
  case ARES_EBADFAMILY:
    return UV_EAI_FAMILY;
  case ARES_ECANCELLED:
  case ARES_EDESTRUCTION:
    return UV_EAI_CANCELED;
  default:
    return UV_EAI_FAIL;
  }
}

/* ---- sockets and the timer -------------------------------------------------------------- */

static void on_timer(uv_timer_t *uv);

/* c-ares has done something: goes on, or ends it when nobody waits. */
static void settle(resolver *r) {
  struct timeval tv;
  if (!r->io.open) return;
  if (r->waiting == 0) {
    neap__io_close(&r->io);
    return;
  }
  uint64_t ms = 1000;
  if (r->api->ares_timeout(r->channel, NULL, &tv) != NULL)
    ms = (uint64_t)tv.tv_sec * 1000 + ((uint64_t)tv.tv_usec + 999) / 1000;
  uv_update_time(r->io.loop->uv);
  uv_timer_start(&r->uv, on_timer, ms, 0);
}

static void process(resolver *r, ares_socket_t in, ares_socket_t out) {
  neap__loop *loop = r->io.loop;
  if (!r->io.open) return;
  r->api->ares_process_fd(r->channel, in, out);
  settle(r);
  neap__loop_rearm(loop);
}

static void on_timer(uv_timer_t *uv) {
  neap__io *io = uv->data;
  process(neap__container_of(io, resolver, io), ARES_SOCKET_BAD,
          ARES_SOCKET_BAD);
}

static void on_ready(uv_poll_t *uv, int status, int events) {
  neap__io *io = uv->data;
  const watch *w = neap__container_of(io, watch, io);
  if (w->resolver == NULL) return;
  if (status < 0) events = UV_READABLE | UV_WRITABLE;
  process(w->resolver, events & UV_READABLE ? w->fd : ARES_SOCKET_BAD,
          events & UV_WRITABLE ? w->fd : ARES_SOCKET_BAD);
}

static void watch_closing(neap__io *io) {
  watch *w = neap__container_of(io, watch, io);
  watch **at = &w->resolver->watches;
  while (*at != w)
    at = &(*at)->next;
  *at = w->next;
  w->resolver = NULL;
}

/* c-ares wants to know about a socket, or is about to close it. */
static void on_state(void *data, ares_socket_t fd, int readable, int writable) {
  resolver *r = data;
  watch *w = r->watches;
  while (w != NULL && w->fd != fd)
    w = w->next;
  if (!readable && !writable) {
    if (w != NULL) neap__io_close(&w->io);
    return;
  }
  if (w == NULL) {
    w = neap__io_new(r->io.loop->rt, NEAP__K_QUERY, sizeof *w);
    if (w == NULL) return; /* the query runs into its time-out */
    if (uv_poll_init_socket(r->io.loop->uv, &w->uv, fd) < 0) {
      neap__block_free(r->io.loop->rt, w);
      return;
    }
    w->fd = fd;
    w->resolver = r;
    w->next = r->watches;
    r->watches = w;
    w->io.closing = watch_closing;
    neap__io_open(&w->io, r->io.loop, (uv_handle_t *)&w->uv);
  }
  uv_poll_start(&w->uv,
                (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0),
                on_ready);
}

/* ---- channels ---------------------------------------------------------------------------- */

static void resolver_closing(neap__io *io) {
  resolver *r = neap__container_of(io, resolver, io);
  resolver **at = &io->loop->resolvers;
  while (*at != r)
    at = &(*at)->next;
  *at = r->next;
  r->api->ares_destroy(r->channel); /* answers all queries, closes sockets */
}

static void resolver_drop(neap__io *io) {
  resolver *r = neap__container_of(io, resolver, io);
  if (r->servers != NULL)
    neap__alloc(io->loop->rt, r->servers, strlen(r->servers) + 1, 0);
}

/* c-ares' own loopback names are found without any server; see settle for its end. */
static int make_channel(resolver *r, const char *servers) {
  struct ares_options options;
  memset(&options, 0, sizeof options);
  options.sock_state_cb = on_state;
  options.sock_state_cb_data = r;
  int status =
      r->api->ares_init_options(&r->channel, &options, ARES_OPT_SOCK_STATE_CB);
  if (status != ARES_SUCCESS)
    return status == ARES_ENOMEM ? UV_ENOMEM : UV_EAI_FAIL;
  if (servers == NULL) return 0;
  status = r->api->ares_set_servers_ports_csv(r->channel, servers);
  if (status == ARES_SUCCESS) return 0;
  r->api->ares_destroy(r->channel);
  return status == ARES_ENOMEM ? UV_ENOMEM : UV_EINVAL;
}

static bool same(const char *a, const char *b) {
  return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* The loop's channel for these servers, made where there is none; or NULL. */
static resolver *obtain(neap__loop *loop, const char *servers, int *status) {
  neap_runtime *rt = loop->rt;
  resolver *r = loop->resolvers;
  while (r != NULL && !same(r->servers, servers))
    r = r->next;
  if (r != NULL) return r;
  *status = UV_ENOMEM;
  r = neap__io_new(rt, NEAP__K_QUERY, sizeof *r);
  if (r == NULL) return NULL;
  r->api = rt->cares;
  if (servers != NULL) {
    size_t size = strlen(servers) + 1;
    r->servers = neap__alloc(rt, NULL, 0, size);
    if (r->servers == NULL) {
      neap__block_free(rt, r);
      return NULL;
    }
    memcpy(r->servers, servers, size);
  }
  if ((*status = make_channel(r, servers)) < 0) {
    if (r->servers != NULL)
      neap__alloc(rt, r->servers, strlen(r->servers) + 1, 0);
    neap__block_free(rt, r);
    return NULL;
  }
  r->io.closing = resolver_closing;
  r->io.drop = resolver_drop;
  uv_timer_init(loop->uv, &r->uv);
  neap__io_open(&r->io, loop, (uv_handle_t *)&r->uv);
  neap__io_hold(&r->io); /* it is there only while somebody waits */
  r->next = loop->resolvers;
  loop->resolvers = r;
  return r;
}

/* ---- queries -------------------------------------------------------------------------------- */

static void on_answer(void *data, int status, int timeouts,
                      struct ares_addrinfo *found) {
  neap__query *q = data;
  resolver *r = q->resolver;
  int code = code_of(status);
  (void)timeouts;
  if (code < 0) q->text = r->api->ares_strerror(status);
  if (found != NULL) {
    size_t n = 0;
    const struct ares_addrinfo_node *node;
    for (node = found->nodes; node != NULL; node = node->ai_next)
      n++;
    if (code == 0 && !neap__query_reserve(q, n)) code = UV_EAI_MEMORY;
    for (node = found->nodes; code == 0 && node != NULL; node = node->ai_next)
      neap__query_add(q, node->ai_addr);
    r->api->ares_freeaddrinfo(found);
  }
  if (q->wait != NULL || !q->busy) r->waiting--;
  neap__query_done(q, code);
}

int neap__cares_start(neap__query *q, const char *servers) {
  struct ares_addrinfo_hints hints;
  int status;
  resolver *r = obtain(q->loop, servers, &status);
  if (r == NULL) return status;
  memset(&hints, 0, sizeof hints);
  hints.ai_family = q->family;
  hints.ai_socktype = SOCK_STREAM;
  q->resolver = r;
  r->waiting++;
  q->status = 1; /* not answered */
  r->api->ares_getaddrinfo(r->channel, q->name, q->service, &hints, on_answer,
                           q);
  q->busy = q->status == 1;
  settle(r);
  return 0;
}

void neap__cares_abandon(neap__query *q) {
  resolver *r = q->resolver;
  r->waiting--;
  settle(r);
}

#else

bool neap__cares_load(neap_runtime *rt) {
  (void)rt;
  return false;
}

int neap__cares_start(neap__query *q, const char *servers) {
  (void)q;
  (void)servers;
  return UV_ENOTSUP;
}

void neap__cares_abandon(neap__query *q) {
  (void)q;
}

#endif
