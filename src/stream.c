/* SPDX-License-Identifier: MIT
 *
 * stream.c - byte streams: their life, and reading. Writing is in streamwrite.c.
 *
 * libuv reads into one piece of memory for the whole loop; what arrived is copied from
 * there into the buffer of its stream, so that an idle stream has none. Where much comes
 * at a time it is read into the buffer itself.
 */
#include "stream.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#define SLAB NEAP__SLAB
#define BULK ((size_t)16 * 1024) /* a read of more than this is much */
#define HIGH ((size_t)64 * 1024) /* bytes on their way before writers wait */
#define BATCH                                                                  \
  (4 * SLAB) /* is read at once, where much comes and somebody waits */
#define AHEAD ((size_t)64 * 1024) /* bytes that are read before somebody asks */

/* ---- life ------------------------------------------------------------------------ */

static neap__stream *of(neap__io *io) {
  return neap__container_of(io, neap__stream, io);
}

static void drop(neap__io *io) {
  neap__stream *s = of(io);
  neap__reader_free(&s->in);
  neap__stream_drop_output(s);
  if (s->filter != NULL) s->filter->drop(s);
}

/* Whoever waits gets to know. */
static void closing(neap__io *io) {
  neap__stream *s = of(io);
  if (NEAP__UNLIKELY(s->standard)) neap__tty_closing(s);
  s->closed = true;
  s->reading = false;
  neap__pipes_closing(s);
  neap__stream_unsoil(s);
  neap__stream_end_linger(s);
  if (s->reader != NULL) neap_wake(s->reader, UV_EBADF);
  neap__stream_broken(s, UV_EBADF);
}

/* A peer that is gone is to be an error of the write, not the end of the process. */
static void ignore_sigpipe(neap_runtime *rt) {
  struct sigaction now;
  rt->no_sigpipe = true;
  if (sigaction(SIGPIPE, NULL, &now) < 0 || now.sa_handler != SIG_DFL) return;
  now.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &now, NULL);
}

neap__stream *neap__stream_new(neap__loop *loop, enum neap__stream_type type,
                               int fd, int *status) {
  neap_runtime *rt = loop->rt;
  if (!rt->no_sigpipe) ignore_sigpipe(rt);
  neap__stream *s = neap__io_new(rt, NEAP__K_STREAM, sizeof *s);
  *status = UV_ENOMEM;
  if (s == NULL) return NULL;
  if (type == NEAP__TCP) {
    *status = uv_tcp_init(loop->uv, &s->uv.tcp);
  } else if (type == NEAP__PIPE) {
    *status = uv_pipe_init(loop->uv, &s->uv.pipe, 0);
  } else {
    *status = uv_tty_init(loop->uv, &s->uv.tty, fd, 0);
  }
  if (*status < 0) {
    neap__block_free(rt, s);
    return NULL;
  }
  s->type = (unsigned char)type;
  s->io.closing = closing;
  s->io.drop = drop;
  s->high = HIGH;
  s->low = HIGH / 4;
  neap__reader_init(&s->in, rt);
  neap__io_open(&s->io, loop, &s->uv.handle);
  return s;
}

void neap__stream_opened(neap__stream *s, bool readable, bool writable) {
  s->readable = readable;
  s->writable = writable;
}

void neap__streams_close(neap__loop *loop) {
  loop->after_turn = NULL;
  loop->dirty = NULL;
  neap__alloc(loop->rt, loop->slab, SLAB, 0);
  loop->slab = NULL;
}

/* ---- what libuv reads --------------------------------------------------------------- */

/* Somebody waits for more than there is. */
static bool is_hungry(const neap__stream *s) {
  if (s->piped != NULL) return neap__pipe_wants(s->piped);
  return s->reader != NULL && !(s->reader->flags & NEAP__WOKEN);
}

/* Enough has been read for now. */
static bool is_full(const neap__stream *s) {
  return (s->in.len >= AHEAD || s->piped != NULL) && !is_hungry(s);
}

