/* SPDX-License-Identifier: MIT
 *
 * test_lent.c - a runtime on a loop, in a Lua state, that the embedder lends.
 */
#include "test.h"

/* A loop with a repeating timer and an idle-less check of its own on it. */
typedef struct host {
  uv_loop_t loop;
  uv_timer_t timer;
  int ticks, limit; /* the timer closes itself at `limit`; 0: never */
} host;

static void on_tick(uv_timer_t *timer) {
  host *h = timer->data;
  if (++h->ticks == h->limit) uv_close((uv_handle_t *)timer, NULL);
}

static void host_init(host *h, int limit) {
  memset(h, 0, sizeof *h);
  h->limit = limit;
  CHECK_INT(uv_loop_init(&h->loop), 0);
  uv_timer_init(&h->loop, &h->timer);
  h->timer.data = h;
  uv_timer_start(&h->timer, on_tick, 2, 2);
}

static void on_any(uv_handle_t *handle, void *arg) {
  (void)handle;
  ++*(int *)arg;
}

static int count_handles(host *h) {
  int n = 0;
  uv_walk(&h->loop, on_any, &n);
  return n;
}

/* The loop is as it was lent: only the timer is on it, and it goes on. */
static void host_check(host *h) {
  CHECK_INT(count_handles(h), 1);
  CHECK(uv_is_active((uv_handle_t *)&h->timer));
  CHECK(!uv_is_closing((uv_handle_t *)&h->timer));
  int before = h->ticks;
  uv_run(&h->loop, UV_RUN_ONCE);
  uv_run(&h->loop, UV_RUN_ONCE);
  CHECK(h->ticks > before);
}

static void host_deinit(host *h) {
  if (h->limit == 0 && !uv_is_closing((uv_handle_t *)&h->timer))
    uv_close((uv_handle_t *)&h->timer, NULL);
  uv_run(&h->loop, UV_RUN_DEFAULT);
  CHECK_INT(uv_loop_close(&h->loop), 0);
}

static bool lent_start(fixture *f, host *h, int limit) {
  host_init(h, limit);
  fixture_init(f);
  f->config.loop = &h->loop;
  return fixture_open(f);
}

/* ---- the loop --------------------------------------------------------------------------- */

static void test_left_as_found(void) {
  fixture f;
  host h;
  REQUIRE(lent_start(&f, &h, 0));
  CHECK(neap_loop(f.rt) == &h.loop);
  DO(&f, "neap.sleep(0.001) neap.create_task(neap.sleep, 60)\n"
         "neap.create_task(neap.sleep, 0) neap.get_event_loop()\n"
         "  :call_later(60, print)");
  neap_step(f.rt, 0);
  fixture_close(&f);
  host_check(&h);
  host_deinit(&h);
}

static void test_foreign_run(void) {
  fixture f;
  host h;
  REQUIRE(lent_start(&f, &h, 5));
  DO(&f, "n = 0 for i = 1, 10 do neap.create_task(function()\n"
         "  neap.sleep(i / 1000) n = n + 1 neap.sleep(0) n = n + 1\n"
         "end) end");
  /* The embedder's own uv_run does our turns, and ends when all is done. */
  uv_run(&h.loop, UV_RUN_DEFAULT);
  CHECK_INT(h.ticks, 5);
  CHECK_INT(global_int(&f, "n"), 20);
  /* Once more: nothing of ours is left that keeps it alive. */
  uv_run(&h.loop, UV_RUN_DEFAULT);
  fixture_close(&f);
  host_deinit(&h);
}

static void on_late(uv_timer_t *timer) {
  fixture *f = timer->data;
  uv_close((uv_handle_t *)timer, NULL);
  push_function(f, "function() neap.sleep(0.005) late = true end");
  neap_task *task = neap_spawn(f->rt, f->L, 0, NULL, NULL);
  CHECK(task != NULL);
  if (task != NULL) neap_release(task);
}

static void test_spawn_in_callback(void) {
  fixture f;
  host h;
  uv_timer_t timer;
  REQUIRE(lent_start(&f, &h, 3));
  uv_timer_init(&h.loop, &timer);
  timer.data = &f;
  uv_timer_start(&timer, on_late, 3, 0);
  uv_run(&h.loop, UV_RUN_DEFAULT);
  CHECK_STR(global_text(&f, "late"), "true");
  fixture_close(&f);
  host_deinit(&h);
}

static void test_idle_sleeps(void) {
  fixture f;
  host h;
  REQUIRE(lent_start(&f, &h, 1));
  DO(&f, "neap.create_task(neap.sleep, 0.1)");
  uv_run(&h.loop, UV_RUN_NOWAIT);
  /* Waiting must not spin: few iterations until the deadline. */
  int iterations = 0;
  while (uv_run(&h.loop, UV_RUN_ONCE))
    iterations++;
  CHECK(iterations < 20);
  fixture_close(&f);
  host_deinit(&h);
}

static void on_turn(uv_prepare_t *prepare) {
  ++*(int *)prepare->data;
}

