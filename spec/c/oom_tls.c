/* SPDX-License-Identifier: MIT
 *
 * oom_tls.c - failing allocations of ours in TLS. (OpenSSL has an allocator of its own.)
 */
#include "oom.h"

#include <stdlib.h>

static const char contexts[] =
    "local neap, net = require 'neap', require 'neap.net'\n"
    "local dir = os.getenv 'OOM_TLS'\n"
    "local server = assert(net.tls_context {cert = dir .. '/cert.pem',\n"
    "  key = dir .. '/key.pem', alpn = {'a', 'b'}})\n"
    "local client = assert(net.tls_context {cafile = dir .. '/cert.pem',\n"
    "  server_name = 'localhost'})\n"
    "local none, err = net.tls_context {cafile = '/nowhere'}\n"
    "assert(not none and err.code == 'ENOENT', err)\n"
    "server:close()\n"
    "assert(tostring(client))\n"
    "local t = neap.create_task(net.tls_context, {}) neap.sleep(0)\n"
    "t:cancel() pcall(t.await, t)\n";

static const char streams[] =
    "local neap, net = require 'neap', require 'neap.net'\n"
    "local dir = os.getenv 'OOM_TLS'\n"
    "local server = assert(net.tls_context {cert = dir .. '/cert.pem',\n"
    "  key = dir .. '/key.pem'})\n"
    "local client = assert(net.tls_context {cafile = dir .. '/cert.pem',\n"
    "  server_name = 'localhost'})\n"
    "local function talk()\n"
    "  local limit <close> = neap.timeout(0.5)\n"
    "  local a, b = assert(net.pair())\n"
    "  local _a <close>  = a\n"
    "  local _b <close> = b\n"
    "  local group <close> = neap.TaskGroup()\n"
    "  group:create_task(function()\n"
    "    assert(b:start_tls {server = true, context = server})\n"
    "    assert(b:write(('x'):rep(100000), '\\n'))\n"
    "    assert(b:read() == 'y')\n"
    "    assert(b:shutdown())\n"
    "  end)\n"
    "  assert(a:start_tls(client))\n"
    "  assert(#assert(a:read()) == 100000)\n"
    "  assert(a:tls_info().peer_certificate.pem)\n"
    "  assert(a:write 'y\\n')\n"
    "  assert(a:read() == nil)\n"
    "  return a:tls_info().resumed\n"
    "end\n"
    "talk() talk()\n"
    "local a, b = assert(net.pair())\n"
    "b:write 'nonsense' b:close()\n"
    "local none, err = a:start_tls(client)\n"
    "assert(not none and tostring(err))\n";

static bool run_contexts(fixture *f) {
  return run_code(f, contexts);
}

static bool run_streams(fixture *f) {
  return run_code(f, streams);
}

static const scenario scenarios[] = {{"contexts", run_contexts},
                                     {"streams", run_streams}};

int main(void) {
  char folder[] = "/tmp/oom_tls.XXXXXX", command[512];
  if (mkdtemp(folder) == NULL) return 1;
  setenv("OOM_TLS", folder, 1);
  snprintf(command, sizeof command,
           "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 "
           "-nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost "
           "-days 2 -keyout %s/key.pem -out %s/cert.pem 2>/dev/null",
           folder, folder);
  if (system(command) != 0) return 1;
  int result = sweep_all(scenarios, COUNT(scenarios));
  snprintf(command, sizeof command, "rm -rf %s", folder);
  return system(command) != 0 ? 1 : result;
}
