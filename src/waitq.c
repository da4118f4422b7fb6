/* SPDX-License-Identifier: MIT
 *
 * waitq.c - FIFO of parked waits: what every sync primitive is built on.
 *
 * The links are inside the waits, so joining and leaving cost no memory. A wait in a
 * queue is parked and not woken; whoever wakes or aborts it takes it out first.
 */
#include "internal.h"

void neap__waitq_push(neap__waitq *queue, neap_wait *wait) {
  neap__link *link = neap__link_of(wait);
  link->queue.next = NULL;
  link->queue.prev = queue->tail;
  if (queue->tail != NULL) {
    neap__link_of(queue->tail)->queue.next = wait;
  } else {
    queue->head = wait;
  }
  queue->tail = wait;
  wait->flags |= NEAP__QUEUED;
}

void neap__waitq_remove(neap__waitq *queue, neap_wait *wait) {
  if (!(wait->flags & NEAP__QUEUED)) return;
  neap__link *link = neap__link_of(wait);
  if (link->queue.prev != NULL) {
    neap__link_of(link->queue.prev)->queue.next = link->queue.next;
  } else {
    queue->head = link->queue.next;
  }
  if (link->queue.next != NULL) {
    neap__link_of(link->queue.next)->queue.prev = link->queue.prev;
  } else {
    queue->tail = link->queue.prev;
  }
  wait->flags &= ~(unsigned)NEAP__QUEUED;
}

neap_wait *neap__waitq_wake(neap__waitq *queue, int status) {
  neap_wait *wait = queue->head;
  if (wait == NULL) return NULL;
  neap__waitq_remove(queue, wait);
  neap_wake(wait, status);
  return wait;
}
