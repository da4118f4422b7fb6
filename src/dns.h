/* SPDX-License-Identifier: MIT
 *
 * dns.h - one question for the addresses of a name, and who answers it.
 *
 * A query is its answerer's while it is `busy`, and otherwise the task's that waits. One
 * that nobody waits for any more is freed by its answerer.
 */
#ifndef NEAP_DNS_H
#define NEAP_DNS_H

#include "address.h"
#include "io.h"

typedef struct neap__query {
  const void *tag; /* for the teller */
  neap_runtime *rt;
  neap__loop *loop;
  neap_wait *wait; /* NULL: it is not waited for, or not any more */
  struct neap__resolver *resolver; /* of c-ares */
  struct neap__query *next;        /* of libuv: in line */
  uv_getaddrinfo_t uv;
  int status;       /* once it is not busy: 0, or UV_EAI_* */
  const char *text; /* what c-ares calls that, or NULL */
  struct sockaddr_storage *found;
  size_t nfound;
  int family; /* AF_UNSPEC: any */
  int port;   /* -1: nobody asked for one */
  bool busy;
  const char *service; /* or NULL */
  char name[];
} neap__query;

/* Whether the process, or the system, has all descriptors that it may have. */
bool neap__out_of_descriptors(void);
/* Room for n addresses. False: no memory. */
bool neap__query_reserve(neap__query *q, size_t n);
/* Adds one; others than those of the internet are left out. */
void neap__query_add(neap__query *q, const struct sockaddr *address);
/* It is answered. */
void neap__query_done(neap__query *q, int status);
void neap__query_free(neap__query *q);

/* ---- cares.c ------------------------------------------------------------------- */

/* Whether c-ares is there; loads it when asked first. */
bool neap__cares_load(neap_runtime *rt);
/* Asks, of the servers "a,b" or those of the system (NULL). May be answered at once.
 * Otherwise q->busy is set. 0 or a UV_E* code. */
int neap__cares_start(neap__query *q, const char *servers);
/* The busy query's task has gone, q->wait is NULL. Its memory is not the caller's any
 * more. */
void neap__cares_abandon(neap__query *q);

#endif
