/* SPDX-License-Identifier: MIT
 *
 * mailbox.c - mails from other threads to an event loop.
 *
 * A mail that is posted goes to the end of the box under its lock, and the loop's async
 * handle wakes the loop. What has come is taken out in one piece, and is delivered at
 * its place in the ready list.
 */
#include "mailbox.h"

static void destroy(neap__shared *shared) {
  neap__mailbox *box = (neap__mailbox *)(void *)shared;
  uv_mutex_destroy(&box->mutex);
  neap__share_alloc(box, 0);
}

const neap__shared_type neap__mailbox_type = {NEAP__K_REMOTE, "event loop",
                                              neap__remote_open, destroy};

neap__mailbox *neap__mailbox_new(void) {
  neap__mailbox *box = neap__share_alloc(NULL, sizeof *box);
  if (box == NULL) return NULL;
  *box = (neap__mailbox){.loop = NULL};
  neap__shared_init(&box->shared, &neap__mailbox_type);
  if (uv_mutex_init(&box->mutex) < 0) return neap__share_alloc(box, 0);
  return box;
}

/* In the ready list of its loop: what had come by then. */
static void deliver(neap__call *call) {
  neap__loop *loop = neap__container_of(call, neap__loop, mail_call);
  neap__mail *mail = loop->mail;
  lua_State *L = loop->rt->L;
  loop->mail = NULL;
  while (mail != NULL) {
    neap__mail *next = mail->next;
    if (loop->closed) {
      mail->lost(mail);
    } else {
      loop->rt->current = NULL;
      mail->deliver(mail, loop, L);
    }
    mail = next;
  }
}

void neap__mail_arrived(neap__loop *loop) {
  neap__mailbox *box = loop->mailbox;
  if (box == NULL) return;
  uv_mutex_lock(&box->mutex);
  neap__mail *head = box->head;
  box->head = box->tail = NULL;
  uv_mutex_unlock(&box->mutex);
  if (head == NULL) return;
  neap__mail **end = &loop->mail;
  while (*end != NULL)
    end = &(*end)->next;
  *end = head;
  neap__ready(loop, &loop->mail_call.item);
}

void neap__mail_flush(neap__loop *loop, lua_State *L) {
  neap_runtime *rt = loop->rt;
  neap_task *current = rt->current;
  neap__loop *running = rt->running;
  (void)L;
  neap__mail_arrived(loop);
  if (loop->mail == NULL) return;
  neap__set_running(rt, loop);
  deliver(&loop->mail_call);
  neap__set_running(rt, running);
  rt->current = current;
}

void neap__mailbox_attach(neap__mailbox *box, neap__loop *loop) {
  loop->mail_call.item.kind = NEAP__CALL;
  loop->mail_call.run = deliver;
  loop->mailbox = neap__mailbox_ref(box);
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
  bool closed = box->closed;
  uv_mutex_unlock(&box->mutex);
  return closed;
}

void neap__post(neap__mailbox *box, neap__mail *mail) {
  mail->next = NULL;
  uv_mutex_lock(&box->mutex);
  if (!box->closed) {
    if (box->tail != NULL) {
      box->tail->next = mail;
    } else {
      box->head = mail;
    }
    box->tail = mail;
    /* Inside the lock: the loop cannot be closed before this call is over. */
    if (box->loop != NULL) uv_async_send(&box->loop->async);
    mail = NULL;
  }
  uv_mutex_unlock(&box->mutex);
  if (mail != NULL) mail->lost(mail);
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
