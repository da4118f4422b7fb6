/* SPDX-License-Identifier: MIT
 *
 * test_late.c - the processor is taken away between arming libuv's timer and waiting:
 * a deadline that is over by then still ends the wait.
 */
#include "test.h"

#include <dlfcn.h>
#include <unistd.h>

typedef int (*start_fn)(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout,
                        uint64_t repeat);

/* Stands before libuv's own: comes back late. */
int uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout,
                   uint64_t repeat) {
  start_fn start;
  *(void **)(void *)&start = dlsym(RTLD_NEXT, "uv_timer_start");
  int status = start(timer, cb, timeout, repeat);
  uv_sleep(3);
  return status;
}

static void sleeping(void) {
  fixture f;
  fixture_init(&f);
  REQUIRE(fixture_open(&f));
  alarm(60); /* it would hang */
  /* What is open keeps libuv waiting. */
  DO(&f, "local neap = require 'neap'\n"
         "local a, b = require 'neap.net'.pair()\n"
         "local task = neap.create_task(b.read, b)\n"
         "for _ = 1, 5 do neap.sleep(0.0005) end\n"
         "a:write 'x\\n'\n"
         "assert(task:await() == 'x')\n"
         "a:close() b:close()\n");
  alarm(0);
  fixture_close(&f);
}

int main(void) {
  static const test_case cases[] = {
      {"a deadline that is over before the wait", sleeping},
  };
  return run_tests(cases, COUNT(cases));
}
