/* SPDX-License-Identifier: MIT
 *
 * offload.c - blocking work on libuv's thread pool. The block is libuv's until its
 * completion callback: a cancelled task waits for that.
 */
#include "internal.h"

#include <string.h>

static void on_work(uv_work_t *uv) {
  neap_work *work = neap__container_of(uv, neap_work, uv);
  work->run(work);
}

static void on_worked(uv_work_t *uv, int status) {
  neap_work *work = neap__container_of(uv, neap_work, uv);
  neap_wake(&work->wait, status);
}

static neap_aborted work_abort(neap_wait *wait) {
  neap_work *work = neap__container_of(wait, neap_work, wait);
  uv_cancel((uv_req_t *)&work->uv); /* only where it has not begun */
  return NEAP_ABORT_PENDING;
}

static int work_finish(lua_State *L, neap_wait *wait) {
  neap_work *work = neap__container_of(wait, neap_work, wait);
  return work->finish(L, work, wait->status);
}

int neap_offload(lua_State *L, neap_work *work, const char *name) {
  neap_runtime *rt = neap_of(L);
  memset(&work->wait, 0, sizeof work->wait);
  work->wait.abort = work_abort;
  work->wait.finish = work_finish;
  work->wait.name = name;
  /* Only fails for a NULL callback. */
  uv_queue_work(neap_loop(rt), &work->uv, on_work, on_worked);
  return neap_park(L, &work->wait);
}
