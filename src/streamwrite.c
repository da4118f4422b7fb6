/* SPDX-License-Identifier: MIT
 *
 * streamwrite.c - the writing half of streams.
 *
 * Small writes are gathered in `out` and leave together: at the end of the turn, when
 * the task waits for an answer, or at once in the main chunk. A large string is written
 * from where it is; what the system does not take stays anchored until libuv is through
 * with it. A filter gets large strings piece by piece, as its output drains.
 */
#include "stream.h"

#include <string.h>

#define LARGE ((size_t)16 * 1024) /* written from where it is */
#define KEPT 1024                 /* an empty `out` of this size is kept */
#define PIECE ((size_t)64 * 1024) /* of a large string, for a filter */
#define BURST                                                                  \
  ((size_t)512 * 1024) /* written without a wait before others get a turn */
#define LINGER 10000   /* ms that close() waits for what was written to leave */

/* What libuv writes: memory of its own, or a piece of an anchored string. */
typedef struct chunk {
  uv_write_t uv;
  neap__stream *stream;
  char *memory;
  size_t cap;
  size_t len;
  uint32_t slot; /* of the string, or 0 */
} chunk;

/* A string that waits for the filter. */
typedef struct neap__plain {
  struct neap__plain *next;
  const char *data;
  size_t len, done;
  uint32_t slot;
} neap__plain;

static void *take_memory(neap__stream *s, size_t n) {
  void *memory = neap__alloc(s->io.rt, NULL, 0, n);
  if (memory == NULL) neap__stream_broken(s, UV_ENOMEM);
  return memory;
}

static void give_memory(neap__stream *s, void *memory, size_t n) {
  neap__alloc(s->io.rt, memory, n, 0);
}

static void unanchor(neap__stream *s, uint32_t slot) {
  neap_runtime *rt = s->io.rt;
  if (slot != 0) neap__unanchor(rt->L, rt, slot);
}

/* ---- the end of writing ----------------------------------------------------------- */

static void drop_plain(neap__stream *s) {
  while (s->plain != NULL) {
    neap__plain *p = s->plain;
    s->plain = p->next;
    unanchor(s, p->slot);
    give_memory(s, p, sizeof *p);
  }
  s->last_plain = NULL;
  s->plain_len = 0;
}

static void drop_out(neap__stream *s) {
  give_memory(s, s->out, s->out_cap);
  s->out = NULL;
  s->out_len = s->out_cap = 0;
}

void neap__stream_drop_output(neap__stream *s) {
  drop_plain(s);
  drop_out(s);
}

static void wake_all(neap__waitq *queue, int status) {
  while (neap__waitq_wake(queue, status) != NULL) {
  }
}

void neap__stream_broken(neap__stream *s, int status) {
  if (s->error == 0) s->error = status;
  drop_plain(s);
  s->out_len = 0;
  s->ended = true;
  wake_all(&s->writers, s->error);
  wake_all(&s->enders, s->error);
  neap__pipes_pump(s);
  if (s->closed) neap__io_close(&s->io);
}

/* Whether all has left that was written, and the peer was told of the end. */
static bool is_through(const neap__stream *s) {
  return neap__stream_pending(s) == 0 && (!s->ending || s->ended);
}

void neap__stream_drained(neap__stream *s) {
  if (neap__stream_pending(s) <= s->low) {
    wake_all(&s->writers, 0);
    neap__pipes_pump(s);
  }
  if (!is_through(s)) return;
  wake_all(&s->enders, 0);
  if (s->closed) neap__io_close(&s->io);
}

/* ---- to libuv ------------------------------------------------------------------------ */

static void pump(neap__stream *s);

static void on_written(uv_write_t *uv, int status) {
  chunk *c = uv->data;
  neap__stream *s = c->stream;
  s->queued -= c->len;
  unanchor(s, c->slot);
  give_memory(s, c->memory, c->cap);
  give_memory(s, c, sizeof *c);
  if (status == UV_ECANCELED) return; /* it is being closed */
  if (status < 0) {
    if (s->error == 0) neap__stream_broken(s, status);
    return;
  }
  pump(s);
  neap__stream_drained(s);
}

