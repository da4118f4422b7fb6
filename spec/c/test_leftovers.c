/* SPDX-License-Identifier: MIT
 *
 * test_leftovers.c - objects that a lent Lua state still has when the runtime has ended.
 */
#include "test.h"

#include <lualib.h>

static const char making[] =
    "local neap, net = require 'neap', require 'neap.net'\n"
    "left = {\n"
    "  net.listen(), net.udp {host = '127.0.0.1'}, neap.TaskGroup(),\n"
    "  neap.Lock(), neap.Queue(), net.tls_context {}, neap.Future(),\n"
    "}\n"
    "left[8], left[9] = net.pair()\n"
    "local shaking = left[8]\n"
    "neap.create_task(shaking.start_tls, shaking, {verify = false})\n"
    "neap.create_task(left[2].recv, left[2])\n"
    "neap.create_task(net.tls_context, {alpn = {'x'}})\n"
    "for _ = 1, 20 do neap.sleep(0) end\n";

static const char using[] = "for _, object in ipairs(left) do\n"
                            "  tostring(object)\n"
                            "  pcall(object.close, object)\n"
                            "  pcall(object.write, object, 'x')\n"
                            "  pcall(object.read, object)\n"
                            "  pcall(object.address, object)\n"
                            "  tostring(object)\n"
                            "end\n";

static void test_used(void) {
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  neap_config config = {.size = sizeof config, .L = L, .grace = 0.05};
  neap_runtime *rt = neap_new(&config, NULL);
  CHECK(rt != NULL);
  CHECK_INT(neap_dostring(rt, making, "=making"), LUA_OK);
  neap_free(rt);
  CHECK_INT(luaL_dostring(L, using), LUA_OK);
  lua_close(L);
}

static void test_collected(void) {
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  neap_config config = {.size = sizeof config, .L = L, .grace = 0.05};
  neap_runtime *rt = neap_new(&config, NULL);
  CHECK(rt != NULL);
  CHECK_INT(neap_dostring(rt, making, "=making"), LUA_OK);
  neap_free(rt);
  CHECK_INT(luaL_dostring(L, "left = nil collectgarbage() collectgarbage()"),
            LUA_OK);
  lua_close(L);
}

int main(void) {
  static const test_case tests[] = {
      {"they can be used", test_used},
      {"they can be collected", test_collected},
  };
  return run_tests(tests, COUNT(tests));
}
