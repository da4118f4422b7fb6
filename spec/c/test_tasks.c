/* SPDX-License-Identifier: MIT
 *
 * test_tasks.c - tasks that C starts, looks at, cancels and waits for.
 */
#include "test.h"

/* What a done-callback was told. */
typedef struct seen {
  int calls;
  neap_task *task;
  neap_outcome outcome;
  int nresults, top;
  char text[256];
} seen;

static void on_end(neap_task *task, lua_State *L, neap_outcome outcome,
                   int nresults, void *ud) {
  seen *s = ud;
  s->calls++;
  s->task = task;
  s->outcome = outcome;
  s->nresults = nresults;
  s->top = lua_gettop(L);
  s->text[0] = '\0';
  for (int i = nresults; i > 0; i--) {
    size_t n;
    const char *text = luaL_tolstring(L, -i, &n);
    append_text(s->text, sizeof s->text, text, n);
    append_text(s->text, sizeof s->text, ";", 1);
    lua_pop(L, 1);
  }
  lua_pushliteral(L, "left behind");
}

static void test_returned(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  seen s = {0};
  lua_pushliteral(f.L, "below");
  push_function(&f, "function(...) began = true neap.sleep(0.001)\n"
                    "return ... end");
  lua_pushinteger(f.L, 1);
  lua_pushnil(f.L);
  lua_pushliteral(f.L, "three");
  neap_task *task = neap_spawn(f.rt, f.L, 3, on_end, &s);
  REQUIRE(task != NULL);
  CHECK_TOP(&f, 1);
  CHECK(!neap_is_done(task));
  CHECK_STR(global_text(&f, "began"), "nil");
  CHECK_INT(neap_run(f.rt), 0);
  CHECK(neap_is_done(task));
  CHECK_INT(s.calls, 1);
  CHECK(s.task == task);
  CHECK_INT(s.outcome, NEAP_RETURNED);
  CHECK_INT(s.nresults, 3);
  CHECK_STR(s.text, "1;nil;three;");
  neap_release(task);
  CHECK_TOP(&f, 1);
  lua_settop(f.L, 0);
  fixture_close(&f);
}

static void test_result_counts(void) {
  static const struct {
    const char *code, *text;
    int n;
  } cases[] = {{"function() end", "", 0},
               {"function() return nil end", "nil;", 1},
               {"function() return 5 end", "5;", 1},
               {"function() return nil, nil end", "nil;nil;", 2}};
  fixture f;
  REQUIRE(fixture_start(&f));
  for (size_t i = 0; i < COUNT(cases); i++) {
    seen s = {0};
    push_function(&f, cases[i].code);
    neap_task *task = neap_spawn(f.rt, f.L, 0, on_end, &s);
    REQUIRE(task != NULL);
    CHECK_INT(neap_run(f.rt), 0);
    CHECK_INT(s.outcome, NEAP_RETURNED);
    CHECK_INT(s.nresults, cases[i].n);
    CHECK_STR(s.text, cases[i].text);
    neap_release(task);
  }
  fixture_close(&f);
}

static void test_raised(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  seen s = {0};
  push_function(&f, "function() neap.sleep(0) error('bad', 0) end");
  neap_task *task = neap_spawn(f.rt, f.L, 0, on_end, &s);
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_INT(s.outcome, NEAP_RAISED);
  CHECK_INT(s.nresults, 1);
  CHECK_STR(s.text, "bad;");
  neap_release(task);
  /* The callback counts as the one who looked. */
  neap_shutdown(f.rt);
  CHECK_INT(f.unhandled, 0);
  fixture_close(&f);
}