/* Hands bytes to libuv, and the memory or the slot with them. */
static bool queue(neap__stream *s, const char *data, size_t n, char *memory,
                  size_t cap, uint32_t slot) {
  chunk *c = take_memory(s, sizeof *c);
  if (c == NULL) return false;
  *c = (chunk){
      .stream = s, .memory = memory, .cap = cap, .len = n, .slot = slot};
  c->uv.data = c;
  uv_buf_t buf = {.base = (char *)(uintptr_t)data, .len = n};
  int status = uv_write(&c->uv, &s->uv.stream, &buf, 1, on_written);
  if (status < 0) {
    give_memory(s, c, sizeof *c);
    neap__stream_broken(s, status);
    return false;
  }
  s->queued += n;
  return true;
}

/* `out` from `from` on goes to libuv as it is. */
static void queue_out(neap__stream *s, size_t from) {
  size_t n = s->out_len - from, cap = s->out_cap;
  char *memory = s->out;
  if (n == 0) return;
  s->out = NULL;
  s->out_len = s->out_cap = 0;
  if (!queue(s, memory + from, n, memory, cap, 0)) give_memory(s, memory, cap);
}

/* What the system takes now: bytes of the first buffers. False: broken. */
static bool try_write(neap__stream *s, uv_buf_t *bufs, unsigned n,
                      size_t *written) {
  *written = 0;
  if (s->queued > 0) return true;
  int status = uv_try_write(&s->uv.stream, bufs, n);
  if (status == UV_EAGAIN || status == UV_ENOSYS) return true;
  if (status < 0) {
    neap__stream_broken(s, status);
    return false;
  }
  *written = (size_t)status;
  return true;
}

/* What is in `out`; the rest stays there until libuv is through with what it has. */
static void send_out(neap__stream *s) {
  size_t written;
  if (s->out_len == 0 || s->queued > 0 || !s->io.open) return;
  uv_buf_t buf = {.base = s->out, .len = s->out_len};
  if (!try_write(s, &buf, 1, &written)) return;
  if (written < s->out_len) {
    queue_out(s, written);
  } else if (s->out_cap > KEPT) {
    drop_out(s);
  } else {
    s->out_len = 0;
  }
}

static void on_shutdown(uv_shutdown_t *uv, int status) {
  neap__stream *s = uv->data;
  give_memory(s, uv, sizeof *uv);
  s->shutdown = NULL;
  if (status == UV_ECANCELED) return;
  s->ended = true;
  if (status < 0 && status != UV_ENOTCONN && status != UV_ENOTSOCK) {
    neap__stream_broken(s, status);
  } else {
    neap__stream_drained(s);
  }
  if (status == UV_ENOTSOCK) neap__io_close(&s->io); /* a pipe has one way */
}

/* All was written: tells the peer. */
static void tell_end(neap__stream *s) {
  if (s->shutdown != NULL || s->ended || s->error != 0) return;
  int status = s->filter != NULL ? s->filter->end(s) : 0;
  if (status < 0) {
    neap__stream_broken(s, status);
    return;
  }
  if (s->closed) { /* closing it says the rest */
    s->ended = true;
    send_out(s);
    return;
  }
  queue_out(s, 0);
  if (s->error != 0) return;
  uv_shutdown_t *uv = take_memory(s, sizeof *uv);
  if (uv == NULL) return;
  uv->data = s;
  status = uv_shutdown(uv, &s->uv.stream, on_shutdown);
  if (status < 0) {
    give_memory(s, uv, sizeof *uv);
    s->ended = true;
    if (status != UV_ENOTCONN) neap__stream_broken(s, status);
    return;
  }
  s->shutdown = uv;
}

/* Gives the filter what it may have: more whenever nothing is on its way. */
static void feed_filter(neap__stream *s) {
  const neap__filter *filter = s->filter;
  while (filter != NULL && s->plain != NULL &&
         (s->out_len + s->queued == 0 || s->out_len + s->queued < s->high)) {
    neap__plain *p = s->plain;
    size_t n = p->len - p->done < PIECE ? p->len - p->done : PIECE;
    int status = filter->send(s, p->data + p->done, n);
    if (status < 0) {
      neap__stream_broken(s, status);
      return;
    }
    if (s->plain != p) return; /* broken meanwhile */
    p->done += n;
    s->plain_len -= n;
    if (p->done == p->len) {
      s->plain = p->next;
      if (s->plain == NULL) s->last_plain = NULL;
      unanchor(s, p->slot);
      give_memory(s, p, sizeof *p);
    }
    send_out(s);
  }
}