static void test_own_run(void) {
  fixture f;
  host h;
  REQUIRE(lent_start(&f, &h, 5));
  push_function(&f, "function() for i = 1, 3 do neap.sleep(0.001) end\n"
                    "done = true end");
  neap_task *task = neap_spawn(f.rt, f.L, 0, NULL, NULL);
  int turns = 0;
  uv_prepare_t prepare;
  uv_prepare_init(&h.loop, &prepare);
  uv_unref((uv_handle_t *)&prepare);
  prepare.data = &turns;
  uv_prepare_start(&prepare, on_turn);
  CHECK_INT(neap_run(f.rt), 0); /* until the foreign timer is through, too */
  CHECK(turns < 100);           /* it does not spin */
  uv_close((uv_handle_t *)&prepare, NULL);
  CHECK_INT(h.ticks, 5);
  CHECK_STR(global_text(&f, "done"), "true");
  neap_release(task);
  DO(&f, "neap.sleep(0.002)");
  /* And the two ways in turn. */
  DO(&f, "neap.create_task(function() neap.sleep(0.002) again = 1 end)");
  uv_run(&h.loop, UV_RUN_DEFAULT);
  CHECK_INT(global_int(&f, "again"), 1);
  DO(&f, "neap.create_task(function() neap.sleep(0.002) again = 2 end)");
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_INT(global_int(&f, "again"), 2);
  fixture_close(&f);
  host_deinit(&h);
}

static void test_step(void) {
  fixture f;
  host h;
  REQUIRE(lent_start(&f, &h, 0));
  DO(&f, "neap.create_task(function() neap.sleep(0.01) done = true end)");
  int steps = 0;
  while (neap_step(f.rt, 1) > 0 && ++steps < 1000) {
  }
  CHECK(steps < 100);
  CHECK(h.ticks > 0);
  CHECK_STR(global_text(&f, "done"), "true");
  fixture_close(&f);
  host_check(&h);
  host_deinit(&h);
}

static void test_cancel_from_callback(void) {
  fixture f;
  host h;
  REQUIRE(lent_start(&f, &h, 2));
  push_function(&f, "function() neap.sleep(60) end");
  neap_task *task = neap_spawn(f.rt, f.L, 0, NULL, NULL);
  uv_run(&h.loop, UV_RUN_NOWAIT);
  CHECK(neap_cancel(task, NULL));
  uv_run(&h.loop, UV_RUN_DEFAULT);
  CHECK(neap_is_done(task));
  neap_release(task);
  fixture_close(&f);
  host_deinit(&h);
}

static void test_deadlock(void) {
  fixture f;
  host h;
  REQUIRE(lent_start(&f, &h, 1));
  DO(&f, "task = neap.create_task(function() neap.Event():wait() end)");
  uv_run(&h.loop, UV_RUN_DEFAULT); /* a stuck task keeps no loop alive */
  CHECK_INT(neap_run(f.rt), NEAP_EDEADLK);
  CHECK_INT(neap_shutdown(f.rt), 0);
  fixture_close(&f);
  host_deinit(&h);
}

static void test_second_loop(void) {
  fixture f;
  host h;
  REQUIRE(lent_start(&f, &h, 0));
  /* neap.run makes a loop of its own beside the lent one. */
  DO(&f, "assert(neap.run(function() neap.sleep(0.001) return 4 end) == 4)\n"
         "neap.sleep(0.001)");
  CHECK(neap_loop(f.rt) == &h.loop);
  fixture_close(&f);
  host_check(&h);
  host_deinit(&h);
}

static void slow_run(neap_work *work) {
  (void)work;
  uv_sleep(30);
}

static int slow_finish(lua_State *L, neap_work *work, int status) {
  free(work);
  if (L == NULL) return 0;
  return status < 0 ? neap_fail(L, status, "slow") : 0;
}

static int l_slow(lua_State *L) {
  neap_check_park(L, "slow");
  neap_work *work = calloc(1, sizeof *work);
  work->run = slow_run;
  work->finish = slow_finish;
  return neap_offload(L, work, "slow");
}

static void test_work_in_flight(void) {
  fixture f;
  host h;
  host_init(&h, 0);
  fixture_init(&f);
  f.config.loop = &h.loop;
  f.config.grace = 0.001;
  REQUIRE(fixture_open(&f));
  lua_register(f.L, "slow", l_slow);
  DO(&f, "slow() neap.create_task(slow) neap.sleep(0.005)");
  fixture_close(&f);
  host_check(&h);
  host_deinit(&h);
}