static void test_raised_unseen(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  push_function(&f, "function() error('bad', 0) end");
  neap_task *task = neap_spawn(f.rt, f.L, 0, NULL, NULL);
  CHECK_INT(neap_run(f.rt), 0);
  CHECK(neap_is_done(task));
  lua_gc(f.L, LUA_GCCOLLECT);
  CHECK_INT(f.unhandled, 0); /* C may still look at it */
  neap_release(task);
  lua_gc(f.L, LUA_GCCOLLECT);
  lua_gc(f.L, LUA_GCCOLLECT);
  CHECK_INT(f.unhandled, 1);
  CHECK_HAS(f.reports, "bad");
  fixture_close(&f);
}

static void test_cancel(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  seen s = {0};
  push_function(&f, "function() neap.sleep(60) end");
  neap_task *task = neap_spawn(f.rt, f.L, 0, on_end, &s);
  neap_step(f.rt, 0);
  CHECK(neap_cancel(task, NULL));
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_INT(s.outcome, NEAP_CANCELLED);
  CHECK_STR(s.text, "CancelledError;");
  CHECK(!neap_cancel(task, NULL));
  neap_release(task);

  push_function(&f, "function() local _, e = pcall(neap.sleep, 60)\n"
                    "message = e.message error(e) end");
  task = neap_spawn(f.rt, f.L, 0, on_end, &s);
  neap_step(f.rt, 0);
  CHECK(neap_cancel(task, "the user left"));
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_STR(global_text(&f, "message"), "the user left");
  CHECK_STR(s.text, "CancelledError: the user left;");
  neap_release(task);
  CHECK_INT(f.unhandled, 0);
  fixture_close(&f);
}

static void test_cancel_before_start(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  seen s = {0};
  push_function(&f, "function() ran = true end");
  neap_task *task = neap_spawn(f.rt, f.L, 0, on_end, &s);
  CHECK(neap_cancel(task, "too early"));
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_INT(s.outcome, NEAP_CANCELLED);
  CHECK_STR(s.text, "CancelledError: too early;");
  CHECK_STR(global_text(&f, "ran"), "nil");
  neap_release(task);
  fixture_close(&f);
}

static void test_cancel_refused(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  seen s = {0};
  push_function(&f, "function() pcall(neap.sleep, 60)\n"
                    "neap.current_task():uncancel() return 'went on' end");
  neap_task *task = neap_spawn(f.rt, f.L, 0, on_end, &s);
  neap_step(f.rt, 0);
  CHECK(neap_cancel(task, NULL));
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_INT(s.outcome, NEAP_RETURNED);
  CHECK_STR(s.text, "went on;");
  neap_release(task);
  fixture_close(&f);
}

static void test_release_early(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  seen s = {0};
  push_function(&f, "function() neap.sleep(0.001) return 'still here' end");
  neap_task *task = neap_spawn(f.rt, f.L, 0, on_end, &s);
  neap_release(task);
  lua_gc(f.L, LUA_GCCOLLECT);
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_STR(s.text, "still here;");
  fixture_close(&f);
}

static void test_kept(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  push_function(&f, "function() return 'a', 'b' end");
  neap_task *task = neap_spawn(f.rt, f.L, 0, NULL, NULL);
  CHECK_INT(neap_run(f.rt), 0);
  lua_gc(f.L, LUA_GCCOLLECT);
  CHECK(neap_is_done(task));
  neap_push_task(f.L, task);
  lua_setglobal(f.L, "task");
  DO(&f, "a, b = task:result() name = task:get_name()");
  CHECK_STR(global_text(&f, "b"), "b");
  CHECK_HAS(global_text(&f, "name"), "Task-");
  DO(&f, "task = nil");
  neap_release(task);
  /* A reference may outlive the loop. */
  push_function(&f, "function() neap.sleep(60) end");
  task = neap_spawn(f.rt, f.L, 0, NULL, NULL);
  neap_shutdown(f.rt);
  CHECK(neap_is_done(task));
  CHECK(!neap_cancel(task, "x"));
  neap_push_task(f.L, task);
  lua_setglobal(f.L, "task");
  DO(&f, "assert(task:cancelled())");
  neap_release(task);
  fixture_close(&f);
}

