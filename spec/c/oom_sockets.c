/* SPDX-License-Identifier: MIT
 *
 * oom_sockets.c - failing allocations in connecting, listening and serving.
 */
#include "oom.h"

static const char sockets[] =
    "local neap, net = require 'neap', require 'neap.net'\n"
    "local function body()\n"
    "  local l <close> = assert(net.listen())\n"
    "  local host, port = l:address()\n"
    "  local t = neap.create_task(l.accept, l)\n"
    "  neap.sleep(0)\n"
    "  local a <close> = assert(net.connect(host, port))\n"
    "  local b <close> = assert(neap.wait_for(t, 0.01))\n"
    "  local c <close> = assert(net.connect(host, port))\n"
    "  local d <close> = assert(neap.wait_for(l.accept, 0.01, l))\n"
    "  t = neap.create_task(l.accept, l) neap.sleep(0) t:cancel()\n"
    "  pcall(t.await, t)\n"
    "  assert(tostring(l))\n"
    "  l:close()\n"
    "  local none, err = net.connect(host, port)\n"
    "  assert(not none and err.code == 'ECONNREFUSED', err)\n"
    "end\n"
    "body()\n"
    "neap.create_task(body):await()\n";

static const char local_sockets[] =
    "local neap, net = require 'neap', require 'neap.net'\n"
    "local path = os.tmpname()\n"
    "os.remove(path)\n"
    "local function body()\n"
    "  local l <close> = assert(net.listen('unix:' .. path))\n"
    "  local a <close> = assert(net.connect(l:address()))\n"
    "  local b <close> = assert(neap.wait_for(l.accept, 0.01, l))\n"
    "end\n"
    "local ok, err = pcall(body)\n"
    "os.remove(path)\n"
    "assert(ok, err)\n";

static const char race[] =
    "local neap, net = require 'neap', require 'neap.net'\n"
    "local l <close> = assert(net.listen {host = '127.0.0.2'})\n"
    "local _, port = l:address()\n"
    "local s <close> = assert(net.connect('x', port, {timeout = 0.05,\n"
    "  addresses = {'127.0.0.1', '127.0.0.2'}}))\n"
    "l:close()\n"
    "local none, err = net.connect('x', port, {\n"
    "  addresses = {'127.0.0.1', '127.0.0.2'}})\n"
    "assert(not none and #err.errors == 2)\n";

static const char serving[] =
    "local neap, net = require 'neap', require 'neap.net'\n"
    "neap.get_event_loop():set_exception_handler(function() end)\n"
    "local server <close> = assert(net.serve(function(s)\n"
    "  s:write(s:read 'L' or '')\n"
    "end))\n"
    "local function ask()\n"
    "  local s <close> = assert(net.connect(server:address()))\n"
    "  s:write 'x\\n'\n"
    "  return s:read()\n"
    "end\n"
    "assert(neap.wait_for(ask, 0.02) == 'x')\n"
    "assert(server:shutdown(0.02) == 0)\n";

static bool run_sockets(fixture *f) {
  return run_code(f, sockets);
}

static bool run_local(fixture *f) {
  return run_code(f, local_sockets);
}

static bool run_race(fixture *f) {
  return run_code(f, race);
}

static bool run_serving(fixture *f) {
  return run_code(f, serving);
}

static const scenario scenarios[] = {{"sockets", run_sockets},
                                     {"Unix sockets", run_local},
                                     {"several addresses", run_race},
                                     {"serving", run_serving}};

int main(void) {
  return sweep_all(scenarios, COUNT(scenarios));
}
