/* SPDX-License-Identifier: MIT
 *
 * oom_shared.h - for programs in which the memory that threads share fails as well.
 */
#ifndef OOM_SHARED_H
#define OOM_SHARED_H

#include "oom.h"

#include "share.h"

/* Shared memory is counted with the rest, and fails like it. In place of sharemem.c. */
static memory *books;

void *neap__share_alloc(void *ptr, size_t size) {
  size_t old = ptr != NULL ? ((memory_head *)ptr - 1)->size : 0;
  return memory_alloc(books, ptr, old, size);
}

static bool run_booked(fixture *f, const char *code) {
  books = &f->memory;
  return run_code(f, code);
}

#endif
