/* SPDX-License-Identifier: MIT
 *
 * thread.h - OS threads with a runtime and a loop of their own.
 */
#ifndef NEAP_THREAD_H
#define NEAP_THREAD_H

#include "mailbox.h"

typedef struct neap__thread neap__thread;
struct neap__thread {
  const void *tag; /* for tellers */
  atomic_uint refs;
  uv_thread_t id;
  neap__mailbox *box;  /* of its loop; a reference */
  neap__mailbox *home; /* of the loop that started it; a reference */
  neap__mail ended_mail, stop_mail, stuck_mail;
  uint64_t told_at;   /* the thread's: stuck_at */
  char *path, *cpath; /* package.path and cpath; NULL: Lua's own */
  bool no_env;        /* as the runtime that started it */
  size_t memory_limit;
  char name[32];
  /* For who uses the thread, with `ud`; both may be NULL. In the starter's thread, once:
   * it has ended, or is left alone. Then, in any thread: its memory goes. */
  void (*gone)(neap__thread *thread, neap_runtime *rt);
  void (*drop)(neap__thread *thread);
  void *ud;
  uv_mutex_t mutex; /* guards what follows */
  uv_cond_t cond;   /* `ended` was set */
  /* stuck.c */
  char *stuck_text;  /* what its tasks wait for, or NULL */
  uint64_t stuck_at; /* box->posted when it said that nothing can wake them */
  unsigned
      stuck_refs;   /* references of its mailbox that only serve for answers */
  bool telling;     /* stuck_mail is on its way */
  bool asked;       /* stop_mail is on its way, or was delivered */
  bool heard;       /* it was delivered, and may be sent again */
  bool ending;      /* a sign of life while it ends threads of its own */
  neap_runtime *rt; /* while it can be interrupted, or NULL */
  bool ended;
  /* of the runtime that started it */
  neap__thread *next;
  neap__loop *home_loop; /* where those wait who join it */
  neap__waitq joiners;
  bool joined;
  int64_t hear_until, insist_until; /* see neap__threads_end; 0: not yet */
  neap__timer press;                /* while somebody closes it */
  unsigned deaf; /* how often in a row it has not heard of it */
  bool stuck;    /* it has said so at least once */
};

/* Makes a thread that belongs to this loop; NULL when there is no memory. [-0, +0, m] */
neap__thread *neap__thread_new(lua_State *L, neap__loop *loop,
                               const char *name);
void neap__thread_ref(neap__thread *thread);
void neap__thread_unref(neap__thread *thread);
/* Starts it: it runs a loop until it is stopped, and is kept in rt->threads. 0, or a
 * UV_E* code; then it is freed. */
int neap__thread_start(neap__thread *thread);
/* The thread of this runtime's whose loop has that mailbox, or NULL. */
neap__thread *neap__thread_of(const neap_runtime *rt, const neap__mailbox *box);
/* Asks its loop to end. */
void neap__thread_stop(neap__thread *thread);
/* The same, and what does not come back to its loop soon is interrupted, as long as somebody
 * waits for its end. [-0, +0, m] */
void neap__thread_press(lua_State *L, neap__thread *thread);
/* Interrupts the code that it runs, for good. */
void neap__thread_interrupt(neap__thread *thread);
/* thread:join() for the C function that it ends; waits. As the end of a block, a
 * cancellation that was swallowed does not concern it. */
int neap__thread_join(lua_State *L, neap_runtime *rt, neap__thread *thread,
                      bool at_end);
/* Ends those that the loop has started: asks, waits for its grace, interrupts. */
void neap__threads_end(neap__loop *loop);

/* threados.c: what a thread's Lua state has that others have not: a lua_CFunction. */
int neap__l_thread_set_up(lua_State *L);
/* Sends stuck_mail. */
void neap__thread_tell(neap__thread *thread);

/* stuck.c: threads whose tasks nothing can wake */

/* In a thread whose loop may be about to wait: says so when only a mail could end that. */
void neap__stuck_look(neap__loop *loop, lua_State *L);
/* How many ns it may wait now, that would be `wait` (-1: no limit). A thread may hold a
 * mailbox a moment longer than it needs it: then it is worth another look. */
#define NEAP__LOOKS 8
int64_t neap__stuck_wait(neap__loop *loop, int64_t wait);
/* Whether all that the loop waits for is done by threads that are stuck. */
bool neap__all_stuck(neap__loop *loop);
/* Adds what these wait for to a report. [-0, +0, m] */
void neap__stuck_list(lua_State *L, luaL_Buffer *b, const neap__loop *loop);

/* interrupt.c: code that does not wait, in another thread */

/* Of the calling thread: its runtime, or NULL at its end. */
void neap__interruptible(neap_runtime *rt);
/* Has the signal handler of that thread set a debug hook there. */
void neap__interrupt_thread(uv_thread_t id);

/* loop:stop() for the loop of that mailbox, of any thread. [-0, +0, m] */
void neap__loop_stop(lua_State *L, neap__mailbox *box);

#endif