static void pump(neap__stream *s) {
  if (!s->io.open || s->error != 0) return;
  send_out(s); /* makes room for what the filter has to add */
  if (s->plain != NULL) feed_filter(s);
  send_out(s);
  if (s->ending && s->plain == NULL) tell_end(s);
}

void neap__stream_flush(neap__stream *s) {
  pump(s);
}

/* ---- the end of the turn ------------------------------------------------------------- */

static void flush_dirty(neap__loop *loop) {
  loop->after_turn = NULL;
  while (loop->dirty != NULL) {
    neap__stream *s = loop->dirty;
    loop->dirty = s->next_dirty;
    s->dirty = false;
    s->burst = 0;
    if (s->out_len > 0) {
      pump(s);
      neap__stream_drained(s);
    }
  }
}

void neap__stream_soil(neap__stream *s) {
  neap__loop *loop = s->io.loop;
  if (s->dirty || loop->closed || !s->io.open) return;
  s->dirty = true;
  s->next_dirty = loop->dirty;
  loop->dirty = s;
  loop->after_turn = flush_dirty;
}

void neap__stream_unsoil(neap__stream *s) {
  if (!s->dirty) return;
  neap__stream **at = &s->io.loop->dirty;
  while (*at != s)
    at = &(*at)->next_dirty;
  *at = s->next_dirty;
  s->dirty = false;
}

/* ---- bytes ----------------------------------------------------------------------------- */

static bool set_room(neap__stream *s, size_t cap) {
  char *out = neap__alloc(s->io.rt, s->out, s->out_cap, cap);
  if (out == NULL) {
    neap__stream_broken(s, UV_ENOMEM);
    return false;
  }
  s->out = out;
  s->out_cap = cap;
  return true;
}

bool neap__stream_reserve(neap__stream *s, size_t n) {
  return s->out_cap - s->out_len >= n || set_room(s, s->out_len + n);
}

bool neap__stream_raw(neap__stream *s, const char *data, size_t n) {
  if (s->error != 0) return false;
  if (n > s->out_cap - s->out_len) {
    size_t cap = s->out_cap < 256 ? 256 : s->out_cap * 2;
    while (cap - s->out_len < n)
      cap *= 2;
    if (!set_room(s, cap)) return false;
  }
  memcpy(s->out + s->out_len, data, n);
  s->out_len += n;
  if (!s->dirty) neap__stream_soil(s);
  return true;
}

/* Keeps the string at `index` of L; 0 without L. [-0, +0, m] */
static uint32_t anchor(neap__stream *s, lua_State *L, int index) {
  if (L == NULL) return 0;
  lua_pushvalue(L, index);
  return neap__anchor(L, s->io.rt);
}

/* A large piece without a filter: what the system does not take now is queued, with the
 * string's anchor (0: it has none) or as a copy. */
static void put_large(neap__stream *s, const char *data, size_t n,
                      uint32_t slot) {
  size_t written, head = s->out_len;
  uv_buf_t bufs[2] = {{.base = s->out, .len = head},
                      {.base = (char *)(uintptr_t)data, .len = n}};
  if (try_write(s, head > 0 ? bufs : bufs + 1, head > 0 ? 2 : 1, &written)) {
    if (written < head) {
      queue_out(s, written);
      written = 0;
    } else {
      if (head > 0) drop_out(s);
      written -= head;
    }
    data += written;
    n -= written;
    if (n >= LARGE && slot != 0 && s->error == 0) {
      if (queue(s, data, n, NULL, 0, slot)) return;
    } else if (n > 0) {
      neap__stream_raw(s, data, n);
    }
  }
  unanchor(s, slot);
}

