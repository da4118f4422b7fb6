/* SPDX-License-Identifier: MIT
 *
 * test_lent_io.c - descriptors, datagrams and names on a loop that the embedder lends
 * and runs himself.
 */
#include "test.h"

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

/* Nothing of ours is left on the loop. */
static void lent_end(uv_loop_t *loop) {
  int handles = 0;
  uv_walk(loop, on_any, &handles);
  CHECK_INT(handles, 0);
  CHECK_INT(uv_loop_close(loop), 0);
}

static const char program[] =
    "local core, net = require 'neap.core.test', require 'neap.net'\n"
    "local dns = require 'neap.core.dns'\n"
    "done = 0\n"
    "local loop = neap.get_event_loop()\n"
    "local r, w = core.pipe()\n"
    "local s, x = core.pipe()\n"
    "loop:add_reader(r, function()\n"
    "  loop:remove_reader(r) core.fd_close(r) core.fd_close(w)\n"
    "  done = done + 1\n"
    "end)\n"
    "neap.create_task(function()\n"
    "  neap.sleep(0.002) core.fd_write(w, 'x') core.fd_write(x, 'x')\n"
    "end)\n"
    "neap.create_task(function()\n"
    "  neap.wait_readable(s) core.fd_close(s) core.fd_close(x)\n"
    "  done = done + 1\n"
    "end)\n"
    "neap.create_task(function()\n"
    "  local a <close> = assert(net.udp {host = '127.0.0.1'})\n"
    "  local b <close> = assert(net.udp {host = '127.0.0.1'})\n"
    "  local _, port = b:address()\n"
    "  local t = neap.create_task(b.recv, b)\n"
    "  neap.sleep(0.002) a:send('x', '127.0.0.1', port)\n"
    "  assert(t:await() == 'x')\n"
    "  done = done + 1\n"
    "end)\n"
    "neap.create_task(function()\n"
    "  for _, backend in ipairs {'c-ares', 'libuv'} do\n"
    "    dns.backend(backend)\n"
    "    assert(net.resolve('localhost', {family = 'inet'}))\n"
    "  end\n"
    "  done = done + 1\n"
    "end)\n"
    "neap.create_task(function()\n"
    "  local silent <close> = assert(net.udp {host = '127.0.0.1'})\n"
    "  local _, port = silent:address()\n"
    "  if dns.backend 'c-ares' == 'c-ares' then\n"
    "    assert(not pcall(net.resolve, 'x.test',\n"
    "      {servers = {'127.0.0.1:' .. port}, timeout = 0.005}))\n"
    "  end\n"
    "  done = done + 1\n"
    "end)\n";

static void test_foreign_run(void) {
  fixture f;
  uv_loop_t loop;
  REQUIRE(lent_start(&f, &loop));
  DO(&f, program);
  uv_run(&loop, UV_RUN_DEFAULT); /* ends when all is done */
  CHECK_INT(global_int(&f, "done"), 5);
  fixture_close(&f);
  lent_end(&loop);
}

static void test_steps(void) {
  fixture f;
  uv_loop_t loop;
  REQUIRE(lent_start(&f, &loop));
  DO(&f, program);
  while (neap_step(f.rt, 1) > 0) {
  }
  CHECK_INT(global_int(&f, "done"), 5);
  fixture_close(&f);
  lent_end(&loop);
}

static void test_closed_in_flight(void) {
  fixture f;
  uv_loop_t loop;
  REQUIRE(lent_start(&f, &loop));
  DO(&f, "local core, net = require 'neap.core.test', require 'neap.net'\n"
         "r, w = core.pipe()\n"
         "neap.get_event_loop():add_reader(r, print)\n"
         "neap.create_task(neap.wait_readable, r)\n"
         "udp = assert(net.udp {host = '127.0.0.1'})\n"
         "local _, port = udp:address()\n"
         "for i = 1, 3 do\n"
         "  neap.create_task(udp.recv, udp)\n"
         "  neap.create_task(net.resolve, 'x.test',\n"
         "    {servers = {'127.0.0.1:' .. port}})\n"
         "  neap.create_task(net.resolve, 'localhost')\n"
         "end\n"
         "setmetatable({}, {__gc = function()\n"
         "  core.fd_close(r) core.fd_close(w)\n"
         "end})\n");
  neap_step(f.rt, 0);
  fixture_close(&f);
  lent_end(&loop);
}

int main(void) {
  static const test_case tests[] = {
      {"the embedder runs the loop", test_foreign_run},
      {"the embedder makes steps", test_steps},
      {"the runtime is closed with operations in flight",
       test_closed_in_flight},
  };
  return run_tests(tests, COUNT(tests));
}
