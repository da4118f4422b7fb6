/* SPDX-License-Identifier: MIT
 *
 * mailbox.c - mails from other threads to an event loop.
 *
 * A mail that is posted goes to the end of the box under its lock, and the loop is woken.
 * What has come is taken out in one piece, and is delivered at its place in the ready
 * list.
 *
 * To wake it, Linux has the box's own eventfd: a loop that is woken by uv_async_send waits
 * actively until that call is over, which takes long where both threads have but one
 * processor.
 */
#include "mailbox.h"

#ifdef __linux__
#include <sys/eventfd.h>
#include <unistd.h>
#endif

static void destroy(neap__shared *shared) {
  neap__mailbox *box = (neap__mailbox *)(void *)shared;
#ifdef __linux__
  if (box->fd >= 0) close(box->fd);
#endif
  uv_mutex_destroy(&box->mutex);
  neap__share_alloc(box, 0);
}

const neap__shared_type neap__mailbox_type = {NEAP__K_REMOTE, "event loop",
                                              neap__remote_open, destroy};

neap__mailbox *neap__mailbox_new(void) {
  neap__mailbox *box = neap__share_alloc(NULL, sizeof *box);
  if (box == NULL) return NULL;
  *box = (neap__mailbox){.fd = -1};
  neap__shared_init(&box->shared, &neap__mailbox_type);
  if (uv_mutex_init(&box->mutex) < 0) return neap__share_alloc(box, 0);
  return box;
}

#define BATCH                                                                  \
  1000 /* mails in a turn: timers and tasks are to have their time */

/* In the ready list of its loop: what had come by then. What is too much waits for the
 * next turn, and what comes meanwhile in the box. */
static void deliver(neap__call *call) {
  neap__loop *loop = neap__container_of(call, neap__loop, mail_call);
  neap__mail *mail = loop->mail;
  lua_State *L = loop->rt->L;
  loop->mail = NULL;
  for (int n = 0; mail != NULL && (n < BATCH || loop->closed); n++) {
    neap__mail *next = mail->next;
    if (loop->closed) {
      mail->lost(mail);
    } else {
      loop->rt->current = NULL;
      mail->deliver(mail, loop, L);
    }
    mail = next;
  }
  loop->mail = mail;
  if (mail != NULL) {
    neap__ready(loop, &loop->mail_call.item);
  } else {
    neap__mail_arrived(loop);
  }
}

void neap__mail_arrived(neap__loop *loop) {
  neap__mailbox *box = loop->mailbox;
  if (box == NULL || loop->mail != NULL) return; /* first what there is */
  uv_mutex_lock(&box->mutex);
  box->rung = false;
  neap__mail *head = box->head;
  box->head = box->tail = NULL;
  uv_mutex_unlock(&box->mutex);
  if (head == NULL) return;
  loop->mail = head;
  neap__ready(loop, &loop->mail_call.item);
}

void neap__mail_flush(neap__loop *loop, lua_State *L) {
  neap_runtime *rt = loop->rt;
  neap_task *current = rt->current;
  neap__loop *running = rt->running;
  (void)L;
  neap__mail_arrived(loop);
  neap__set_running(rt, loop);
  while (loop->mail != NULL)
    deliver(&loop->mail_call);
  neap__set_running(rt, running);
  rt->current = current;
}

/* ---- waking the loop ----------------------------------------------------------- */

#ifdef __linux__
static void on_ring(uv_poll_t *bell, int status, int events) {
  neap__loop *loop = bell->data;
  uint64_t count;
  (void)status, (void)events;
  /* First: who posts after this rings again. */
  if (loop->mailbox != NULL &&
      read(loop->mailbox->fd, &count, sizeof count) < 0) {
  }
  neap__mail_arrived(loop);
}

static void on_bell_closed(uv_handle_t *handle) {
  ((neap__loop *)handle->data)->open_handles--;
}

/* Without it, uv_async_send has to do. */
static void hang_bell(neap__mailbox *box, neap__loop *loop) {
  int fd = box->fd >= 0 ? box->fd : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) return;
  if (uv_poll_init(loop->uv, &loop->bell, fd) < 0) {
    close(fd);
    return;
  }
  box->fd = fd;
  loop->bell.data = loop;
  loop->open_handles++;
  loop->has_bell = true;
  uv_unref((uv_handle_t *)&loop->bell);
  uv_poll_start(&loop->bell, UV_READABLE, on_ring);
}