static void test_bad_values(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  lua_pushinteger(f.L, 1);
  lua_pushinteger(f.L, 42); /* not a function */
  lua_pushinteger(f.L, 43);
  CHECK(neap_spawn(f.rt, f.L, 1, NULL, NULL) == NULL);
  CHECK_TOP(&f, 1);
  DO(&f, "a_task = neap.create_task(function() end)");
  lua_getglobal(f.L, "a_task");
  CHECK(neap_spawn(f.rt, f.L, 0, NULL, NULL) == NULL);
  CHECK_TOP(&f, 1);
  /* A coroutine that has not started is as good as a function. */
  push_function(&f, "coroutine.create(function(x) neap.sleep(0) got = x end)");
  lua_pushinteger(f.L, 5);
  neap_task *task = neap_spawn(f.rt, f.L, 1, NULL, NULL);
  CHECK(task != NULL);
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_INT(global_int(&f, "got"), 5);
  neap_release(task);
  lua_settop(f.L, 0);
  fixture_close(&f);
}

static void on_end_raises(neap_task *task, lua_State *L, neap_outcome outcome,
                          int nresults, void *ud) {
  (void)task;
  (void)outcome;
  (void)nresults;
  (void)ud;
  luaL_error(L, "raised by C");
}

static void test_done_raises(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  push_function(&f, "function() end");
  neap_task *task = neap_spawn(f.rt, f.L, 0, on_end_raises, NULL);
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_INT(f.unhandled, 1);
  CHECK_HAS(f.reports, "raised by C");
  neap_release(task);
  fixture_close(&f);
}

/* Each end starts the next one. */
static void on_end_again(neap_task *task, lua_State *L, neap_outcome outcome,
                         int nresults, void *ud) {
  int *left = ud;
  (void)outcome;
  (void)nresults;
  neap_release(task);
  if (--*left == 0) return;
  lua_getglobal(L, "work");
  neap_spawn(neap_of(L), L, 0, on_end_again, ud);
}

static void test_done_spawns(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  DO(&f, "n = 0 function work() neap.sleep(0) n = n + 1 end");
  int left = 100;
  lua_getglobal(f.L, "work");
  neap_spawn(f.rt, f.L, 0, on_end_again, &left);
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_INT(left, 0);
  CHECK_INT(global_int(&f, "n"), 100);
  fixture_close(&f);
}

static int l_spawn_here(lua_State *L) {
  int n = lua_gettop(L) - 1;
  neap_task *task = neap_spawn(neap_of(L), L, n, NULL, NULL);
  lua_pushboolean(L, task != NULL);
  if (task != NULL) neap_release(task);
  return 1;
}

static void test_spawn_inside(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  lua_register(f.L, "spawn", l_spawn_here);
  DO(&f, "neap.gather(function()\n"
         "  assert(spawn(function(x) neap.sleep(0) a = x end, 1))\n"
         "  coroutine.wrap(function()\n"
         "    assert(spawn(function(x) b = x end, 2))\n"
         "  end)()\n"
         "  neap.sleep(0.001)\n"
         "end)");
  CHECK_INT(global_int(&f, "a"), 1);
  CHECK_INT(global_int(&f, "b"), 2);
  fixture_close(&f);
}

/* ---- cancelling while the task runs ------------------------------------------------------ */

static neap_task *victim;

static int l_cancel_victim(lua_State *L) {
  lua_pushboolean(L, neap_cancel(victim, "by itself"));
  return 1;
}

static void test_cancel_running(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  lua_register(f.L, "cancel", l_cancel_victim);
  seen s = {0};
  push_function(&f, "function() assert(cancel()) before = true\n"
                    "neap.sleep(0) after = true end");
  victim = neap_spawn(f.rt, f.L, 0, on_end, &s);
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_STR(global_text(&f, "before"), "true");
  CHECK_STR(global_text(&f, "after"), "nil");
  CHECK_STR(s.text, "CancelledError: by itself;");
  neap_release(victim);
  fixture_close(&f);
}

