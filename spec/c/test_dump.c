/* SPDX-License-Identifier: MIT
 *
 * test_dump.c - the task tree from C, asked for at any moment and from anywhere, and
 * what keeps a program that waits from being called stuck.
 */
#include "test.h"

#include <pthread.h>
#include <unistd.h>

/* ---- the text ---------------------------------------------------------------------------- */

/* dump() -> neap_dump, from inside whatever calls it */
static int l_dump(lua_State *L) {
  lua_pushstring(L, neap_dump(neap_of(L)));
  return 1;
}

static void test_text(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  lua_register(f.L, "dump", l_dump);
  CHECK_STR(neap_dump(f.rt), "no event loop\nmain chunk, running\n");
  DO(&f, "lock = neap.Lock():acquire()\n"
         "neap.create_task(lock.acquire, lock):set_name 'waiter'\n"
         "neap.sleep(0)");
  CHECK_HAS(neap_dump(f.rt), "event loop, idle, 1 task\n");
  CHECK_HAS(neap_dump(f.rt), "Task-1 \"waiter\", waiting in 'Lock:acquire' for "
                             "<Lock locked> held by the main chunk, since ");
  DO(&f, "neap.create_task(function() local f = coroutine.wrap(dump)\n"
         "  text = f() end):await()");
  CHECK_HAS(global_text(&f, "text"),
            "main chunk, waiting in 'await' for Task-2");
  CHECK_HAS(global_text(&f, "text"),
            "\nTask-2, running\n  created at test:1\n");
  CHECK_TOP(&f, 0);
  DO(&f, "lock:release()");
  CHECK_INT(neap_run(f.rt), 0);
  neap_shutdown(f.rt);
  CHECK_HAS(neap_dump(f.rt), "no event loop\n");
  fixture_close(&f);
}

static void test_all_loops(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  DO(&f, "one, two = neap.new_event_loop(), neap.new_event_loop()\n"
         "one:create_task(print):set_name 'first'\n"
         "two:create_task(print):set_name 'second'");
  CHECK_HAS(neap_dump(f.rt), "\"first\", not started yet\n");
  CHECK_HAS(neap_dump(f.rt), "\"second\", not started yet\n");
  DO(&f, "one:close()");
  CHECK(strstr(neap_dump(f.rt), "first") == NULL);
  fixture_close(&f);
}

/* Whichever allocation fails, there is a text, and nothing is left behind. */
static void test_no_memory(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  DO(&f, "for i = 1, 5 do neap.create_task(neap.sleep, i) end neap.sleep(0)");
  CHECK_HAS(neap_dump(f.rt), "5 tasks");
  int failures = 0;
  for (size_t n = 1; n < 200; n++) {
    f.memory.calls = 0;
    f.memory.fail_at = n;
    f.memory.fail_to = SIZE_MAX; /* also after an emergency collection */
    const char *text = neap_dump(f.rt);
    f.memory.fail_at = 0;
    if (strcmp(text, "not enough memory\n") == 0) {
      failures++;
    } else {
      CHECK_HAS(text, "5 tasks");
    }
    CHECK_TOP(&f, 0);
  }
  CHECK(failures > 0);
  fixture_close(&f);
}

/* ---- requests ---------------------------------------------------------------------------- */

static int count(const char *text, const char *part) {
  int n = 0;
  for (; (text = strstr(text, part)) != NULL; text++)
    n++;
  return n;
}

static void test_request(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  DO(&f, "task = neap.create_task(neap.sleep, 60) neap.sleep(0)");
  neap_request_dump(f.rt, false);
  neap_request_dump(f.rt, false);
  CHECK_STR(f.log, "");
  neap_step(f.rt, 0);
  CHECK_HAS(f.log, "event loop, running, 1 task, 1 deadline\nTask-1, waiting");
  CHECK_INT(count(f.log, "event loop"), 1); /* two requests, served together */
  neap_step(f.rt, 0);
  CHECK_INT(count(f.log, "event loop"), 1);
  neap_request_dump(f.rt, true);
  DO(&f, "local x = 1");
  CHECK_INT(count(f.log, "event loop"), 2);
  CHECK_HAS(f.log,
            "event loop, idle, 1 task, 1 deadline\nmain chunk, running\n");
  CHECK_INT(f.unhandled, 0);
  DO(&f, "task:cancel()");
  CHECK_INT(neap_run(f.rt), 0);
  fixture_close(&f);
}

static atomic_bool served;

static void log_and_tell(void *ud, const char *text, size_t length) {
  fixture_log(ud, text, length);
  atomic_store(&served, true);
}

/* Asks, and ends the loop when that has come. */
static void on_thread(void *arg) {
  usleep(20000);
  neap_request_dump(arg, false);
  for (int i = 0; i < 20000 && !atomic_load(&served); i++)
    usleep(1000);
  neap_stop(arg);
}

static bool start_served(fixture *f) {
  atomic_store(&served, false);
  fixture_init(f);
  f->config.log = log_and_tell;
  return fixture_open(f);
}