static void on_alloc(uv_handle_t *uv, size_t suggested, uv_buf_t *buf) {
  neap__stream *s = uv->data;
  neap__loop *loop = s->io.loop;
  size_t room = 0;
  (void)suggested;
  if (is_full(s)) {
    *buf = uv_buf_init(NULL, 0);
    return;
  }
  if (s->bulk && s->filter == NULL && s->piped == NULL) {
    bool all = is_hungry(s) && s->in.len == 0;
    char *space = all ? neap__reader_bulk(&s->in) : NULL;
    if (space != NULL) {
      room = NEAP__BULK;
    } else {
      size_t want = all ? BATCH : SLAB;
      space = neap__reader_space(&s->in, want, &room);
      if (room > want) room = want;
    }
    *buf = uv_buf_init(space, space != NULL ? (unsigned)room : 0);
    return;
  }
  if (loop->slab == NULL) loop->slab = neap__alloc(loop->rt, NULL, 0, SLAB);
  *buf = uv_buf_init(loop->slab, loop->slab != NULL ? SLAB : 0);
}

static void stop_reading(neap__stream *s) {
  if (s->reading) uv_read_stop(&s->uv.stream);
  s->reading = false;
}

/* Why a stream that libuv calls ended really did. After a hang-up that came together with
 * the last bytes libuv says UV_EOF without asking the socket, which may have been reset.
 * (EPIPE: the end had come before.) */
static ssize_t true_end(neap__stream *s) {
  int error = 0;
  socklen_t len = sizeof error;
  uv_os_fd_t fd;
  if (s->error == UV_ECONNRESET) return s->error; /* a write was told */
  if (uv_fileno(&s->uv.handle, &fd) < 0 ||
      getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error == 0)
    return UV_EOF;
  int status = uv_translate_sys_error(error);
  neap__stream_broken(s, status);
  return status == UV_EPIPE ? UV_EOF : status;
}

/* No more will come: UV_EOF, or why not. */
static void no_more(neap__stream *s, ssize_t status) {
  stop_reading(s);
  if (status == UV_EOF) status = true_end(s);
  if (s->filter != NULL) {
    s->filter->received(s, NULL, status);
  } else if (status == UV_EOF) {
    s->in.eof = true;
  } else {
    s->in.error = status == UV_ENOBUFS ? UV_ENOMEM : (int)status;
  }
  if (status == UV_ECONNRESET) neap__stream_broken(s, (int)status);
}

static void on_read(uv_stream_t *uv, ssize_t n, const uv_buf_t *buf) {
  neap__stream *s = uv->data;
  if (n <= 0) neap__reader_trim(&s->in); /* of what on_alloc took */
  if (n == 0) return;                    /* nothing there after all */
  if (n == UV_ENOBUFS && is_full(s)) {
    /* Who reads gets a turn to make room before libuv is told to stop, which costs two
     * system calls. */
    if (s->full) stop_reading(s);
    s->full = true;
    return;
  }
  s->full = false;
  if (n < 0) {
    no_more(s, n);
  } else {
    size_t len = (size_t)n;
    s->bulk = len > BULK;
    if (s->filter != NULL) {
      s->filter->received(s, buf->base, n);
    } else if (buf->base != s->io.loop->slab) {
      neap__reader_added(&s->in, len);
    } else if (s->piped == NULL || !neap__pipe_take(s, buf->base, len)) {
      if (!neap__reader_add(&s->in, buf->base, len)) no_more(s, UV_ENOMEM);
    }
  }
  neap__stream_arrived(s);
  if (!s->io.open) return;
  if (s->out_len > 0) neap__stream_flush(s); /* what a filter answered */
  neap__stream_pull(s);
}

void neap__stream_arrived(neap__stream *s) {
  if (s->piped != NULL) {
    neap__pipe_pump(s->piped);
  } else if (s->reader != NULL && neap__reader_ready(&s->in)) {
    neap_wake(s->reader, 0);
  }
}

