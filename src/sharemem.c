/* SPDX-License-Identifier: MIT
 *
 * sharemem.c - memory that threads share. Alone in its file, so that a test can bring one
 * of its own that fails.
 */
#include "share.h"

#include <stdlib.h>

void *neap__share_alloc(void *ptr, size_t size) {
  if (size == 0) {
    free(ptr);
    return NULL;
  }
  return realloc(ptr, size);
}