/* A large piece for the filter. */
static void put_plain(neap__stream *s, const char *data, size_t n,
                      uint32_t slot) {
  neap__plain *p = take_memory(s, sizeof *p);
  if (p == NULL) {
    unanchor(s, slot);
    return;
  }
  *p = (neap__plain){.data = data, .len = n, .slot = slot};
  if (s->plain == NULL) {
    s->plain = p;
  } else {
    s->last_plain->next = p;
  }
  s->last_plain = p;
  s->plain_len += n;
  feed_filter(s);
}

/* One string of a write; `index` of L is where it is, if L is not NULL. */
static void put(neap__stream *s, const char *data, size_t n, lua_State *L,
                int index) {
  if (s->error != 0 || n == 0) return;
  if (s->filter != NULL) {
    if (L != NULL && (s->plain != NULL || n > PIECE)) {
      put_plain(s, data, n, anchor(s, L, index));
    } else {
      int status = s->filter->send(s, data, n);
      if (status < 0) neap__stream_broken(s, status);
    }
  } else if (n >= LARGE) {
    put_large(s, data, n, anchor(s, L, index));
  } else {
    neap__stream_raw(s, data, n);
  }
}

void neap__stream_put(neap__stream *s, const char *data, size_t n) {
  put(s, data, n, NULL, 0);
}

/* ---- methods ------------------------------------------------------------------------------ */

static neap_aborted write_abort(neap_wait *wait) {
  neap__stream *s = neap__link_of(wait)->object;
  neap__waitq_remove(&s->writers, wait);
  return NEAP_ABORT_DONE;
}

static neap_aborted end_abort(neap_wait *wait) {
  neap__stream *s = neap__link_of(wait)->object;
  neap__waitq_remove(&s->enders, wait);
  return NEAP_ABORT_DONE;
}

/* The stream, or why not. */
static int write_finish(lua_State *L, neap_wait *wait) {
  neap__stream *s = neap__link_of(wait)->object;
  neap__io_release(&s->io);
  if (L == NULL) return 0;
  if (wait->status < 0) return neap__stream_refuse(L, s, wait->status, "write");
  lua_settop(L, 1);
  return 1;
}

static int wait_in(lua_State *L, neap_runtime *rt, neap__stream *s,
                   neap__waitq *waiters, const char *name) {
  bool writes = waiters == &s->writers;
  neap_wait *wait = neap__io_wait(rt, writes ? write_abort : end_abort,
                                  write_finish, name, s);
  neap__waitq_push(waiters, wait);
  neap__io_hold(&s->io);
  s->burst = 0;
  return neap__park(rt, L, wait);
}

static neap__stream *check_writer(lua_State *L, neap_runtime *rt,
                                  const char *name) {
  neap__stream *s = neap__stream_check(L, rt, 1, name);
  if (!s->writable) luaL_error(L, "the stream is not open for writing");
  return s;
}

/* stream:write(...) -> the stream. Strings and numbers, as file:write. Waits while the
 * peer does not keep up. */
static int l_write(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__stream *s = check_writer(L, rt, "Stream:write");
  int top = lua_gettop(L);
  size_t total = 0, n;
  for (int i = 2; i <= top; i++) {
    const char *data = luaL_checklstring(L, i, &n);
    (void)data;
    total += n;
  }
  neap__check_park(rt, L, "Stream:write");
  neap__io_check_here(L, rt, &s->io);
  if (s->ending) luaL_error(L, "attempt to write after shutdown");
  luaL_checkstack(L, 2, NULL);
  for (int i = 2; i <= top; i++) {
    const char *data = lua_tolstring(L, i, &n);
    put(s, data, n, L, i);
  }
  if (s->out_len >= LARGE || (s->out_len > 0 && rt->current == &rt->root))
    pump(s);
  if (s->error != 0) return neap__stream_refuse(L, s, s->error, "write");
  lua_settop(L, 1);
  if (neap__stream_pending(s) > s->high)
    return wait_in(L, rt, s, &s->writers, "Stream:write");
  s->burst += total;
  if (s->burst < BURST || rt->current == &rt->root) return 1;
  s->burst = 0;
  lua_pushvalue(L, 1);
  return neap__yield(rt, L, "Stream:write");
}

/* stream:flush() -> the stream, when all that was written has gone to the system.
 * Waits. */