void neap__stream_pull(neap__stream *s) {
  if (!s->io.open || s->in.eof || s->in.error != 0 || !s->readable) {
    if (s->reading && s->io.open) stop_reading(s);
    return;
  }
  if (s->reading) {
    if ((s->full && is_full(s)) || (s->standard && !is_hungry(s)))
      stop_reading(s);
  } else if (is_hungry(s) ||
             (s->in.len < AHEAD / 2 && s->piped == NULL && !s->standard)) {
    int status = UV_EEXIST;
    if (!neap__is_watched(s->io.loop, &s->uv.handle))
      status = uv_read_start(&s->uv.stream, on_alloc, on_read);
    if (status < 0) {
      s->in.error = status;
      neap__stream_arrived(s);
    } else {
      s->reading = true;
      s->full = false;
    }
  }
}

/* ---- methods ------------------------------------------------------------------------- */

neap__stream *neap__stream_check(lua_State *L, neap_runtime *rt, int index,
                                 const char *name) {
  neap__stream *s =
      (neap__stream *)neap__io_check(L, rt, index, NEAP__K_STREAM, "Stream");
  if (name == NULL) return s;
  if (s == NULL || s->closed || !s->io.open)
    luaL_error(L, "attempt to use a closed stream (in '%s')", name);
  return s;
}

int neap__stream_refuse(lua_State *L, neap__stream *s, int status,
                        const char *op) {
  if (status != UV_ECANCELED && s->filter != NULL &&
      s->filter->push_error != NULL && status != UV_EBADF) {
    lua_pushnil(L);
    if (s->filter->push_error(L, s, status, op)) return 2;
    lua_pop(L, 1);
  }
  return neap_refuse(L, status, op);
}

/* What was asked for is there, or will never be. */
static int give(lua_State *L, neap__stream *s, const char *op) {
  int n = neap__reader_push(L, &s->in, op);
  if (NEAP__UNLIKELY(s->in.error != 0 && n >= 2 && lua_isnil(L, -2) &&
                     s->filter != NULL && s->filter->push_error != NULL &&
                     neap__error_is(L, -1, NEAP__OSERROR)) &&
      s->filter->push_error(L, s, s->in.error, op))
    lua_replace(L, -2);
  if (!s->reading) neap__stream_pull(s);
  return n;
}

static neap_aborted read_abort(neap_wait *wait) {
  (void)wait;
  return NEAP_ABORT_DONE;
}

static int read_finish(lua_State *L, neap_wait *wait) {
  neap__stream *s = neap__link_of(wait)->object;
  s->reader = NULL;
  neap__io_release(&s->io);
  if (L == NULL) return 0;
  if (wait->status < 0) return neap_refuse(L, wait->status, "read");
  return give(L, s, "read");
}

/* As file:lines does it: an error is raised. */
static int raise_error(lua_State *L, int n) {
  if (n >= 2 && lua_isnil(L, -n) && !lua_isnil(L, -n + 1)) {
    lua_pushvalue(L, -n + 1);
    return lua_error(L);
  }
  return n;
}

static int lines_finish(lua_State *L, neap_wait *wait) {
  return raise_error(L, read_finish(L, wait));
}

/* The stream at 1, which nobody else reads. */
static neap__stream *check_reader(lua_State *L, neap_runtime *rt, int index,
                                  const char *name) {
  neap__stream *s = neap__stream_check(L, rt, index, name);
  if (!s->readable) luaL_error(L, "the stream is not open for reading");
  if (NEAP__UNLIKELY(s->reader != NULL || s->piped != NULL))
    luaL_error(L,
               "another task is reading from this stream (in '%s': only one at "
               "a time can)",
               name);
  return s;
}

static int give_at_once(lua_State *L, neap__stream *s, neap_finish finish) {
  int n = give(L, s, "read");
  return finish == lines_finish ? raise_error(L, n) : n;
}

