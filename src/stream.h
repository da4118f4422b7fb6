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
  /* Pushes the error object for a code of stream->in.error or stream->error, where the
   * filter can say more than that does, and returns true. [-0, +(0|1), m] */
  bool (*push_error)(lua_State *L, neap__stream *stream, int status,
                     const char *op);
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
  struct neap__pipe *fed; /* those that come from other streams */
  char *out;              /* for libuv, and not yet given to it */
  size_t out_len, out_cap;
  struct neap__plain *plain, *last_plain; /* for the filter */
  size_t plain_len;
  size_t queued;       /* bytes that libuv has and that are not written */
  size_t high, low;    /* water marks */
  neap__waitq writers; /* wait for the low one */
  neap__waitq
      enders; /* wait for all to be written, and for the end of shutdown */
  uv_shutdown_t *shutdown; /* under way */
  uv_timer_t *linger;      /* ends a close that takes too long */
  int error;               /* why nothing can be written any more, or 0 */
  size_t burst;            /* bytes written without waiting */
  unsigned char type;      /* enum neap__stream_type */
  bool readable, writable; /* as it was opened */
  bool reading;            /* libuv reads */
  bool bulk;               /* the last read gave much */
  bool full;               /* no room was found for what came */
  bool dirty;
  bool ending;   /* shutdown() was called: nothing more may be written */
  bool ended;    /* and the peer has been told, or cannot be */
  bool standard; /* 0, 1 or 2: others read from it as well, so nothing ahead */
  bool left;     /* its loop was closed, and not the stream by the program */
  bool borrowed; /* others must not notice that it does not block: tty.c */
  bool closed;   /* close() was called; what is pending may still be written */
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
/* Makes room for n of them at once. */
bool neap__stream_reserve(neap__stream *stream, size_t n);
/* Bytes for the peer, as from a program that does not wait. */
void neap__stream_put(neap__stream *stream, const char *data, size_t n);
/* Gives libuv what there is. */
void neap__stream_flush(neap__stream *stream);
/* Makes the flush happen at the end of this turn. */
void neap__stream_soil(neap__stream *stream);
/* Nothing can be written from now on: wakes the writers. */
void neap__stream_broken(neap__stream *stream, int status);
/* Bytes that are on their way out. */
static inline size_t neap__stream_pending(const neap__stream *stream) {
  return stream->out_len + stream->queued + stream->plain_len;
}
/* Pushes nil and the error for the code, by way of the filter where it knows more, and
 * returns 2; raises for UV_ECANCELED. [-0, +2, v] */
int neap__stream_refuse(lua_State *L, neap__stream *stream, int status,
                        const char *op);

/* Closes it, once all that was written has left, at the latest after some seconds. */
void neap__stream_close(neap__stream *stream);
/* The stream is closed: lets go of the loop's list of dirty ones, and of what waits. */
void neap__stream_unsoil(neap__stream *stream);
/* A standard stream is about to be closed: tty.c. */
void neap__tty_closing(neap__stream *stream);
/* The loop is being closed, its streams are. */
void neap__streams_close(neap__loop *loop);
/* More can be written than a moment ago: wakes those who wait for that. */
void neap__stream_drained(neap__stream *stream);
/* The handle is being closed: no longer waits for what was written to leave. */
void neap__stream_end_linger(neap__stream *stream);
/* Frees what is left of the writing half. */
void neap__stream_drop_output(neap__stream *stream);

/* stream.c: makes the class, once for a runtime. */
void neap__stream_open(lua_State *L, neap_runtime *rt);
/* streamwrite.c: methods */
extern const luaL_Reg neap__stream_write_methods[];
/* sockopt.c: methods */
extern const luaL_Reg neap__stream_socket_methods[];
/* tlsinfo.c: methods */
extern const luaL_Reg neap__stream_tls_methods[];

/* pair.c */
int neap__l_stream_pair(lua_State *L);

/* pipe.c */
int neap__l_stream_pipe(lua_State *L);
/* Bytes that were just read from the stream: takes them, or false. */
bool neap__pipe_take(neap__stream *from, const char *data, size_t n);
/* Moves on what there is. */
void neap__pipe_pump(struct neap__pipe *pipe);
/* Whether more should be read for it. */
bool neap__pipe_wants(const struct neap__pipe *pipe);
/* There is room in the stream, or it is broken: goes on with what comes into it. */
void neap__pipes_pump(neap__stream *to);
/* The stream is being closed. */
void neap__pipes_closing(neap__stream *stream);

#endif
