/* SPDX-License-Identifier: MIT
 *
 * test_threads.c - several runtimes in one process: side by side, one inside a task of
 * another, and each in a thread of its own.
 */
#include "test.h"

static void test_side_by_side(void) {
  enum { N = 10 };
  static fixture f[N];
  for (int i = 0; i < N; i++) {
    REQUIRE(fixture_start(&f[i]));
    lua_pushinteger(f[i].L, i);
    lua_setglobal(f[i].L, "id");
    DO(&f[i], "neap.create_task(function()\n"
              "  for i = 1, 3 do neap.sleep(0.001) end done = id end)");
  }
  for (int round = 0; round < 200; round++)
    for (int i = N - 1; i >= 0; i--)
      neap_step(f[i].rt, 0.0005);
  for (int i = 0; i < N; i++) {
    CHECK_INT(global_int(&f[i], "done"), i);
    CHECK_INT(neap_run(f[i].rt), 0);
    fixture_close(&f[i]);
  }
}

/* nested(depth): runs a task in a runtime of its own, inside whoever calls. */
static int l_nested(lua_State *L) {
  lua_Integer depth = luaL_checkinteger(L, 1);
  fixture f;
  if (!fixture_start(&f)) return 0;
  lua_register(f.L, "nested", l_nested);
  lua_pushinteger(f.L, depth);
  lua_setglobal(f.L, "depth");
  DO(&f, "neap.gather(function()\n"
         "  neap.sleep(0.001)\n"
         "  result = depth\n"
         "  if depth > 1 then result = result + nested(depth - 1) end\n"
         "  neap.sleep(0.001)\nend)");
  lua_pushinteger(L, global_int(&f, "result"));
  CHECK(neap_of(L) != f.rt);
  fixture_close(&f);
  return 1;
}

static void test_nested(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  lua_register(f.L, "nested", l_nested);
  DO(&f, "sum = neap.gather(nested_task or function() return nested(5) end)");
  CHECK_INT(global_int(&f, "sum"), 15);
  fixture_close(&f);
}

static void on_thread(void *arg) {
  (void)arg;
  for (int round = 0; round < 5; round++) {
    fixture f;
    if (!fixture_start(&f)) return;
    DO(&f, "local lock, n = neap.Lock(), 0\n"
           "local function work()\n"
           "  for i = 1, 20 do\n"
           "    local _ <close> = lock:acquire() neap.sleep(0) n = n + 1\n"
           "  end\n"
           "end\n"
           "neap.gather(work, work, work, work)\n"
           "assert(n == 80)\n"
           "neap.create_task(neap.sleep, 60)\n"
           "neap.create_task(error, 'lost')\n"
           "neap.sleep(0.001)");
    neap_shutdown(f.rt);
    CHECK_INT(f.unhandled, 1);
    fixture_close(&f);
  }
}

static void test_threads(void) {
  uv_thread_t threads[8];
  for (size_t i = 0; i < COUNT(threads); i++)
    CHECK_INT(uv_thread_create(&threads[i], on_thread, NULL), 0);
  for (size_t i = 0; i < COUNT(threads); i++)
    uv_thread_join(&threads[i]);
}

/* A runtime may be used by one thread after another. */
static void on_run(void *arg) {
  CHECK_INT(neap_run(arg), 0);
}

static void test_handed_over(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  DO(&f, "neap.create_task(function() neap.sleep(0.001) done = true end)");
  uv_thread_t thread;
  CHECK_INT(uv_thread_create(&thread, on_run, f.rt), 0);
  uv_thread_join(&thread);
  CHECK_STR(global_text(&f, "done"), "true");
  DO(&f, "neap.sleep(0.001)");
  fixture_close(&f);
}

/* Many threads stop and interrupt one runtime while it works. */
typedef struct pest {
  neap_runtime *rt;
  atomic_bool enough;
} pest;

static void on_pest(void *arg) {
  pest *p = arg;
  while (!atomic_load(&p->enough)) {
    neap_stop(p->rt);
    neap_interrupt(p->rt, SIGINT, false);
    uv_sleep(0);
  }
}

static void test_pests(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  DO(&f, "neap.create_task(function()\n"
         "  while true do neap.sleep(0) n = (n or 0) + 1 end end)");
  pest p = {.rt = f.rt};
  uv_thread_t threads[4];
  for (size_t i = 0; i < COUNT(threads); i++)
    CHECK_INT(uv_thread_create(&threads[i], on_pest, &p), 0);
  for (int i = 0; i < 200; i++) {
    neap_run(f.rt);
    neap_step(f.rt, 0.001);
    if (neap_dostring(f.rt, "require 'neap'.sleep(0)", "=x") != LUA_OK)
      lua_pop(f.L, 1);
    if (neap_dostring(f.rt, "require 'neap'.run(function() end)", "=x") !=
        LUA_OK)
      lua_pop(f.L, 1);
  }
  atomic_store(&p.enough, true);
  for (size_t i = 0; i < COUNT(threads); i++)
    uv_thread_join(&threads[i]);
  fixture_close(&f);
}

int main(void) {
  static const test_case tests[] = {
      {"ten runtimes side by side", test_side_by_side},
      {"a runtime inside a task of another", test_nested},
      {"runtimes in eight threads", test_threads},
      {"a runtime handed to another thread", test_handed_over},
      {"stopped and interrupted from everywhere", test_pests},
  };
  return run_tests(tests, COUNT(tests));
}