static int l_flush(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__stream *s = check_writer(L, rt, "Stream:flush");
  lua_settop(L, 1);
  neap__check_park(rt, L, "Stream:flush");
  neap__io_check_here(L, rt, &s->io);
  pump(s);
  if (s->error != 0) return neap__stream_refuse(L, s, s->error, "write");
  if (is_through(s)) return 1;
  return wait_in(L, rt, s, &s->enders, "Stream:flush");
}

/* stream:shutdown() -> the stream, when all was written and the peer has been told that
 * no more will come. It can still be read from. Waits. */
static int l_shutdown(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__stream *s = check_writer(L, rt, "Stream:shutdown");
  lua_settop(L, 1);
  neap__check_park(rt, L, "Stream:shutdown");
  neap__io_check_here(L, rt, &s->io);
  s->ending = true;
  pump(s);
  if (s->error != 0) return neap__stream_refuse(L, s, s->error, "shutdown");
  if (is_through(s)) return 1;
  return wait_in(L, rt, s, &s->enders, "Stream:shutdown");
}

/* stream:set_write_limits(high, low): write waits while more than `high` bytes have not
 * left, until no more than `low` have not. */
static int l_set_write_limits(lua_State *L) {
  neap__stream *s =
      neap__stream_check(L, neap__rt(L), 1, "Stream:set_write_limits");
  lua_Integer high = luaL_checkinteger(L, 2);
  luaL_argcheck(L, high >= 0, 2, "is negative");
  lua_Integer low = luaL_optinteger(L, 3, high / 4);
  luaL_argcheck(L, low >= 0 && low <= high, 3,
                "not between 0 and the high one");
  s->high = (size_t)high;
  s->low = (size_t)low;
  lua_settop(L, 1);
  return 1;
}

/* stream:pending() -> bytes that were written and have not left. */
static int l_pending(lua_State *L) {
  const neap__stream *s = neap__stream_check(L, neap__rt(L), 1, NULL);
  lua_pushinteger(
      L, s != NULL && s->io.open ? (lua_Integer)neap__stream_pending(s) : 0);
  return 1;
}

const luaL_Reg neap__stream_write_methods[] = {
    {"write", l_write},
    {"flush", l_flush},
    {"shutdown", l_shutdown},
    {"pending", l_pending},
    {"set_write_limits", l_set_write_limits},
    {NULL, NULL},
};

/* ---- closing -------------------------------------------------------------------------------- */

static void on_timer_closed(uv_handle_t *uv) {
  neap__loop *loop = uv->data;
  loop->open_handles--;
  neap__alloc(loop->rt, uv, sizeof(uv_timer_t), 0);
}

static void on_lingered(uv_timer_t *uv) {
  neap__stream *s = uv->data;
  neap__io_close(&s->io);
}

/* Its bytes get some time to leave. False: it is to be closed now. */
static bool linger(neap__stream *s) {
  uv_timer_t *timer = neap__alloc(s->io.rt, NULL, 0, sizeof *timer);
  if (timer == NULL) return false;
  uv_timer_init(s->io.loop->uv, timer);
  s->io.loop->open_handles++;
  timer->data = s;
  uv_update_time(s->io.loop->uv);
  uint32_t ms = s->io.rt->linger;
  uv_timer_start(timer, on_lingered, ms > 0 ? ms : LINGER, 0);
  uv_unref((uv_handle_t *)timer);
  s->linger = timer;
  return true;
}

void neap__stream_end_linger(neap__stream *s) {
  uv_timer_t *timer = s->linger;
  if (timer == NULL) return;
  s->linger = NULL;
  timer->data = s->io.loop;
  uv_close((uv_handle_t *)timer, on_timer_closed);
}

void neap__stream_close(neap__stream *s) {
  if (s->reading) uv_read_stop(&s->uv.stream);
  s->reading = false;
  s->closed = true;
  if (s->reader != NULL) neap_wake(s->reader, UV_EBADF);
  neap__pipes_closing(s);
  wake_all(&s->writers, UV_EBADF);
  wake_all(&s->enders, UV_EBADF);
  if (s->filter != NULL && s->writable) s->ending = true;
  pump(s);
  if (s->error != 0 || s->io.loop->closed || is_through(s) || !linger(s))
    neap__io_close(&s->io);
}
