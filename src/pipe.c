/* SPDX-License-Identifier: MIT
 *
 * pipe.c - stream:pipe(other): what comes out of one stream goes into another, without
 * strings of Lua's in between and as fast as the slower one allows.
 */
#include "stream.h"

/* Lives while a task waits for its end. */
typedef struct neap__pipe {
  neap__stream *from, *to;
  struct neap__pipe *next; /* of those into `to` */
  neap_wait *wait;         /* NULL before it began to wait */
  uint64_t total;
  int status;      /* why it ended, once done */
  bool write_side; /* that is an error of `to` */
  bool done;
} neap__pipe;

static void end(neap__pipe *pipe, int status, bool write_side) {
  if (pipe->done) return;
  pipe->done = true;
  pipe->status = status;
  pipe->write_side = write_side;
  if (pipe->wait != NULL) neap_wake(pipe->wait, 0);
}

static bool has_room(const neap__pipe *pipe) {
  return neap__stream_pending(pipe->to) <= pipe->to->high &&
         pipe->to->error == 0;
}

static void move(neap__pipe *pipe, const char *data, size_t n) {
  neap__stream_put(pipe->to, data, n);
  pipe->total += n;
}

bool neap__pipe_wants(const neap__pipe *pipe) {
  if (pipe->done) return false;
  return pipe->from->reading ? has_room(pipe)
                             : neap__stream_pending(pipe->to) <= pipe->to->low;
}

bool neap__pipe_take(neap__stream *from, const char *data, size_t n) {
  neap__pipe *pipe = from->piped;
  if (pipe->done || from->in.len > 0) return false;
  move(pipe, data, n);
  neap__stream_flush(pipe->to);
  return true;
}

void neap__pipe_pump(neap__pipe *pipe) {
  neap__stream *from = pipe->from, *to = pipe->to;
  if (pipe->done) return;
  bool sent = from->in.len > 0;
  while (from->in.len > 0 && has_room(pipe)) {
    size_t n = from->in.len <= to->high ? from->in.len : to->high + 1;
    move(pipe, neap__reader_bytes(&from->in), n);
    neap__reader_drop(&from->in, n);
  }
  if (sent) neap__stream_flush(to);
  if (to->error != 0) {
    end(pipe, to->error, true);
  } else if (from->in.len == 0 && from->in.error != 0) {
    end(pipe, from->in.error, false);
  } else if (from->in.len == 0 && from->in.eof) {
    end(pipe, 0, false);
  }
  neap__stream_pull(from);
}

void neap__pipes_pump(neap__stream *to) {
  for (neap__pipe *pipe = to->fed; pipe != NULL; pipe = pipe->next)
    neap__pipe_pump(pipe);
}

void neap__pipes_closing(neap__stream *s) {
  if (s->piped != NULL) end(s->piped, UV_EBADF, false);
  for (neap__pipe *pipe = s->fed; pipe != NULL; pipe = pipe->next)
    end(pipe, UV_EBADF, true);
}

/* The task goes on, or has given up. */
static void detach(neap__pipe *pipe) {
  neap__pipe **at = &pipe->to->fed;
  while (*at != pipe)
    at = &(*at)->next;
  *at = pipe->next;
  pipe->from->piped = NULL;
  neap__stream_pull(pipe->from);
}

static neap_aborted pipe_abort(neap_wait *wait) {
  (void)wait;
  return NEAP_ABORT_DONE;
}

/* The number of bytes; or nil and why it ended before its end. */
static int result(lua_State *L, const neap__pipe *pipe) {
  if (pipe->status < 0)
    return neap__stream_refuse(L, pipe->write_side ? pipe->to : pipe->from,
                               pipe->status,
                               pipe->write_side ? "write" : "read");
  lua_pushinteger(L, (lua_Integer)pipe->total);
  return 1;
}

static int pipe_finish(lua_State *L, neap_wait *wait) {
  neap__stream *from = neap__link_of(wait)->object;
  neap__pipe *pipe = from->piped, copy = *pipe;
  neap__io_release(&pipe->from->io);
  neap__io_release(&pipe->to->io);
  detach(pipe);
  neap__alloc(from->io.loop->rt, pipe, sizeof *pipe, 0);
  if (L == NULL) return 0;
  if (wait->status < 0) return neap_refuse(L, wait->status, "read");
  return result(L, &copy);
}

/* stream:pipe(other) -> how many bytes were copied to the end of the stream, which is
 * not passed on. Waits. */
int neap__l_stream_pipe(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__stream *from = neap__stream_check(L, rt, 1, "Stream:pipe");
  neap__stream *to = neap__stream_check(L, rt, 2, "Stream:pipe");
  luaL_argcheck(L, from->readable, 1, "the stream is not open for reading");
  luaL_argcheck(L, to->writable && !to->ending, 2,
                "the stream is not open for writing");
  if (from->reader != NULL || from->piped != NULL)
    luaL_error(L, "another task is reading from this stream (in "
                  "'Stream:pipe': only one at a time can)");
  neap__check_park(rt, L, "Stream:pipe");
  neap__io_check_here(L, rt, &from->io);
  neap__io_check_here(L, rt, &to->io);
  neap__pipe *pipe = neap__alloc(rt, NULL, 0, sizeof *pipe);
  if (pipe == NULL) return neap_refuse(L, UV_ENOMEM, "pipe");
  *pipe = (neap__pipe){.from = from, .to = to, .next = to->fed};
  from->piped = to->fed = pipe;
  neap_wait *wait =
      neap__io_wait(rt, pipe_abort, pipe_finish, "Stream:pipe", from);
  pipe->wait = wait;
  neap__io_hold(&from->io);
  neap__io_hold(&to->io);
  neap__pipe_pump(pipe);
  if (!pipe->done) return neap__park(rt, L, wait);
  return pipe_finish(L, wait);
}