/* ---- neap_wait_task ------------------------------------------------------------------------ */

static int l_wait(lua_State *L) {
  return neap_wait_task(L, 1);
}

static int l_wait_last(lua_State *L) {
  return neap_wait_task(L, -1);
}

static void test_wait_task(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  lua_register(f.L, "wait", l_wait);
  lua_register(f.L, "wait_last", l_wait_last);
  DO(&f, "local function work(...) neap.sleep(0.001) return ... end\n"
         "local a, b = wait(neap.create_task(work, 1, 2))\n"
         "assert(a == 1 and b == 2)\n" /* at the root */
         "assert(select('#', wait(neap.create_task(work))) == 0)\n"
         "neap.gather(function()\n"
         "  local a, b, c = wait_last('x', 'y', neap.create_task(work, 3, 4))\n"
         "  assert(a == 3 and b == 4 and c == nil)\n"
         "  local t = neap.create_task(function() error('mine', 0) end)\n"
         "  local ok, e = pcall(wait, t)\n"
         "  assert(not ok and e == 'mine')\n"
         "  assert(not pcall(wait, t))\n" /* once more, done */
         "  local f = neap.Future()\n"
         "  neap.get_event_loop():call_later(0.001, f.set_result, f, 9)\n"
         "  assert(wait(f) == 9 and wait(f) == 9)\n"
         "end)\n"
         "local ok, e = pcall(wait, 42)\n"
         "assert(not ok and e:find 'Task or Future')");
  fixture_close(&f);
}

static void test_wait_task_cancelled(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  lua_register(f.L, "wait", l_wait);
  DO(&f, "local inner = neap.create_task(neap.sleep, 60)\n"
         "local outer = neap.create_task(wait, inner)\n"
         "neap.sleep(0) outer:cancel()\n"
         "local ok, e = pcall(outer.await, outer)\n"
         "assert(neap.CancelledError:is(e))\n"
         "assert(inner:cancelled() and outer:cancelled())");
  fixture_close(&f);
}

static void test_many(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  enum { N = 2000 };
  static neap_task *tasks[N];
  DO(&f, "n = 0 function work(i) neap.sleep(i % 7 / 1000) n = n + 1 end");
  for (int i = 0; i < N; i++) {
    lua_getglobal(f.L, "work");
    lua_pushinteger(f.L, i);
    tasks[i] = neap_spawn(f.rt, f.L, 1, NULL, NULL);
    REQUIRE(tasks[i] != NULL);
  }
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_INT(global_int(&f, "n"), N);
  for (int i = 0; i < N; i++) {
    CHECK(neap_is_done(tasks[i]));
    neap_release(tasks[i]);
  }
  fixture_close(&f);
}

int main(void) {
  static const test_case tests[] = {
      {"done gets the results", test_returned},
      {"done gets any number of results", test_result_counts},
      {"done gets the error, and has seen it", test_raised},
      {"an error nobody saw is reported after release", test_raised_unseen},
      {"neap_cancel, with and without a message", test_cancel},
      {"a task cancelled before it starts never runs",
       test_cancel_before_start},
      {"a task may refuse to be cancelled", test_cancel_refused},
      {"a released task goes on", test_release_early},
      {"a reference keeps the task and its results", test_kept},
      {"only functions and new coroutines become tasks", test_bad_values},
      {"an error in done is reported", test_done_raises},
      {"done may start further tasks", test_done_spawns},
      {"neap_spawn works from any Lua thread", test_spawn_inside},
      {"a running task may be cancelled", test_cancel_running},
      {"neap_wait_task gives results and errors", test_wait_task},
      {"cancelling passes through neap_wait_task", test_wait_task_cancelled},
      {"thousands of tasks", test_many},
  };
  return run_tests(tests, COUNT(tests));
}
