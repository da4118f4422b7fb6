/* SPDX-License-Identifier: MIT
 *
 * oom_datagrams.c - failing allocations in readiness, datagrams and names.
 */
#include "oom.h"

static const char poll[] =
    "local neap, core = require 'neap', require 'neap.core.test'\n"
    "local loop = neap.get_event_loop()\n"
    "local r, w = core.pipe()\n"
    "local function body()\n"
    /* Where there is no memory the callback cannot even be called. */
    "  loop:add_reader(r, function() loop:remove_reader(r) end)\n"
    "  local t = neap.create_task(neap.wait_readable, r)\n"
    "  assert(neap.wait_writable(w))\n"
    "  core.fd_write(w, 'x')\n"
    "  assert(t:await()) neap.sleep(0.0001)\n"
    "  loop:add_reader(r, print) loop:remove_reader(r)\n"
    "  local late = neap.create_task(neap.wait_writable, r)\n"
    "  neap.sleep(0) late:cancel() pcall(late.await, late)\n"
    "  local none, err = neap.wait_readable(999)\n"
    "  assert(not none and err.code == 'EBADF')\n"
    "end\n"
    "local ok, err = pcall(body)\n"
    "loop:remove_reader(r) core.fd_close(r) core.fd_close(w)\n"
    "assert(ok, err)\n";

static const char udp[] =
    "local neap, net = require 'neap', require 'neap.net'\n"
    "local function body()\n"
    "  local a <close> = assert(net.udp {host = '127.0.0.1'})\n"
    "  local b <close> = assert(net.udp {host = '127.0.0.1'})\n"
    "  local _, port = b:address()\n"
    "  local c <close> = assert(net.udp {connect = {host = '127.0.0.1',\n"
    "    port = port}})\n"
    "  local t = neap.create_task(b.recv, b)\n"
    "  neap.sleep(0)\n"
    "  a:send('x', '127.0.0.1', port) c:send 'y'\n"
    "  neap.wait_for(t, 0.01)\n"
    "  assert(neap.wait_for(b.recv, 0.01, b))\n"
    "  t = neap.create_task(a.recv, a) neap.sleep(0) t:cancel()\n"
    "  pcall(t.await, t)\n"
    "  t = neap.create_task(a.recv, a) neap.sleep(0) a:close()\n"
    "  t:await()\n"
    "  c:send(('z'):rep(1000)) assert(tostring(c))\n"
    "end\n"
    "body()\n"
    "neap.create_task(body):await()\n";

static const char names[] =
    "local neap, net = require 'neap', require 'neap.net'\n"
    "local dns = require 'neap.core.dns'\n"
    "local server <close> = assert(net.udp {host = '127.0.0.1'})\n"
    "local _, port = server:address()\n"
    "local main <close> = setmetatable({}, {__close = function(m)\n"
    "  if m.task then m.task:cancel() end end})\n"
    "main.task = neap.create_task(function()\n"
    "  for q, host, from in server:packets() do\n"
    "    server:send(q:sub(1, 2) .. '\\x81\\x83' .. q:sub(5), host, from)\n"
    "  end\n"
    "end)\n"
    "local opts = {servers = {'127.0.0.1:' .. port}, timeout = 0.02}\n"
    "for _, backend in ipairs {'c-ares', 'libuv'} do\n"
    "  dns.backend(backend)\n"
    "  local list, err = net.resolve('localhost', {family = 'inet'})\n"
    "  assert(list, err)\n"
    "  local tasks = {}\n"
    "  for i = 1, 4 do tasks[i] = neap.create_task(net.resolve, 'localhost')\n"
    "  end\n"
    "  neap.sleep(0) tasks[4]:cancel() tasks[1]:cancel()\n"
    "  neap.gather(tasks, {return_exceptions = true})\n"
    "end\n"
    "local _, err = net.resolve('a..b')\n"
    "assert(err.code == 'EAI_NONAME')\n"
    "if dns.backend 'c-ares' == 'c-ares' then\n"
    "  local _, err = net.resolve('x.test', opts)\n"
    "  assert(err.code == 'EAI_NONAME', err)\n"
    "end\n";

static bool run_poll(fixture *f) {
  return run_code(f, poll);
}

static bool run_udp(fixture *f) {
  return run_code(f, udp);
}

static bool run_names(fixture *f) {
  return run_code(f, names);
}

static const scenario scenarios[] = {
    {"readiness", run_poll}, {"datagrams", run_udp}, {"names", run_names}};

int main(void) {
  return sweep_all(scenarios, COUNT(scenarios));
}
