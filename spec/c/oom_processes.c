/* SPDX-License-Identifier: MIT
 *
 * oom_processes.c - failing allocations in child processes.
 */
#include "oom.h"

static const char script[] =
    "local neap, process = require 'neap', require 'neap.process'\n"
    "local function body()\n"
    "  local child <close> = assert(process.spawn {'cat', stdin = 'pipe',\n"
    "    stdout = 'pipe', env = {A = '1'}, grace = 0.01})\n"
    "  assert(child.stdin:write 'x\\n') child.stdin:close()\n"
    "  assert(child.stdout:read() == 'x')\n"
    "  assert(child:wait() == 0 and tostring(child))\n"
    "  local other <close> = assert(process.spawn {'sleep', '100',\n"
    "    group = true, grace = 0.01})\n"
    "  local t = neap.create_task(other.wait, other) neap.sleep(0)\n"
    "  other:close() t:await()\n"
    "  local _, err = process.spawn {'neap-no-such-program'}\n"
    "  assert(err.code == 'ENOENT', err)\n"
    "  local r = assert(process.run {'cat', input = 'y', timeout = 60})\n"
    "  assert(r.stdout == 'y')\n"
    "  assert(process.spawn {'sleep', '100', grace = 0.01})\n"
    "end\n"
    "neap.run(body)\n";

static bool run_processes(fixture *f) {
  return run_code(f, script);
}

static const scenario scenarios[] = {{"processes", run_processes}};

int main(void) {
  return sweep_all(scenarios, COUNT(scenarios));
}