/* What is wanted has been said: gives it, or waits. */
static int wait_for_it(lua_State *L, neap_runtime *rt, neap__stream *s,
                       const char *name, neap_finish finish) {
  if (neap__reader_ready(&s->in)) {
    neap__check_again(rt, L, name);
    return give_at_once(L, s, finish);
  }
  neap__check_park(rt, L, name);
  neap__io_check_here(L, rt, &s->io);
  if (s->out_len > 0) neap__stream_flush(s);
  neap_wait *wait = neap__io_wait(rt, read_abort, finish, name, s);
  s->reader = wait;
  neap__io_hold(&s->io);
  if (!s->reading) neap__stream_pull(s);
  if (NEAP__UNLIKELY(s->in.error != 0)) { /* it could not begin to read */
    s->reader = NULL;
    neap__io_release(&s->io);
    return give_at_once(L, s, finish);
  }
  s->burst = 0;
  return neap__park(rt, L, wait);
}

/* stream:read(format, ...) -> as file:read. Waits. */
static int l_read(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__stream *s = check_reader(L, rt, 1, "Stream:read");
  neap__reader_want_formats(L, &s->in, 2);
  return wait_for_it(L, rt, s, "Stream:read", read_finish);
}

/* A count of bytes, at least 1. */
static size_t check_size(lua_State *L, int arg, lua_Integer least) {
  lua_Integer n = luaL_checkinteger(L, arg);
  luaL_argcheck(L, n >= least, arg, "too small");
  return (size_t)n;
}

/* stream:read_some(max) -> 1 to max bytes, as soon as there are some; nil at the end.
 * Waits. */
static int l_read_some(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__stream *s = check_reader(L, rt, 1, "Stream:read_some");
  neap__reader_want(&s->in, '+',
                    lua_isnoneornil(L, 2) ? AHEAD : check_size(L, 2, 1));
  return wait_for_it(L, rt, s, "Stream:read_some", read_finish);
}

/* stream:read_exactly(n) -> n bytes; nil and IncompleteReadError when it ends before.
 * Waits. */
static int l_read_exactly(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__stream *s = check_reader(L, rt, 1, "Stream:read_exactly");
  neap__reader_want(&s->in, 'x', check_size(L, 2, 0));
  return wait_for_it(L, rt, s, "Stream:read_exactly", read_finish);
}

/* stream:read_until(separator, limit) -> all up to the separator, and that. Waits. */
static int l_read_until(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  size_t n;
  neap__stream *s = check_reader(L, rt, 1, "Stream:read_until");
  luaL_checktype(L, 2, LUA_TSTRING);
  const char *separator = lua_tolstring(L, 2, &n);
  luaL_argcheck(L, n > 0, 2, "the separator is empty");
  size_t limit = lua_isnoneornil(L, 3) ? s->in.limit : check_size(L, 3, 1);
  neap__reader_want_until(&s->in, separator, n, limit);
  return wait_for_it(L, rt, s, "Stream:read_until", read_finish);
}

/* The iterator: its upvalues are the stream, and the formats. */
static int l_next_line(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  int n = (int)lua_tointeger(L, lua_upvalueindex(3));
  lua_settop(L, 0);
  for (int i = 0; i < n; i++)
    lua_pushvalue(L, lua_upvalueindex(4 + i));
  neap__stream *s = check_reader(L, rt, lua_upvalueindex(2), "Stream:lines");
  neap__reader_want_formats(L, &s->in, 1);
  return wait_for_it(L, rt, s, "Stream:lines", lines_finish);
}

/* stream:lines(format, ...) -> an iterator that waits, as file:lines. */
static int l_lines(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__stream_check(L, rt, 1, "Stream:lines");
  int n = lua_gettop(L) - 1;
  luaL_argcheck(L, n <= NEAP__FORMATS, NEAP__FORMATS + 2, "too many formats");
  neap__push_self(L, rt);
  lua_insert(L, 1);
  lua_pushinteger(L, n);
  lua_insert(L, 3);
  lua_pushcclosure(L, l_next_line, n + 3);
  return 1;
}

/* stream:set_read_limit(bytes): how long a line may be, and what ends with a
 * separator. */
