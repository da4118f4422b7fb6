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

enum neap__job_state {
  NEAP__JOB_QUEUED,  /* on its way, or in a queue */
  NEAP__JOB_RUNNING, /* a task over there */
  NEAP__JOB_DONE,    /* has its outcome, or nobody wants one */
};

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
  atomic_int state; /* enum neap__job_state */
  neap__mailbox *home,
      *there;          /* references; `there` may be NULL while queued */
  neap__packet packet; /* function and arguments; then the outcome */
  enum neap__job_outcome outcome;
  const char *reason; /* a static string */
  /* Called in the thread that ran it (or where it was lost) after the outcome has been
   * sent, or NULL: a pool gives the worker its next one. */
  void (*finished)(neap__job *job, neap__loop *loop);
  /* Called at home when the Future was cancelled and `there` may not be known yet, or
   * NULL: takes the job out of its queue; false when it is not there any more (and then
   * `there` is known). */
  bool (*withdraw)(neap__job *job);
  void *ud; /* for these */
  /* at home */
  neap__loop *home_loop;
  neap__job *home_next, *home_prev; /* ring of the loop */
  neap__watcher watcher;            /* of the Future */
  uint32_t slot;                    /* that anchors it */
  /* there */
  neap__job *there_next, *there_prev; /* ring of the loop, while it runs */
  neap_task *task;
};

/* Makes a job of the function at `first` and the arguments above it, pushes the Future
 * of the running (or current) loop for its outcome, and counts one reference that the
 * Future's side holds. `what`: of neap__pack. [-0, +1, v] */
neap__job *neap__job_new(lua_State *L, neap_runtime *rt, int first, int n,
                         const char *what);
/* Sends it to a loop: it runs there as a task. */
void neap__job_send(neap__job *job, neap__mailbox *there);
/* Runs it on this loop, in a turn, as a task: for pools. The job is one that nobody else
 * runs. Raises nothing. */
void neap__job_run(neap__job *job, neap__loop *loop, lua_State *L);
/* It will not run: its Future fails with `reason` (a static string). Any thread. */
void neap__job_break(neap__job *job, const char *reason);
neap__job *neap__job_ref(neap__job *job);
void neap__job_unref(neap__job *job);
/* The loop is being closed: what it ran is broken, what it waits for forgotten. */
void neap__jobs_close(neap__loop *loop, lua_State *L);

#endif
