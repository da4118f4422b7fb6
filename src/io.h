/* SPDX-License-Identifier: MIT
 *
 * io.h - what the modules with handles and requests of libuv share.
 *
 * A handle (`neap__io` first in its struct) is memory of two owners: libuv until its
 * close callback, and the Lua object that points at it until it is collected. Whoever
 * lets go last frees it; the end of the runtime frees what is left. Its handle does not
 * keep the loop alive unless somebody waits (neap__io_hold).
 *
 * A request (`neap__req` first) is libuv's until its callback, and lives as long.
 */
#ifndef NEAP_IO_H
#define NEAP_IO_H

#include "internal.h"

/* Size of loop->slab, into which what arrives is read: that of a large datagram. */
#define NEAP__SLAB ((size_t)64 * 1024)

typedef struct neap__io neap__io;
struct neap__io {
  const void *tag; /* neap__tag of its kind, for tellers */
  neap_runtime *rt;
  neap__io *next, *prev; /* ring of the loop; NULL when not open */
  neap__loop *loop;
  uv_handle_t *uv;
  /* The handle is about to be closed, by whomever: wakes who waits on it and lets go of
   * what else it has. Runs no Lua. May be NULL. */
  void (*closing)(neap__io *io);
  /* Frees what the struct points to, just before itself. May be NULL. */
  void (*drop)(neap__io *io);
  unsigned holds;
  bool open;  /* neap__io_open was called, neap__io_close not yet */
  bool libuv; /* libuv knows of it */
  bool owned; /* a Lua object points at it */
};

/* Zeroed memory for a struct that begins with a neap__io, owned by nobody; NULL when
 * there is none. */
void *neap__io_new(neap_runtime *rt, enum neap__kind kind, size_t size);
/* After uv_*_init of `uv`, a handle inside the struct: uv->data is `io` from now on. */
void neap__io_open(neap__io *io, neap__loop *loop, uv_handle_t *uv);
/* Closes the handle, once; for any io, open or not. */
void neap__io_close(neap__io *io);
/* Nobody points at it any more: closes it, and frees it when libuv lets go. */
void neap__io_disown(neap__io *io);
/* Closes all of a loop that is being closed. */
void neap__io_close_all(neap__loop *loop);

/* Somebody waits for what the handle does: the loop stays alive. */
static inline void neap__io_hold(neap__io *io) {
  if (io->holds++ == 0 && io->libuv) uv_ref(io->uv);
}
static inline void neap__io_release(neap__io *io) {
  if (--io->holds == 0 && io->libuv) uv_unref(io->uv);
}

/* Whether somebody watches the descriptor of this handle (poll.c): libuv could not serve
 * both. */
bool neap__is_watched(const neap__loop *loop, const uv_handle_t *uv);

/* The Lua object of a kind of io: a userdata whose only content is the pointer. Pushes
 * an empty one, so that what comes after cannot fail. [-0, +1, m] */
neap__io **neap__io_box(lua_State *L, neap_runtime *rt, enum neap__kind kind);
/* Puts an io into an empty box, which owns it from now on. */
static inline void neap__io_own(neap__io **box, neap__io *io) {
  *box = io;
  io->owned = true;
}
/* The io at `index`, or NULL for an object without one; raises for other values.
 * [-0, +0, v] */
neap__io *neap__io_check(lua_State *L, neap_runtime *rt, int index,
                         enum neap__kind kind, const char *name);
/* Raises unless what belongs to `loop` is waited for on that loop. [-0, +0, v] */
void neap__check_loop_here(lua_State *L, neap_runtime *rt,
                           const neap__loop *loop);
static inline void neap__io_check_here(lua_State *L, neap_runtime *rt,
                                       const neap__io *io) {
  neap__check_loop_here(L, rt, io->loop);
}
/* The __gc of such objects. A program may call it too, with anything, and while somebody
 * waits. */
int neap__io_gc(lua_State *L);

/* Prepares the running task's own wait for something outside: what is waited for begins
 * with its tag, as a neap__io does. The abort must answer NEAP_ABORT_DONE; `finish` is
 * called with L == NULL when the task is closed by force. Follow it by neap__park. */
neap_wait *neap__io_wait(neap_runtime *rt, neap_abort abort, neap_finish finish,
                         const char *name, void *object);

/* A request of libuv, with a task that waits for it. */
typedef struct neap__req {
  neap_wait wait;
  neap__loop *loop;
  size_t size; /* of the whole struct */
  uv_req_t *uv;
} neap__req;

/* Zeroed memory for a struct that begins with a neap__req, or raises; `uv` is at an
 * offset in it. abort: uv_cancel, the wake is still to come. [-0, +0, m] */
void *neap__req_new(lua_State *L, neap_runtime *rt, size_t size, size_t uv,
                    neap_finish finish, const char *name);
/* libuv has taken it. The loop waits for it before it closes. */
void neap__req_started(neap__req *req);
/* Its callback was called: wakes the task. */
void neap__req_done(neap__req *req, int status);
/* For finish: frees it. */
void neap__req_free(neap__req *req);

#endif
