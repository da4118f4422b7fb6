/* SPDX-License-Identifier: MIT
 *
 * test_lifecycle.c - neap_new, its config, neap_shutdown, neap_free, the hooks.
 */
#include "test.h"

static void test_version(void) {
  CHECK_STR(neap_version(), NEAP_VERSION);
}

static void test_defaults(void) {
  int error = 1;
  neap_runtime *rt = neap_new(NULL, &error);
  REQUIRE(rt != NULL);
  CHECK_INT(error, 0);
  CHECK_INT(neap_dostring(rt,
                          "local neap = require 'neap'\n"
                          "assert(neap._VERSION and string and io and debug)\n"
                          "neap.sleep(0.001)",
                          "=test"),
            LUA_OK);
  CHECK(neap_of(neap_lua(rt)) == rt);
  neap_free(rt);
  rt = neap_new(NULL, NULL);
  CHECK(rt != NULL);
  neap_free(rt);
  neap_free(NULL);
}

static void test_size(void) {
  int error = 0;
  neap_config config = {.size = 0};
  CHECK(neap_new(&config, &error) == NULL);
  CHECK_INT(error, UV_EINVAL);
  config.size = sizeof config + 8;
  CHECK(neap_new(&config, NULL) == NULL);
}

static void test_no_runtime(void) {
  lua_State *L = luaL_newstate();
  CHECK(neap_of(L) == NULL);
  lua_close(L);
}

static void test_unused(void) {
  fixture f;
  fixture_init(&f);
  f.rt = neap_new(&f.config, NULL);
  REQUIRE(f.rt != NULL);
  fixture_close(&f);
}

static void test_no_libs(void) {
  fixture f;
  fixture_init(&f);
  f.config.flags = NEAP_NO_LIBS;
  f.rt = neap_new(&f.config, NULL);
  REQUIRE(f.rt != NULL);
  f.L = neap_lua(f.rt);
  CHECK_STR(global_text(&f, "string"), "nil");
  CHECK_STR(global_text(&f, "require"), "nil");
  /* The module can still be had, and works. */
  luaL_requiref(f.L, "neap", luaopen_neap, 1);
  lua_pop(f.L, 1);
  DO(&f, "done = neap.gather(function() neap.sleep(0.001) return 7 end)");
  CHECK_INT(global_int(&f, "done"), 7);
  fixture_close(&f);
}

static void test_paths(void) {
  fixture f;
  fixture_init(&f);
  f.config.lua_path = "/nowhere/?.lua";
  f.config.lua_cpath = "/nowhere/?.so";
  REQUIRE(fixture_open(&f));
  DO(&f, "path, cpath = package.path, package.cpath");
  CHECK_STR(global_text(&f, "path"), "/nowhere/?.lua");
  CHECK_STR(global_text(&f, "cpath"), "/nowhere/?.so");
  fixture_close(&f);
}

static void test_log_hook(void) {
  fixture f;
  fixture_init(&f);
  f.config.unhandled = NULL; /* then reports go to the log */
  REQUIRE(fixture_open(&f));
  DO(&f, "warn '@on' warn('one ', 'two')");
  CHECK_STR(f.log, "Lua warning: one two\n");
  DO(&f, "neap.create_task(function() error 'lost' end)\n"
         "neap.sleep(0.001) collectgarbage() collectgarbage()");
  CHECK_HAS(f.log, "Task exception was never retrieved");
  CHECK_HAS(f.log, "lost");
  CHECK(neap_had_unhandled(f.rt));
  fixture_close(&f);
}

static void test_unhandled_hook(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  CHECK(!neap_had_unhandled(f.rt));
  DO(&f, "neap.create_task(function() error 'lost' end)\nneap.sleep(0.001)");
  neap_shutdown(f.rt);
  CHECK_INT(f.unhandled, 1);
  CHECK_HAS(f.reports, "Task exception was never retrieved");
  CHECK_HAS(f.reports, "test:1: lost");
  CHECK_HAS(f.reports, "stack traceback");
  CHECK_STR(f.log, "");
  CHECK(neap_had_unhandled(f.rt));
  fixture_close(&f);
}

static void test_no_hooks(void) {
  fixture f;
  fixture_init(&f);
  f.config.log = NULL;
  f.config.unhandled = NULL;
  REQUIRE(fixture_open(&f));
  DO(&f, "neap.create_task(error, 'dropped') neap.sleep(0) neap.sleep(0)");
  neap_shutdown(f.rt);
  CHECK(neap_had_unhandled(f.rt));
  fixture_close(&f);
}

