/* SPDX-License-Identifier: MIT
 *
 * stream.h - byte streams: TCP and Unix sockets, pipes, terminals, TLS on top of them.
 *
 * Reading: libuv reads ahead while the buffer is below a limit; one task at a time may
 * wait for what it asked for. Writing: bytes go to `out` and leave at the end of the
 * turn, or when the task that wrote them waits; past a high-water mark writers wait.
 * A filter (TLS) stands between the program's bytes and those that libuv sees.
 */
#ifndef NEAP_STREAM_H
#define NEAP_STREAM_H

#include "io.h"
#include "reader.h"

typedef struct neap__stream neap__stream;

/* What a filter does. None of these runs Lua. */
typedef struct neap__filter {
  const char *name; /* "tls" */
  /* n bytes came from the peer; n < 0: UV_EOF, or why no more will come. What they mean
   * goes to stream->in (neap__reader_space, _added, eof, error); what has to be
   * answered goes to neap__stream_raw. */
  void (*received)(neap__stream *stream, const char *data, ssize_t n);
  /* The program's bytes: encodes them into neap__stream_raw. 0 or a UV_E* code. */
  int (*send)(neap__stream *stream, const char *data, size_t n);
  /* The program has written all: says so to the peer. 0 or a UV_E* code. */
  int (*end)(neap__stream *stream);
  /* Pushes the error object for stream->in.error or stream->error, where the filter can
   * say more than the code does, and returns true. [-0, +(0|1), m] */
  bool (*push_error)(lua_State *L, neap__stream *stream);
  /* The stream is being freed. */
  void (*drop)(neap__stream *stream);
} neap__filter;

struct neap__stream {
  neap__io io;
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
    uv_tty_t tty;
  } uv;
  const neap__filter *filter; /* or NULL */
  void *filter_data;
  neap__stream *next_dirty; /* has to be flushed at the end of the turn */
  /* reading */
  neap__reader in;
  neap_wait *reader;        /* who waits for `in`, or NULL */
  struct neap__pipe *piped; /* goes to another stream: pipe.c */
  /* writing */
  char *out; /* not yet given to libuv */
  size_t out_len, out_cap;
  size_t queued; /* bytes that libuv has and that are not written */
  neap__waitq
      writers; /* wait for less to be queued, or for all to be written */
  uv_shutdown_t shutdown;
  int error;               /* why nothing can be written any more, or 0 */
  size_t burst;            /* bytes written without waiting */
  bool readable, writable; /* as it was opened */
  bool reading;            /* libuv reads */
  bool dirty;
  bool ending; /* shutdown() was called: nothing more may be written */
  bool ended;  /* and the peer has been told */
};

/* Kinds of streams. */
enum neap__stream_type { NEAP__TCP, NEAP__PIPE, NEAP__TTY };

/* Makes a stream around a new handle (uv_tcp_init, uv_pipe_init; of a terminal, `fd`).
 * It has neither connection nor owner. NULL, and a UV_E* code in *status. */
neap__stream *neap__stream_new(neap__loop *loop, enum neap__stream_type type,
                               int fd, int *status);
/* It is connected. */
void neap__stream_opened(neap__stream *stream, bool readable, bool writable);
/* The stream at `index`; raises for something else, and (`open`) when it is closed, for
 * which `name` is the function. [-0, +0, v] */
neap__stream *neap__stream_check(lua_State *L, neap_runtime *rt, int index,
                                 const char *name);
/* Makes libuv read, or stop reading, as the buffer and who waits demand. */
void neap__stream_pull(neap__stream *stream);
/* Wakes the reader if what it wants is there: after `in` was added to. */
void neap__stream_arrived(neap__stream *stream);
/* Adds bytes for the peer, unfiltered, to be flushed. False: no memory, and then
 * stream->error is set. */
bool neap__stream_raw(neap__stream *stream, const char *data, size_t n);
/* Gives libuv what there is. */
void neap__stream_flush(neap__stream *stream);
/* Makes the flush happen at the end of this turn. */
void neap__stream_soil(neap__stream *stream);
/* Nothing can be written from now on: wakes the writers. */
void neap__stream_broken(neap__stream *stream, int status);
/* Bytes that are on their way out. */
static inline size_t neap__stream_pending(const neap__stream *stream) {
  return stream->out_len + stream->queued;
}
/* Pushes nil and the error for the code, by way of the filter where it knows more, and
 * returns 2; raises for UV_ECANCELED. [-0, +2, v] */
int neap__stream_refuse(lua_State *L, neap__stream *stream, int status,
                        const char *op);

/* streamwrite.c: methods */
extern const luaL_Reg neap__stream_write_methods[];
/* pipe.c: stream:pipe */
extern const luaL_Reg neap__stream_pipe_methods[];
void neap__pipe_closing(neap__stream *stream);

#endif
