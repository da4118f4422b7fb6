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

int main(void) {
  return sweep_all(scenarios, COUNT(scenarios));
}