static void test_callback_error(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  DO(&f, "neap.get_event_loop():call_soon(error, 'in a callback')\n"
         "neap.sleep(0.001)");
  CHECK_INT(f.unhandled, 1);
  CHECK_HAS(f.reports, "Exception in callback");
  CHECK_HAS(f.reports, "in a callback");
  fixture_close(&f);
}

static void test_own_handler(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  DO(&f, "local loop = neap.get_event_loop()\n"
         "loop:set_exception_handler(function(_, c) seen = c.exception end)\n"
         "loop:call_soon(error, 'mine') neap.sleep(0.001)");
  CHECK_STR(global_text(&f, "seen"), "mine");
  CHECK_INT(f.unhandled, 0);
  CHECK(!neap_had_unhandled(f.rt));
  fixture_close(&f);
}

/* ---- memory ------------------------------------------------------------------------- */

static void test_limit(void) {
  fixture f;
  fixture_init(&f);
  f.config.memory_limit = 4u << 20;
  REQUIRE(fixture_open(&f));
  for (int i = 0; i < 3; i++) {
    DO_FAIL(&f, "local t = {} for i = 1, 1e7 do t[i] = {} end",
            "not enough memory");
    CHECK(f.memory.bytes < 5u << 20);
    DO(&f, "collectgarbage() n = 0\n"
           "local function f() neap.sleep(0.001) n = n + 1 end\n"
           "neap.gather(f, f, f)");
    CHECK_INT(global_int(&f, "n"), 3);
  }
  fixture_close(&f);
}

static void test_limit_in_task(void) {
  fixture f;
  fixture_init(&f);
  f.config.memory_limit = 4u << 20;
  REQUIRE(fixture_open(&f));
  DO(&f, "local t = neap.create_task(function()\n"
         "  local t = {} for i = 1, 1e7 do t[i] = {} end\n"
         "end)\n"
         "local other = neap.create_task(function()\n"
         "  neap.sleep(0.01) return 'fine'\n"
         "end)\n"
         "ok, err = pcall(t.await, t)\n"
         "fine = other:await()");
  CHECK_STR(global_text(&f, "ok"), "false");
  CHECK_HAS(global_text(&f, "err"), "not enough memory");
  CHECK_STR(global_text(&f, "fine"), "fine");
  fixture_close(&f);
}

static void test_limit_of_tasks(void) {
  fixture f;
  fixture_init(&f);
  f.config.memory_limit = 8u << 20;
  REQUIRE(fixture_open(&f));
  DO_FAIL(&f, "while true do neap.create_task(neap.sleep, 60) end",
          "not enough memory");
  /* Thousands of tasks sleep now; there is an orderly way out. */
  CHECK_INT(neap_shutdown(f.rt), 0);
  fixture_close(&f);
}

static void test_limit_too_small(void) {
  int error = 0;
  neap_config config = {.size = sizeof config, .memory_limit = 1000};
  CHECK(neap_new(&config, &error) == NULL);
  CHECK_INT(error, UV_ENOMEM);
  config.memory_limit = 30000;
  CHECK(neap_new(&config, &error) == NULL);
  CHECK_INT(error, UV_ENOMEM);
}

/* ---- shutdown ------------------------------------------------------------------------ */

static void test_shutdown_order(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  DO(&f, "log = ''\n"
         "for i = 1, 3 do\n"
         "  neap.create_task(function()\n"
         "    local _ <close> = setmetatable({}, {__close = function()\n"
         "      neap.sleep(0.001) log = log .. 'c' .. i\n"
         "    end})\n"
         "    neap.sleep(60)\n"
         "  end)\n"
         "end\n"
         "neap.sleep(0)");
  CHECK_INT(neap_shutdown(f.rt), 0);
  CHECK_STR(global_text(&f, "log"), "c1c2c3");
  CHECK_INT(neap_shutdown(f.rt), 0);
  /* Lua goes on, waiting does not. */
  DO(&f, "assert(#('x'):rep(3) == 3)");
  DO_FAIL(&f, "neap.sleep(0.001)", "shut down");
  DO_FAIL(&f, "neap.create_task(print)", "shut down");
  push_function(&f, "function() end");
  CHECK(neap_spawn(f.rt, f.L, 0, NULL, NULL) == NULL);
  CHECK_TOP(&f, 0);
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_INT(neap_step(f.rt, 0), 0);
  fixture_close(&f);
}