static void ring(neap__mailbox *box) {
  const uint64_t one = 1;
  if (write(box->fd, &one, sizeof one) < 0) { /* it is as full as can be */
  }
}
#endif

void neap__mailbox_detach(neap__loop *loop) {
  if (loop->mailbox == NULL) return;
  neap__mailbox_close(loop->mailbox);
#ifdef __linux__
  if (loop->has_bell) uv_close((uv_handle_t *)&loop->bell, on_bell_closed);
  loop->has_bell = false;
#endif
  neap__mailbox_unref(loop->mailbox);
  loop->mailbox = NULL;
}

void neap__mailbox_attach(neap__mailbox *box, neap__loop *loop) {
  loop->mail_call.item.kind = NEAP__CALL;
  loop->mail_call.run = deliver;
  loop->mailbox = neap__mailbox_ref(box);
#ifdef __linux__
  hang_bell(box, loop);
#endif
  uv_mutex_lock(&box->mutex);
  box->loop = loop;
  bool closed = box->closed, any = box->head != NULL;
  uv_mutex_unlock(&box->mutex);
  if (any && !closed) neap__mail_arrived(loop);
}

neap__mailbox *neap__mailbox_of(neap__loop *loop) {
  if (loop->mailbox != NULL) return loop->mailbox;
  neap__mailbox *box = neap__mailbox_new();
  if (box == NULL) return NULL;
  neap__mailbox_attach(box, loop);
  neap__mailbox_unref(box);
  return box;
}

neap__loop *neap__mailbox_here(neap__mailbox *box, const neap_runtime *rt) {
  uv_mutex_lock(&box->mutex);
  neap__loop *loop = box->loop;
  /* Of another thread's loop nothing is read but this: it cannot go before the lock is
   * given back, and it never changes. */
  if (loop != NULL && loop->rt != rt) loop = NULL;
  uv_mutex_unlock(&box->mutex);
  return loop;
}

bool neap__mailbox_is_closed(neap__mailbox *box) {
  uv_mutex_lock(&box->mutex);
  bool closed = box->closed || box->ending;
  uv_mutex_unlock(&box->mutex);
  return closed;
}

void neap__mailbox_end(neap__loop *loop) {
  if (loop->mailbox == NULL) return;
  uv_mutex_lock(&loop->mailbox->mutex);
  loop->mailbox->ending = true;
  uv_mutex_unlock(&loop->mailbox->mutex);
}

void neap__post(neap__mailbox *box, neap__mail *mail) {
  bool rings = false;
  mail->next = NULL;
  uv_mutex_lock(&box->mutex);
  if (!box->closed) {
    if (box->tail != NULL) {
      box->tail->next = mail;
    } else {
      box->head = mail;
    }
    box->tail = mail;
    box->posted++;
    mail = NULL;
    if (box->loop != NULL && !box->rung) {
      box->rung = true;
      rings = box->fd >= 0;
      if (rings) {
        neap__mailbox_ref(box); /* what was posted may have held it */
      } else {
        /* Inside the lock: the loop cannot be closed before this call is over. */
        uv_async_send(&box->loop->async);
      }
    }
  }
  uv_mutex_unlock(&box->mutex);
  if (mail != NULL) mail->lost(mail);
#ifdef __linux__
  if (rings) {
    ring(box); /* outside: whom it wakes needs the lock */
    neap__mailbox_unref(box);
  }
#endif
}

void neap__mailbox_close(neap__mailbox *box) {
  uv_mutex_lock(&box->mutex);
  neap__mail *mail = box->head;
  box->closed = true;
  box->loop = NULL;
  box->head = box->tail = NULL;
  uv_mutex_unlock(&box->mutex);
  while (mail != NULL) {
    neap__mail *next = mail->next;
    mail->lost(mail);
    mail = next;
  }
}

void neap__remote_hold(neap__loop *loop) {
  if (loop->nremote++ == 0) neap__hold(loop, true);
}

void neap__remote_release(neap__loop *loop) {
  if (--loop->nremote == 0) neap__hold(loop, false);
}