static void test_from_thread(void) {
  fixture f;
  REQUIRE(start_served(&f));
  DO(&f, "neap.create_task(neap.sleep, 60) neap.sleep(0)");
  uv_thread_t thread;
  uv_thread_create(&thread, on_thread, f.rt);
  CHECK_INT(neap_run(f.rt), UV_EINTR); /* the request alone does not end it */
  uv_thread_join(&thread);
  CHECK_HAS(f.log, "Task-1, waiting in 'neap.sleep', since ");
  fixture_close(&f);
}

static void test_from_thread_busy_tasks(void) {
  fixture f;
  REQUIRE(start_served(&f));
  DO(&f, "neap.create_task(function() while true do neap.sleep(0) end end)\n"
         "neap.sleep(0)");
  uv_thread_t thread;
  uv_thread_create(&thread, on_thread, f.rt);
  CHECK_INT(neap_run(f.rt), UV_EINTR);
  uv_thread_join(&thread);
  CHECK_HAS(f.log, "Task-1, ready\n");
  fixture_close(&f);
}

static struct { neap_runtime *rt; } wanted;

static void on_signal(int number) {
  (void)number;
  neap_request_dump(wanted.rt, true);
}

/* raise() -> sends this thread SIGUSR1 */
static int l_raise(lua_State *L) {
  (void)L;
  pthread_kill(pthread_self(), SIGUSR1);
  return 0;
}

static void count_line(lua_State *L, lua_Debug *ar) {
  (void)ar;
  lua_getfield(L, LUA_REGISTRYINDEX, "lines");
  lua_Integer n = lua_tointeger(L, -1) + 1;
  lua_pop(L, 1);
  lua_pushinteger(L, n);
  lua_setfield(L, LUA_REGISTRYINDEX, "lines");
}

static void test_from_signal(void) {
  fixture f;
  struct sigaction action = {.sa_handler = on_signal}, old;
  REQUIRE(fixture_start(&f));
  wanted.rt = f.rt;
  sigemptyset(&action.sa_mask);
  sigaction(SIGUSR1, &action, &old);
  lua_register(f.L, "raise", l_raise);
  DO(&f, "neap.create_task(function()\n"
         "  raise()\n"
         "  coroutine.wrap(function() raise() local x = 1 end)()\n"
         "  neap.sleep(0.001)\n"
         "  done = true\n"
         "end):await()");
  CHECK_STR(global_text(&f, "done"), "true");
  CHECK_INT(count(f.log, "Task-1, running\n"), 2);
  CHECK_HAS(f.log, "in a coroutine, resumed at");
  /* A hook of the program's is back in its place afterwards. */
  f.log[0] = '\0';
  lua_sethook(f.L, count_line, LUA_MASKLINE, 0);
  DO(&f, "raise()\nlocal x = 1\nx = 2\nx = 3\nx = 4\nx = 5");
  CHECK(lua_gethook(f.L) == count_line);
  CHECK_INT(lua_gethookmask(f.L), LUA_MASKLINE);
  lua_sethook(f.L, NULL, 0, 0);
  lua_getfield(f.L, LUA_REGISTRYINDEX, "lines");
  CHECK(lua_tointeger(f.L, -1) >= 5);
  lua_pop(f.L, 1);
  CHECK_HAS(f.log, "main chunk, running\n");
  sigaction(SIGUSR1, &old, NULL);
  fixture_close(&f);
}

/* In a hook that an interrupt and a request share, both are served. */
static void test_with_interrupt(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  DO(&f, "neap.sleep(0)");
  neap_request_dump(f.rt, true);
  neap_interrupt(f.rt, SIGINT, true);
  DO_FAIL(&f, "while true do end", "KeyboardInterrupt");
  CHECK_INT(count(f.log, "event loop"), 1);
  fixture_close(&f);
}

/* ---- a lent loop -------------------------------------------------------------------------- */

typedef struct lender {
  uv_loop_t loop;
  uv_timer_t timer;
  fixture *f;
} lender;

static void on_wake(uv_timer_t *timer) {
  lender *l = timer->data;
  /* Where a loop runs, the root cannot be called; waking needs no root. */
  CHECK_INT(luaL_dostring(l->f->L, "event:set()"), LUA_OK);
  uv_close((uv_handle_t *)timer, NULL);
}

static void lender_start(lender *l, fixture *f) {
  memset(l, 0, sizeof *l);
  l->f = f;
  CHECK_INT(uv_loop_init(&l->loop), 0);
  uv_timer_init(&l->loop, &l->timer);
  l->timer.data = l;
  fixture_init(f);
  f->config.loop = &l->loop;
}

static void lender_end(lender *l) {
  fixture_close(l->f);
  uv_run(&l->loop, UV_RUN_DEFAULT);
  CHECK_INT(uv_loop_close(&l->loop), 0);
}

