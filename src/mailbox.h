/* SPDX-License-Identifier: MIT
 *
 * mailbox.h - how other threads reach an event loop: mails, delivered in the order in
 * which they came, in turns of the loop.
 *
 * A mailbox outlives its loop. What is posted to one that is closed comes back as lost.
 */
#ifndef NEAP_MAILBOX_H
#define NEAP_MAILBOX_H

#include "share.h"

typedef struct neap__mail neap__mail;
typedef struct neap__mailbox neap__mailbox;

/* Embedded in what is sent; posted once at a time. */
struct neap__mail {
  neap__mail *next;
  /* In a turn of the loop, in its thread, as a loop callback: may run Lua under a
   * protected call, must leave the stack as it was, must not wait. */
  void (*deliver)(neap__mail *mail, neap__loop *loop, lua_State *L);
  /* Instead of that: the loop is closed. Any thread; no lock is held. */
  void (*lost)(neap__mail *mail);
};

struct neap__mailbox {
  neap__shared shared; /* first */
  uv_mutex_t mutex;    /* guards what follows */
  neap__loop *loop;    /* NULL: not there yet, or closed */
  neap__mail *head, *tail;
  uint64_t posted; /* how many were, in all */
  bool closed;     /* takes nothing any more */
  bool ending;     /* is about to be: for those who would begin something new */
  bool rung;       /* the loop was told of what there is */
  int fd;          /* an eventfd that it watches, or -1 */
};

extern const neap__shared_type neap__mailbox_type;

/* A mailbox without a loop: mails wait. NULL when there is no memory. */
neap__mailbox *neap__mailbox_new(void);
/* It is this loop's from now on; the loop holds a reference. In the loop's thread. */
void neap__mailbox_attach(neap__mailbox *box, neap__loop *loop);
/* The loop is being closed: so is its mailbox. */
void neap__mailbox_detach(neap__loop *loop);
/* The loop's mailbox, made when missing; NULL when there is no memory. The loop holds
 * it: take a reference to keep it longer. */
neap__mailbox *neap__mailbox_of(neap__loop *loop);
/* Its loop when that is one of this runtime (whose thread calls), else NULL. */
neap__loop *neap__mailbox_here(neap__mailbox *box, const neap_runtime *rt);
/* Or about to be: nothing new is to be sent. */
bool neap__mailbox_is_closed(neap__mailbox *box);
/* From now on the loop's is about to be closed. Outcomes and ends still come. */
void neap__mailbox_end(neap__loop *loop);
/* remote.c: the class of handles for loops of others. [-0, +0, m] */
void neap__remote_open(lua_State *L, neap_runtime *rt);
/* Posts, from any thread. When the box is closed, mail->lost is called at once. */
void neap__post(neap__mailbox *box, neap__mail *mail);
/* Nothing is delivered any more; what waits is lost. */
void neap__mailbox_close(neap__mailbox *box);
/* In on_async: what came gets its place in the ready list. */
void neap__mail_arrived(neap__loop *loop);

/* Delivers what has come, outside a turn: the loop is about to be closed. */
void neap__mail_flush(neap__loop *loop, lua_State *L);

/* Something of another thread's is awaited (or the loop is to stay): it stays alive. */
void neap__remote_hold(neap__loop *loop);
void neap__remote_release(neap__loop *loop);

static inline neap__mailbox *neap__mailbox_ref(neap__mailbox *box) {
  neap__shared_ref(&box->shared);
  return box;
}
static inline void neap__mailbox_unref(neap__mailbox *box) {
  if (box != NULL) neap__shared_unref(&box->shared);
}

#endif
