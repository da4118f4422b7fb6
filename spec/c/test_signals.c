/* SPDX-License-Identifier: MIT
 *
 * test_signals.c - signals on a loop that the embedder lends and runs himself, and
 * terminals at the end of a runtime.
 */
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static void on_any(uv_handle_t *handle, void *arg) {
  (void)handle;
  ++*(int *)arg;
}

static bool lent_start(fixture *f, uv_loop_t *loop) {
  CHECK_INT(uv_loop_init(loop), 0);
  fixture_init(f);
  f->config.loop = loop;
  return fixture_open(f);
}

static void lent_end(uv_loop_t *loop) {
  int handles = 0;
  uv_walk(loop, on_any, &handles);
  CHECK_INT(handles, 0);
  CHECK_INT(uv_loop_close(loop), 0);
}

static void test_foreign_run(void) {
  fixture f;
  uv_loop_t loop;
  REQUIRE(lent_start(&f, &loop));
  DO(&f, "signal = require 'neap.signal'\n"
         "done = 0\n"
         "idle = signal.listen('SIGUSR2', 'SIGUSR1')\n"
         "neap.create_task(function()\n"
         "  assert(signal.wait('SIGUSR1') == 'SIGUSR1')\n"
         "  done = done + 1\n"
         "end)\n"
         "neap.create_task(function()\n"
         "  neap.sleep(0.002) signal.raise 'SIGUSR1'\n"
         "end)\n");
  uv_run(&loop, UV_RUN_DEFAULT); /* ends: the idle listener does not count */
  CHECK_INT(global_int(&f, "done"), 1);
  DO(&f, "neap.create_task(function()\n"
         "  assert(idle:wait() == 'SIGUSR1')\n"
         "  done = done + 1\n"
         "end)\n");
  while (neap_step(f.rt, 1) > 0) {
  }
  CHECK_INT(global_int(&f, "done"), 2);
  fixture_close(&f);
  lent_end(&loop);
}

static void test_closed_in_flight(void) {
  fixture f;
  uv_loop_t loop;
  struct sigaction now;
  REQUIRE(lent_start(&f, &loop));
  DO(&f, "signal = require 'neap.signal'\n"
         "idle = signal.listen('SIGUSR2')\n"
         "for i = 1, 3 do\n"
         "  neap.create_task(signal.wait, 'SIGUSR1', 'SIGUSR2')\n"
         "end\n");
  neap_step(f.rt, 0);
  raise(SIGUSR1);
  fixture_close(&f);
  lent_end(&loop);
  CHECK_INT(sigaction(SIGUSR1, NULL, &now), 0);
  CHECK(now.sa_handler == SIG_DFL);
}

static void test_terminal(void) {
  fixture f;
  struct termios before = {0}, now = {0}; /* padding is compared as well */
  int master = posix_openpt(O_RDWR | O_NOCTTY);
  REQUIRE(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
  int fd = open(ptsname(master), O_RDWR | O_NOCTTY);
  REQUIRE(fd >= 0 && tcgetattr(fd, &before) == 0);
  for (int i = 0; i < 2; i++) {
    fixture_init(&f);
    REQUIRE(fixture_open(&f));
    lua_pushinteger(f.L, fd);
    lua_setglobal(f.L, "fd");
    DO(&f, "tty = require 'neap.tty'\n"
           "guard = assert(tty.raw(fd))\n"
           "other = assert(tty.mode('cbreak', fd))\n");
    CHECK(tcgetattr(fd, &now) == 0 && (now.c_lflag & ICANON) == 0);
    if (i == 1) neap_shutdown(f.rt);
    if (i == 0) fixture_close(&f);
    CHECK(tcgetattr(fd, &now) == 0);
    CHECK(memcmp(&now, &before, sizeof now) == 0);
    if (i == 1) fixture_close(&f);
  }
  close(fd);
  close(master);
}

int main(void) {
  static const test_case tests[] = {
      {"signals, the embedder runs the loop", test_foreign_run},
      {"signals, closed in flight", test_closed_in_flight},
      {"a terminal is put back", test_terminal},
  };
  return run_tests(tests, COUNT(tests));
}
