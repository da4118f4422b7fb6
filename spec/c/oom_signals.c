/* SPDX-License-Identifier: MIT
 *
 * oom_signals.c - failing allocations while waiting for signals, and with standard
 * streams.
 */
#include "oom.h"

static const char signals[] =
    "local neap, signal = require 'neap', require 'neap.signal'\n"
    "local function body()\n"
    "  local l <close> = signal.listen('SIGUSR1', 'SIGUSR2')\n"
    "  assert(tostring(l))\n"
    "  signal.raise 'SIGUSR1' signal.raise 'SIGUSR2'\n"
    "  assert(l:wait() == 'SIGUSR1')\n"
    "  for name in l do assert(name == 'SIGUSR2') break end\n"
    "  local t = neap.create_task(signal.wait, 'SIGUSR1')\n"
    "  neap.sleep(0) signal.raise 'SIGUSR1'\n"
    "  assert(t:await() == 'SIGUSR1')\n"
    "  t = neap.create_task(l.wait, l)\n"
    "  neap.sleep(0) t:cancel() pcall(t.await, t)\n"
    "  t = neap.create_task(l.wait, l)\n"
    "  neap.sleep(0) l:close() assert(not t:await())\n"
    "end\n"
    "body()\n"
    "neap.create_task(body):await()\n";

static const char streams[] =
    "local neap, tty = require 'neap', require 'neap.tty'\n"
    "tty.isatty(0) tty.size(0)\n"
    "local g <close> = tty.mode('raw', 0)\n"
    "for _, name in ipairs {'stdin', 'stdout', 'stderr'} do\n"
    "  local s = tty[name]\n"
    "  if s then s:close() end\n"
    "end\n";

static bool run_signals(fixture *f) {
  return run_code(f, signals);
}

static bool run_streams(fixture *f) {
  return run_code(f, streams);
}

static const scenario scenarios[] = {{"signals", run_signals},
                                     {"standard streams", run_streams}};

static void test_signals(void) {
  sweep(&scenarios[0], false);
}

static void test_signals_lasting(void) {
  sweep(&scenarios[0], true);
}

static void test_streams(void) {
  sweep(&scenarios[1], false);
}

static void test_streams_lasting(void) {
  sweep(&scenarios[1], true);
}

int main(void) {
  static const test_case tests[] = {
      {"signals, one allocation fails", test_signals},
      {"signals, memory stays short", test_signals_lasting},
      {"standard streams, one allocation fails", test_streams},
      {"standard streams, memory stays short", test_streams_lasting},
  };
  signal(SIGABRT, on_crash);
  signal(SIGSEGV, on_crash);
  signal(SIGALRM, on_crash);
  return run_tests(tests, COUNT(tests));
}