static void test_two_on_one(void) {
  fixture a, b;
  host h;
  REQUIRE(lent_start(&a, &h, 3));
  fixture_init(&b);
  b.config.loop = &h.loop;
  REQUIRE(fixture_open(&b));
  static const char code[] =
      "n = 0 for i = 1, 5 do neap.create_task(function()\n"
      "  neap.sleep(i / 1000) n = n + 1 end) end";
  DO(&a, code);
  DO(&b, code);
  uv_run(&h.loop, UV_RUN_DEFAULT);
  CHECK_INT(global_int(&a, "n"), 5);
  CHECK_INT(global_int(&b, "n"), 5);
  DO(&b, code);
  DO(&a, code);
  CHECK_INT(neap_run(a.rt), 0); /* drives the loop, so both of them */
  CHECK_INT(global_int(&a, "n"), 5);
  CHECK_INT(global_int(&b, "n"), 5);
  fixture_close(&a);
  DO(&b, code);
  uv_run(&h.loop, UV_RUN_DEFAULT);
  CHECK_INT(global_int(&b, "n"), 5);
  fixture_close(&b);
  host_deinit(&h);
}

/* ---- the Lua state ------------------------------------------------------------------------ */

static void test_state(void) {
  fixture f;
  fixture_init(&f);
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  lua_pushliteral(L, "below");
  f.config.L = L;
  REQUIRE(fixture_open(&f));
  CHECK(f.L == L);
  CHECK_TOP(&f, 1);
  DO(&f, "neap.gather(function() neap.sleep(0.001) done = true end)");
  CHECK_STR(global_text(&f, "done"), "true");
  int error = 0;
  CHECK(neap_new(&f.config, &error) == NULL); /* one at a time */
  CHECK_INT(error, UV_EINVAL);
  fixture_close(&f);
  /* The state lives on: plain code works, waiting says why it does not. */
  CHECK_INT(luaL_dostring(L, "assert(coroutine.wrap(function()\n"
                             "  coroutine.yield(3) end)() == 3)\n"
                             "assert(pcall(error) == false)\n"
                             "local ok, e = pcall(neap.sleep, 1)\n"
                             "assert(not ok and e:find 'shut down', e)\n"
                             "assert(not pcall(neap.get_event_loop))\n"
                             "collectgarbage()"),
            LUA_OK);
  CHECK_STR(lua_tostring(L, 1), "below");
  lua_close(L);
}

static void test_state_without_libs(void) {
  fixture f;
  fixture_init(&f);
  lua_State *L = luaL_newstate();
  f.config.L = L;
  f.rt = neap_new(&f.config, NULL);
  REQUIRE(f.rt != NULL);
  f.L = L;
  CHECK_STR(global_text(&f, "pcall"), "nil");
  luaL_requiref(L, "neap", luaopen_neap, 1);
  lua_pop(L, 1);
  DO(&f, "neap.sleep(0.001) done = true");
  CHECK_STR(global_text(&f, "done"), "true");
  fixture_close(&f);
  lua_close(L);
}

static void test_state_of_coroutine(void) {
  lua_State *L = luaL_newstate();
  neap_config config = {.size = sizeof config, .L = lua_newthread(L)};
  int error = 0;
  CHECK(neap_new(&config, &error) == NULL);
  CHECK_INT(error, UV_EINVAL);
  CHECK(neap_of(L) == NULL);
  lua_close(L);
}

static void test_required(void) {
  /* What stock lua5.4 does: require, and lua_close ends it. */
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  luaL_requiref(L, "neap", luaopen_neap, 1);
  CHECK_INT(luaL_dostring(L, "local neap = require 'neap'\n"
                             "neap.sleep(0.001)\n"
                             "neap.create_task(neap.sleep, 60)\n"
                             "closed = setmetatable({}, {__gc = function()\n"
                             "end})"),
            LUA_OK);
  CHECK(neap_of(L) != NULL);
  lua_close(L);
}

static void test_both(void) {
  fixture f;
  host h;
  host_init(&h, 0);
  fixture_init(&f);
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  f.config.L = L;
  f.config.loop = &h.loop;
  REQUIRE(fixture_open(&f));
  DO(&f, "neap.create_task(function() neap.sleep(0.003) done = true end)");
  while (strcmp(global_text(&f, "done"), "true") != 0)
    uv_run(&h.loop, UV_RUN_ONCE);
  fixture_close(&f);
  host_check(&h);
  host_deinit(&h);
  lua_close(L);
}

int main(void) {
  static const test_case tests[] = {
      {"a lent loop is left as it was found", test_left_as_found},
      {"the embedder's uv_run does our turns", test_foreign_run},
      {"tasks started in the embedder's callbacks", test_spawn_in_callback},
      {"a lent loop does not spin", test_idle_sleeps},
      {"neap_run and uv_run in turn", test_own_run},
      {"neap_step on a lent loop", test_step},
      {"tasks cancelled between two runs", test_cancel_from_callback},
      {"a deadlock keeps no lent loop alive", test_deadlock},
      {"further loops beside the lent one", test_second_loop},
      {"work in flight at the end", test_work_in_flight},
      {"two runtimes on one loop", test_two_on_one},
      {"a lent state lives on", test_state},
      {"a lent state without libraries", test_state_without_libs},
      {"a coroutine cannot be lent", test_state_of_coroutine},
      {"required in a stock state", test_required},
      {"loop and state lent together", test_both},
  };
  return run_tests(tests, COUNT(tests));
}