static void test_shutdown_by_force(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  DO(&f, "closed = 0\n"
         "neap.create_task(function()\n"
         "  local _ <close> = setmetatable({}, {__close = function()\n"
         "    closed = closed + 1\n"
         "  end})\n"
         "  while true do pcall(neap.sleep, 60) end\n"
         "end)\n"
         "neap.sleep(0)");
  CHECK_INT(neap_shutdown(f.rt), 1);
  CHECK_INT(global_int(&f, "closed"), 1);
  CHECK_HAS(f.reports, "Task was destroyed but it is pending!");
  fixture_close(&f);
}

static int l_shutdown(lua_State *L) {
  lua_pushinteger(L, neap_shutdown(neap_of(L)));
  return 1;
}

static void test_shutdown_inside(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  lua_register(f.L, "shutdown", l_shutdown);
  DO(&f, "in_task = neap.gather(shutdown)\n"
         "neap.get_event_loop():call_soon(function()\n"
         "  in_callback = shutdown()\n"
         "end)\n"
         "neap.sleep(0.001)");
  CHECK_INT(global_int(&f, "in_task"), UV_EBUSY);
  CHECK_INT(global_int(&f, "in_callback"), UV_EBUSY);
  fixture_close(&f);
}

static void test_spawn_during_shutdown(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  DO(&f, "neap.create_task(function()\n"
         "  pcall(neap.sleep, 60)\n"
         "  neap.create_task(function()\n"
         "    local ok, e = pcall(neap.sleep, 60)\n"
         "    late = neap.CancelledError:is(e)\n"
         "  end)\n"
         "  neap.current_task():uncancel()\n"
         "  neap.sleep(0)\n"
         "end)\n"
         "neap.sleep(0)");
  CHECK_INT(neap_shutdown(f.rt), 0);
  /* It was cancelled before it could begin, or at its wait. */
  CHECK(strcmp(global_text(&f, "late"), "false") != 0);
  fixture_close(&f);
}

static void test_other_loops(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  DO(&f, "other = neap.new_event_loop()\n"
         "other:create_task(function() neap.sleep(60) end)\n"
         "neap.sleep(0.001)\n"
         "assert(neap.run(function() neap.sleep(0.001) return 5 end) == 5)");
  neap_shutdown(f.rt);
  DO(&f, "assert(other:is_closed())");
  fixture_close(&f);
}

static void test_gc_at_close(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  /* Finalizers run when the state closes; the API must not crash there. */
  DO(&f, "setmetatable({}, {__gc = function()\n"
         "  pcall(neap.sleep, 1) pcall(neap.create_task, print)\n"
         "  pcall(neap.get_event_loop) pcall(neap.run, print)\n"
         "  pcall(neap.Future) neap.Lock():try_acquire()\n"
         "end})\n"
         "keep = setmetatable({}, {__gc = function() coroutine.wrap(\n"
         "  function() coroutine.yield() end)() end})");
  fixture_close(&f);
}

int main(void) {
  static const test_case tests[] = {
      {"the version is that of the header", test_version},
      {"without a config there are defaults", test_defaults},
      {"a config of another size is refused", test_size},
      {"a foreign state has no runtime", test_no_runtime},
      {"an unused runtime gives back all its memory", test_unused},
      {"without libraries the module still works", test_no_libs},
      {"package.path and cpath can be set", test_paths},
      {"warnings and reports go to the log", test_log_hook},
      {"lost errors go to the unhandled hook", test_unhandled_hook},
      {"without hooks reports are dropped but counted", test_no_hooks},
      {"an error in a callback is reported", test_callback_error},
      {"what an own handler took is dealt with", test_own_handler},
      {"past the memory limit Lua raises, and goes on", test_limit},
      {"a task that runs out of memory harms no other", test_limit_in_task},
      {"tasks up to the limit are shut down in order", test_limit_of_tasks},
      {"a limit too small for Lua is ENOMEM", test_limit_too_small},
      {"shutdown lets close handlers wait", test_shutdown_order},
      {"a task that would not end is closed by force", test_shutdown_by_force},
      {"shutdown from inside is refused", test_shutdown_inside},
      {"tasks made during shutdown are ended too", test_spawn_during_shutdown},
      {"all loops of the runtime are closed", test_other_loops},
      {"finalizers may call the API while the state closes", test_gc_at_close},
  };
  return run_tests(tests, COUNT(tests));
}