static int l_set_read_limit(lua_State *L) {
  neap__stream *s =
      neap__stream_check(L, neap__rt(L), 1, "Stream:set_read_limit");
  s->in.limit = check_size(L, 2, 1);
  lua_settop(L, 1);
  return 1;
}

/* stream:close(): nothing can be read or written from now on; what was written still
 * leaves. A second call does nothing. */
static int l_close(lua_State *L) {
  neap__stream *s = neap__stream_check(L, neap__rt(L), 1, NULL);
  if (s != NULL && !s->closed) neap__stream_close(s);
  return 0;
}

/* stream:abort(): the same at once, without what was not sent. */
static int l_abort(lua_State *L) {
  neap__stream *s = neap__stream_check(L, neap__rt(L), 1, NULL);
  if (s != NULL) neap__io_close(&s->io);
  return 0;
}

/* Nobody has it any more: what was written still leaves. (A program may call it too, with
 * anything.) */
static int l_gc(lua_State *L) {
  neap__io **box = neap__test(L, neap__rt(L), 1, NEAP__K_STREAM);
  neap__io *io = box != NULL ? *box : NULL;
  if (io == NULL || io->holds > 0) return 0;
  *box = NULL;
  if (io->open) {
    io->owned = false;
    if (!of(io)->closed) neap__stream_close(of(io));
  } else {
    neap__io_disown(io);
  }
  return 0;
}

static int l_is_closed(lua_State *L) {
  const neap__stream *s = neap__stream_check(L, neap__rt(L), 1, NULL);
  lua_pushboolean(L, s == NULL || s->closed || !s->io.open);
  return 1;
}

/* stream:fileno() -> its descriptor. */
static int l_fileno(lua_State *L) {
  neap__stream *s = neap__stream_check(L, neap__rt(L), 1, "Stream:fileno");
  uv_os_fd_t fd;
  int status = uv_fileno(&s->uv.handle, &fd);
  if (status < 0) return neap_refuse(L, status, "fileno");
  lua_pushinteger(L, fd);
  return 1;
}

static void push_stream(lua_State *L, const neap__stream *s) {
  static const char *const types[] = {"tcp", "pipe", "tty"};
  if (s == NULL || s->closed || !s->io.open) {
    lua_pushliteral(L, "<Stream closed>");
    return;
  }
  uv_os_fd_t fd = -1;
  uv_fileno(&s->uv.handle, &fd);
  lua_pushfstring(L, "<Stream %s%s%s fd=%d>",
                  s->filter != NULL ? s->filter->name : "",
                  s->filter != NULL ? " " : "", types[s->type], fd);
}

static int l_tostring(lua_State *L) {
  push_stream(L, neap__stream_check(L, neap__rt(L), 1, NULL));
  return 1;
}

static void tell(lua_State *L, const void *object) {
  push_stream(L, object);
}

void neap__stream_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {
      {"read", l_read},
      {"read_some", l_read_some},
      {"read_exactly", l_read_exactly},
      {"read_until", l_read_until},
      {"lines", l_lines},
      {"set_read_limit", l_set_read_limit},
      {"pipe", neap__l_stream_pipe},
      {"close", l_close},
      {"abort", l_abort},
      {"is_closed", l_is_closed},
      {"fileno", l_fileno},
      {"__close", l_close},
      {"__gc", l_gc},
      {"__tostring", l_tostring},
      {NULL, NULL},
  };
  static const neap__teller teller = {.push = tell};
  if (rt->mt[NEAP__K_STREAM] != NULL) return;
  neap__new_class(L, rt, NEAP__K_STREAM, "neap.Stream", methods);
  neap__set_funcs(L, rt, neap__stream_write_methods);
  neap__set_funcs(L, rt, neap__stream_socket_methods);
  neap__set_funcs(L, rt, neap__stream_tls_methods);
  lua_pop(L, 1);
  neap__set_teller(rt, NEAP__K_STREAM, &teller);
}
