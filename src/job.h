/* SPDX-License-Identifier: MIT
 *
 * job.h - a function that another loop is to run: it travels there as a packet, runs as
 * a task, and its outcome comes back to a Future of the loop that sent it.
 */
#ifndef NEAP_JOB_H
#define NEAP_JOB_H

#include "mailbox.h"
#include "packet.h"

typedef struct neap__job neap__job;

/* A function for many jobs. Each thread that has run it keeps what it unpacked. */
typedef struct neap__code {
  neap__shared shared; /* first */
  neap__packet packet;
} neap__code;

extern const neap__shared_type neap__code_type;
/* code (light userdata) -> its object: a lua_CFunction. */
int neap__l_hold_code(lua_State *L);
/* Pushes the function, unpacked where this thread has not had it yet. [-0, +1, v] */
void neap__push_code(lua_State *L, neap_runtime *rt, neap__code *code);

/* What the packet of an outcome holds. */
enum neap__job_outcome {
  NEAP__JOB_RETURNED,  /* the results */
  NEAP__JOB_RAISED,    /* error, traceback or nil: neap__pack_error */
  NEAP__JOB_CANCELLED, /* nothing, or a message */
  NEAP__JOB_BROKEN,    /* nothing: who ran it is gone; `reason` says why */
};

struct neap__job {
  atomic_uint refs;
  neap__mail request, reply, cancel;
  neap__mailbox
      *home; /* a reference; so is the next: NULL while it is queued */
  _Atomic(neap__mailbox *) there;
  neap__packet packet; /* function and arguments; then the outcome */
  neap__code
      *code;     /* the function, where it is not in the packet; a reference */
  char *message; /* of the cancellation, or NULL */
  bool gap;      /* its second value is none of the arguments */
  enum neap__job_outcome outcome;
  const char *reason; /* a static string */
  /* Called in the thread that ran it (or where it was lost) after the outcome has been
   * sent, or NULL: a pool gives the worker its next one. */
  void (*finished)(neap__job *job, neap__loop *loop);
  /* Called at home when the Future was cancelled and `there` may not be known yet, or
   * NULL: takes the job out of its queue; false when it is not there any more (and then
   * `there` is known). */
  bool (*withdraw)(neap__job *job);
  void *ud;           /* for these */
  neap__shared *pool; /* whose queue it is for; a reference, or NULL */
  /* of a queue */
  neap__job *queue_next, *queue_prev;
  bool queued;
  /* at home */
  neap__loop *home_loop; /* NULL: has left its ring */
  neap__job *home_next, *home_prev;
  neap__watcher watcher; /* of the Future */
  uint32_t slot;         /* that anchors it */
  bool holds;            /* the home loop */
  bool asked;            /* `cancel` was posted */
  bool concluded;        /* the reply has come, or the loop is closed */
  /* there */
  neap__loop *there_loop; /* NULL: not in its ring */
  neap__job *there_next, *there_prev;
  neap_task *task;
  bool cancelled; /* before it began */
};

/* Makes a job of the function at `first` and the arguments above it, pushes the Future
 * of the running (or current) loop for its outcome, and counts one reference that the
 * Future's side holds. [-0, +1, v] */
neap__job *neap__job_new(lua_State *L, neap_runtime *rt, int first, int n);
/* The same for a function that has been packed already; the job takes a reference. */
neap__job *neap__job_of(lua_State *L, neap_runtime *rt, neap__code *code,
                        int first, int n);
/* Sends it to a loop: it runs there as a task. */
void neap__job_send(neap__job *job, neap__mailbox *there);
/* Runs it on this loop, in a turn, as a task: for pools. The job is one that nobody else
 * runs. Raises nothing. */
void neap__job_run(neap__job *job, neap__loop *loop, lua_State *L);
/* Cancels what was sent to a loop for that Future, which is left to the outcome. False
 * when it has come. At home. [-0, +0, -] */
bool neap__job_end(lua_State *L, neap__future *future);
/* It will not run: its Future fails with `reason` (a static string). Any thread. */
void neap__job_break(neap__job *job, const char *reason);
/* Cancels its Future, at home. [-0, +0, -] */
void neap__job_cancel(neap__job *job, lua_State *L);
neap__job *neap__job_ref(neap__job *job);
void neap__job_unref(neap__job *job);
/* Raises the error on top again; a text is given the place of the caller, as luaL_error
 * would have done outside a protected call. */
int neap__raise_here(lua_State *L);
/* Fails the pending Future at `index` with the error below the top; on top is the
 * traceback that it brings, or nil. [-2, +0, m] */
void neap__fail_future(lua_State *L, neap_runtime *rt, int index);
/* The loop is being closed: what it ran is broken, what it waits for forgotten. */
void neap__jobs_close(neap__loop *loop, lua_State *L);

/* thread.c: adds the name of the thread that this is to the traceback on top, which may
 * be nil. [-1, +1, m] */
void neap__push_thread_line(lua_State *L, neap_runtime *rt);

#endif
