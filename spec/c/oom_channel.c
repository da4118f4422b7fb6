/* SPDX-License-Identifier: MIT
 *
 * oom_channel.c - channels when memory is short: an error, no value lost or received
 * twice, and nobody waits for what is there.
 */
#include "oom_shared.h"

/* What send says that it did not send is not there; what it sent is. */
static const char books_kept[] =
    "local thread = require 'neap.thread'\n"
    "local ch = thread.Channel()\n"
    "local sent = 0\n"
    "local ok, err = pcall(function()\n"
    "  for i = 1, 40 do\n"
    "    ch:send(i % 2 == 0 and i or ('x'):rep(i)) sent = i end\n"
    "end)\n"
    "lost = #ch ~= sent\n"
    "local got, failure = 0\n"
    "while #ch > 0 do\n"
    "  local fine, v = pcall(ch.recv, ch)\n"
    "  if fine then\n"
    "    got = got + 1\n"
    "    lost = lost or (type(v) == 'string' and #v or v) ~= got\n"
    "  else\n"
    "    failure = v\n"
    "    break\n"
    "  end\n"
    "end\n"
    "lost = lost or got + #ch ~= sent\n"
    "if not ok then error(err, 0) end\n"
    "if failure then error(failure, 0) end\n";

static const char waiting[] =
    "local neap, thread = require 'neap', require 'neap.thread'\n"
    "local a, b = thread.Channel(0), thread.Channel(2)\n"
    "local function body()\n"
    "  local g <close> = neap.TaskGroup()\n"
    "  g:create_task(function() for i = 1, 5 do a:send {i} end a:close() end)\n"
    "  g:create_task(function() for i = 1, 5 do b:send(i) end end)\n"
    "  local n = 0\n"
    "  for t in a:iter() do n = n + t[1] end\n"
    "  for i = 1, 5 do n = n + b:recv() end\n"
    "  assert(n == 30)\n"
    "end\n"
    "body()\n"
    "neap.create_task(body):cancel()\n"
    "assert(tostring(a) == '<Channel 0/0 closed>')\n";

static const char selecting[] =
    "local neap, thread = require 'neap', require 'neap.thread'\n"
    "local a, b = thread.Channel(), thread.Channel(1)\n"
    "local function body()\n"
    "  assert(thread.select({a, b}, 0.0001) == nil)\n"
    "  local t = neap.create_task(thread.select, {a, b, a})\n"
    "  neap.sleep(0)\n"
    "  b:send {1, 'two'}\n"
    "  local ch, v = t:await()\n"
    "  assert(ch == b and v[2] == 'two')\n"
    "  t = neap.create_task(thread.select, {a, b})\n"
    "  neap.sleep(0) b:send 'x' t:cancel() neap.sleep(0)\n"
    "  assert(b:try_recv() == 'x')\n"
    "  t = neap.create_task(b.recv, b)\n"
    "  neap.sleep(0) b:send(('y'):rep(100)) t:cancel() neap.sleep(0)\n"
    "  assert(#b:recv() == 100)\n"
    "end\n"
    "body()\n"
    "neap.create_task(body):await()\n";

/* Crossing while somebody waits. */
static const char crossing[] =
    "local neap, thread = require 'neap', require 'neap.thread'\n"
    "local copy = require 'neap.core.packet'.copy\n"
    "local a = thread.Channel()\n"
    "local t = neap.create_task(a.recv, a)\n"
    "neap.sleep(0)\n"
    "local b = copy {a}\n"
    "assert(b[1] == a)\n"
    "a:send {b[1].capacity(b[1]) or 7}\n"
    "assert(t:await()[1] == 7)\n"
    "t = neap.create_task(a.recv, a)\n"
    "neap.sleep(0) t:cancel() pcall(t.await, t)\n";

static bool run_books(fixture *f) {
  return run_booked(f, books_kept);
}

static bool run_waiting(fixture *f) {
  return run_booked(f, waiting);
}

static bool run_selecting(fixture *f) {
  return run_booked(f, selecting);
}

static bool run_crossing(fixture *f) {
  return run_booked(f, crossing);
}

static const scenario scenarios[] = {{"sent and received", run_books},
                                     {"senders and receivers", run_waiting},
                                     {"select", run_selecting},
                                     {"crossing", run_crossing}};

int main(void) {
  return sweep_all(scenarios, COUNT(scenarios));
}