static void test_lent_request(void) {
  fixture f;
  lender l;
  lender_start(&l, &f);
  REQUIRE(fixture_open(&f));
  DO(&f, "event = neap.Event()\n"
         "neap.create_task(event.wait, event) neap.sleep(0)");
  uv_timer_start(&l.timer, on_wake, 100, 0);
  neap_request_dump(f.rt, false);
  uv_run(&l.loop, UV_RUN_DEFAULT); /* the embedder's own */
  CHECK_HAS(f.log, "waiting in 'Event:wait' for <Event unset>, since ");
  CHECK_INT(count(f.log, "event loop"), 1);
  lender_end(&l);
}

/* The embedder's handle can still wake somebody, so nothing is stuck; without it the
 * same wait is. */
static void test_lent_no_alarm(void) {
  fixture f;
  lender l;
  lender_start(&l, &f);
  REQUIRE(fixture_open(&f));
  DO(&f, "event = neap.Event()");
  DO_FAIL(&f, "event:wait()", "nothing can wake the main chunk");
  DO(&f, "task = neap.create_task(event.wait, event)");
  uv_timer_start(&l.timer, on_wake, 5, 0);
  CHECK_INT(neap_run(f.rt), 0);
  DO(&f, "assert(task:result() == true)");
  CHECK_INT(f.unhandled, 0);
  lender_end(&l);
}

/* ---- threads ------------------------------------------------------------------------------ */

static void slow_run(neap_work *work) {
  (void)work;
  usleep(10000);
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

static void test_offload_no_alarm(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  lua_register(f.L, "slow", l_slow);
  DO(&f, "local event = neap.Event()\n"
         "neap.create_task(function() slow() event:set() end)\n"
         "assert(event:wait() == true)");
  DO_FAIL(&f, "slow() neap.Event():wait()", "DeadlockError");
  fixture_close(&f);
}

typedef struct armed {
  neap_wait wait;
  uv_thread_t thread;
} armed;

static neap_aborted armed_abort(neap_wait *wait) {
  (void)wait;
  return NEAP_ABORT_PENDING;
}

static int armed_finish(lua_State *L, neap_wait *wait) {
  armed *a = CONTAINER_OF(wait, armed, wait);
  int status = wait->status;
  uv_thread_join(&a->thread);
  free(a);
  if (L == NULL) return 0;
  return status < 0 ? neap_fail(L, status, "armed") : 0;
}

static void on_armed(void *arg) {
  armed *a = arg;
  usleep(10000);
  neap_wake_threadsafe(&a->wait, 0);
}

static int l_armed(lua_State *L) {
  neap_check_park(L, "armed");
  armed *a = calloc(1, sizeof *a);
  a->wait.abort = armed_abort;
  a->wait.finish = armed_finish;
  a->wait.name = "armed";
  neap_arm_threadsafe(neap_of(L), &a->wait);
  uv_thread_create(&a->thread, on_armed, a);
  return neap_park(L, &a->wait);
}

static void test_thread_no_alarm(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  lua_register(f.L, "armed", l_armed);
  DO(&f, "local lock = neap.Lock():acquire()\n"
         "neap.create_task(function() armed() lock:release() end)\n"
         "lock:acquire()\n" /* held by itself, and yet no deadlock */
         "armed()");
  CHECK_INT(f.unhandled, 0);
  fixture_close(&f);
}

/* ---- neap_run ----------------------------------------------------------------------------- */

static void test_run_reports(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  DO(&f, "a, b = neap.Lock(), neap.Lock()\n"
         "local function both(x, y) x:acquire() neap.sleep(0) y:acquire() end\n"
         "neap.create_task(both, a, b) neap.create_task(both, b, a)");
  CHECK_INT(neap_run(f.rt), NEAP_EDEADLK);
  CHECK_HAS(f.reports, "Task-1 waits in 'Lock:acquire' at test:2 for <Lock "
                       "locked> held by Task-2 (created at test:3)\n");
  CHECK_HAS(f.reports,
            "a cycle: Task-1 waits for <Lock locked> held by Task-2, "
            "Task-2 waits for <Lock locked> held by Task-1");
  DO(&f, "b:release()"); /* and it can go on */
  CHECK_INT(neap_run(f.rt), NEAP_EDEADLK);
  DO(&f, "a:release()");
  CHECK_INT(neap_run(f.rt), 0);
  fixture_close(&f);
}

int main(void) {
  static const test_case tests[] = {
      {"the tree as text", test_text},
      {"the trees of all loops", test_all_loops},
      {"when memory is short", test_no_memory},
      {"a request is served by the next turn", test_request},
      {"requested from a thread while the loop waits", test_from_thread},
      {"requested from a thread while tasks run", test_from_thread_busy_tasks},
      {"requested from a signal handler", test_from_signal},
      {"a request and an interrupt at once", test_with_interrupt},
      {"requested on a lent loop", test_lent_request},
      {"no alarm while the lent loop has a handle", test_lent_no_alarm},
      {"no alarm while the pool works", test_offload_no_alarm},
      {"no alarm while a thread has a wait", test_thread_no_alarm},
      {"neap_run names a cycle", test_run_reports},
  };
  return run_tests(tests, COUNT(tests));
}
