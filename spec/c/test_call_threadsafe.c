/* SPDX-License-Identifier: MIT
 *
 * test_call_threadsafe.c - neap_call_threadsafe: calls from other threads are made once,
 * in order, in the runtime's thread, whoever runs its loop, and at its end at last.
 */
#include "test.h"

#include <poll.h>

enum { THREADS = 4, EACH = 25000 };

typedef struct sender sender;

typedef struct note {
  sender *from;
  int number;
} note;

/* A thread that posts `n` calls, or until it is refused. */
struct sender {
  neap_runtime *rt;
  uv_thread_t thread, home;
  note *notes;
  int n;
  int accepted;
  int made; /* in the runtime's thread */
  int wrong;
  int status; /* of the call that was refused */
};

static int l_note(lua_State *L) {
  const note *n = lua_touserdata(L, 1);
  sender *s = n->from;
  uv_thread_t self = uv_thread_self();
  if (lua_gettop(L) != 1 || !uv_thread_equal(&self, &s->home) ||
      n->number != s->made)
    s->wrong++;
  s->made++;
  return 0;
}

static void on_sender(void *arg) {
  sender *s = arg;
  for (int i = 0; i < s->n && s->status == 0; i++) {
    s->notes[i] = (note){s, i};
    s->status = neap_call_threadsafe(s->rt, l_note, &s->notes[i]);
    if (s->status == 0) s->accepted++;
  }
}

static void senders_start(sender *list, neap_runtime *rt, int n) {
  for (int i = 0; i < THREADS; i++) {
    list[i] = (sender){.rt = rt, .n = n, .home = uv_thread_self()};
    list[i].notes = calloc((size_t)n, sizeof *list[i].notes);
    CHECK(list[i].notes != NULL);
    CHECK_INT(uv_thread_create(&list[i].thread, on_sender, &list[i]), 0);
  }
}

static int senders_made(const sender *list) {
  int made = 0;
  for (int i = 0; i < THREADS; i++)
    made += list[i].made;
  return made;
}

static void senders_join(sender *list) {
  for (int i = 0; i < THREADS; i++)
    uv_thread_join(&list[i].thread);
}

/* After the runtime is gone, or has made all. */
static void senders_check(sender *list) {
  for (int i = 0; i < THREADS; i++) {
    CHECK_INT(list[i].made, list[i].accepted);
    CHECK_INT(list[i].wrong, 0);
    free(list[i].notes);
  }
}

/* ---- who runs the loop --------------------------------------------------------------- */

static void test_order(void) {
  fixture f;
  sender list[THREADS];
  REQUIRE(fixture_start(&f));
  DO(&f, "stay = neap.create_task(neap.sleep, 60)");
  senders_start(list, f.rt, EACH);
  while (senders_made(list) < THREADS * EACH)
    CHECK(neap_step(f.rt, 1) > 0);
  senders_join(list);
  senders_check(list);
  fixture_close(&f);
}

static int l_enough(lua_State *L) {
  const sender *list = lua_touserdata(L, lua_upvalueindex(1));
  lua_pushboolean(L, senders_made(list) >= THREADS * 1000);
  return 1;
}

/* Each neap.run has a loop of its own: what comes in between waits for the next. */
static void test_many_loops(void) {
  fixture f;
  sender list[THREADS];
  REQUIRE(fixture_start(&f));
  lua_pushlightuserdata(f.L, list);
  lua_pushcclosure(f.L, l_enough, 1);
  lua_setglobal(f.L, "enough");
  senders_start(list, f.rt, 1000);
  DO(&f, "n = 0\n"
         "while not enough() do\n"
         "  neap.run(function() neap.sleep(n % 3 / 10000) n = n + 1 end)\n"
         "end");
  senders_join(list);
  senders_check(list);
  fixture_close(&f);
}

/* The root waits; the call that ends its wait comes from a thread. */
static int l_set(lua_State *L) {
  luaL_loadstring(L, "event:set()");
  lua_call(L, 0, 0);
  return 0;
}

static void on_later(void *arg) {
  uv_sleep(10);
  CHECK_INT(neap_call_threadsafe(arg, l_set, NULL), 0);
}

static void test_root(void) {
  fixture f;
  uv_thread_t thread;
  REQUIRE(fixture_start(&f));
  DO(&f, "event = neap.Event() neap.create_task(neap.sleep, 60)");
  CHECK_INT(uv_thread_create(&thread, on_later, f.rt), 0);
  DO(&f, "event:wait()");
  uv_thread_join(&thread);
  DO(&f, "event:clear()");
  CHECK_INT(uv_thread_create(&thread, on_later, f.rt), 0);
  DO(&f, "neap.run(function()\n"
         "  local stay = neap.create_task(neap.sleep, 60)\n"
         "  event:wait()\n"
         "end)");
  uv_thread_join(&thread);
  fixture_close(&f);
}

static int l_count(lua_State *L) {
  int *count = lua_touserdata(L, 1);
  (*count)++;
  return 0;
}

static void test_before_loop(void) {
  fixture f;
  int count = 0;
  REQUIRE(fixture_start(&f));
  for (int i = 0; i < 3000; i++) /* more than a turn makes */
    CHECK_INT(neap_call_threadsafe(f.rt, l_count, &count), 0);
  CHECK_INT(count, 0);
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_INT(count, 3000);
  CHECK_INT(neap_run(f.rt), 0);
  neap_call_threadsafe(f.rt, l_count, &count);
  CHECK_INT(neap_step(f.rt, -1), 0);
  CHECK_INT(count, 3001);
  fixture_close(&f);
}

static void test_backend_fd(void) {
  fixture f;
  int count = 0;
  REQUIRE(fixture_start(&f));
  struct pollfd poller = {.fd = neap_backend_fd(f.rt), .events = POLLIN};
  while (neap_step(f.rt, 0) > 0) {
  }
  CHECK(neap_timeout(f.rt) < 0);
  neap_call_threadsafe(f.rt, l_count, &count);
  CHECK_INT(poll(&poller, 1, 5000), 1);
  CHECK(neap_timeout(f.rt) == 0);
  CHECK_INT(neap_step(f.rt, 0), 0);
  CHECK_INT(count, 1);
  CHECK(neap_timeout(f.rt) < 0);
  fixture_close(&f);
}

/* ---- a lent loop, a lent state ---------------------------------------------------------- */

typedef struct lender {
  fixture f;
  uv_timer_t stay;
  int count;
} lender;

static int l_lent(lua_State *L) {
  lender *l = lua_touserdata(L, 1);
  l->count++;
  if (l->count == 2) uv_close((uv_handle_t *)&l->stay, NULL);
  return 0;
}

static void on_never(uv_timer_t *timer) {
  (void)timer;
  CHECK(false);
}

static void on_lent(void *arg) {
  lender *l = arg;
  for (int i = 0; i < 2; i++) {
    uv_sleep(5);
    CHECK_INT(neap_call_threadsafe(l->f.rt, l_lent, l), 0);
  }
}

static void test_lent_loop(void) {
  lender l = {.count = 0};
  uv_loop_t uv;
  uv_thread_t thread;
  CHECK_INT(uv_loop_init(&uv), 0);
  fixture_init(&l.f);
  l.f.config.loop = &uv;
  REQUIRE(fixture_open(&l.f));
  uv_timer_init(&uv, &l.stay);
  uv_timer_start(&l.stay, on_never, 60000, 0);
  CHECK_INT(uv_thread_create(&thread, on_lent, &l), 0);
  uv_run(&uv, UV_RUN_DEFAULT);
  uv_thread_join(&thread);
  CHECK_INT(l.count, 2);
  /* After loops of the program's it is the current one again. */
  DO(&l.f, "neap.run(function() end)");
  l.count = 0;
  uv_timer_init(&uv, &l.stay);
  uv_timer_start(&l.stay, on_never, 60000, 0);
  CHECK_INT(uv_thread_create(&thread, on_lent, &l), 0);
  uv_run(&uv, UV_RUN_DEFAULT);
  uv_thread_join(&thread);
  CHECK_INT(l.count, 2);
  fixture_close(&l.f);
  uv_run(&uv, UV_RUN_DEFAULT);
  CHECK_INT(uv_loop_close(&uv), 0);
}

static void test_lent_state(void) {
  sender list[THREADS];
  lua_State *L = luaL_newstate();
  REQUIRE(L != NULL);
  luaL_openlibs(L);
  neap_config config = {.size = sizeof config, .L = L};
  neap_runtime *rt = neap_new(&config, NULL);
  REQUIRE(rt != NULL);
  senders_start(list, rt, 1000);
  while (senders_made(list) < THREADS * 1000) {
    neap_run(rt);
    uv_sleep(1);
  }
  senders_join(list);
  CHECK_INT(lua_gettop(L), 0);
  neap_free(rt);
  senders_check(list);
  lua_close(L);
}

/* ---- what a call does ------------------------------------------------------------------- */

static int l_raise(lua_State *L) {
  return luaL_error(L, "no luck with %p", lua_touserdata(L, 1));
}

static int l_wait(lua_State *L) {
  neap_check_park(L, "mine.wait");
  CHECK(false);
  return 0;
}

static void test_errors(void) {
  fixture f;
  int count = 0;
  REQUIRE(fixture_start(&f));
  neap_call_threadsafe(f.rt, l_raise, NULL);
  neap_call_threadsafe(f.rt, l_count, &count);
  neap_call_threadsafe(f.rt, l_wait, NULL);
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_INT(count, 1);
  CHECK_INT(f.unhandled, 2);
  CHECK_HAS(f.reports, "Exception in callback");
  CHECK_HAS(f.reports, "no luck with");
  CHECK_HAS(f.reports, "cannot wait in 'mine.wait' inside a loop callback");
  CHECK_TOP(&f, 0);
  /* An exception handler of the program's takes it. */
  DO(&f, "neap.get_event_loop():set_exception_handler(function(_, context)\n"
         "  message, exception = context.message, context.exception\nend)");
  neap_call_threadsafe(f.rt, l_raise, NULL);
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_INT(f.unhandled, 2);
  CHECK_STR(global_text(&f, "message"), "Exception in callback");
  CHECK_HAS(global_text(&f, "exception"), "no luck with");
  fixture_close(&f);
}

/* Posts the next one, and makes a task besides. */
static int l_more(lua_State *L) {
  int *left = lua_touserdata(L, 1);
  neap_runtime *rt = neap_of(L);
  CHECK_INT(neap_run(rt), UV_EBUSY);
  luaL_loadstring(L, "neap.sleep(0) ran = (ran or 0) + 1");
  neap_release(neap_spawn(rt, L, 0, NULL, NULL));
  if (--*left > 0) CHECK_INT(neap_call_threadsafe(rt, l_more, left), 0);
  return 0;
}

static void test_more(void) {
  fixture f;
  int left = 10;
  REQUIRE(fixture_start(&f));
  neap_call_threadsafe(f.rt, l_more, &left);
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_INT(left, 0);
  CHECK_INT(global_int(&f, "ran"), 10);
  fixture_close(&f);
}

/* ---- the end ------------------------------------------------------------------------------ */

static void test_shutdown(void) {
  for (int round = 0; round < 20; round++) {
    fixture f;
    sender list[THREADS];
    REQUIRE(fixture_start(&f));
    if (round % 2 == 0)
      DO(&f, "neap.create_task(function()\n"
             "  local _ <close> = setmetatable({}, { __close = function()\n"
             "    neap.sleep(0.002)\n"
             "  end })\n"
             "  neap.sleep(60)\n"
             "end)");
    senders_start(list, f.rt, EACH * 10);
    if (round % 3 == 0) neap_step(f.rt, 0.001);
    neap_shutdown(f.rt);
    senders_join(list);
    for (int i = 0; i < THREADS; i++)
      CHECK(list[i].status == UV_ECANCELED || list[i].accepted == EACH * 10);
    senders_check(list);
    fixture_close(&f);
  }
}

/* Left over: made before the tasks are cancelled; later ones are refused. */
static void test_left_over(void) {
  fixture f;
  int count = 0, left = 2;
  REQUIRE(fixture_start(&f));
  DO(&f, "neap.create_task(neap.sleep, 60)");
  neap_call_threadsafe(f.rt, l_count, &count);
  neap_call_threadsafe(f.rt, l_more, &left);
  neap_call_threadsafe(f.rt, l_raise, NULL);
  CHECK_INT(neap_shutdown(f.rt), 0);
  CHECK_INT(count, 1);
  CHECK_INT(left, 0);
  CHECK_INT(f.unhandled, 1);
  CHECK_INT(neap_call_threadsafe(f.rt, l_count, &count), UV_ECANCELED);
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_INT(count, 1);
  fixture_close(&f);
  /* Without any loop, too. */
  REQUIRE(fixture_start(&f));
  neap_call_threadsafe(f.rt, l_count, &count);
  fixture_close(&f);
  CHECK_INT(count, 2);
}

int main(void) {
  static const test_case tests[] = {
      {"a hundred thousand calls of four threads, in order", test_order},
      {"loops come and go", test_many_loops},
      {"the root is woken", test_root},
      {"posted before there is a loop", test_before_loop},
      {"a foreign event loop is told", test_backend_fd},
      {"a lent loop is woken", test_lent_loop},
      {"a lent state", test_lent_state},
      {"errors are reported, waiting is one", test_errors},
      {"a call posts another, and makes tasks", test_more},
      {"a shutdown while threads post", test_shutdown},
      {"what is left at a shutdown is made", test_left_over},
  };
  return run_tests(tests, COUNT(tests));
}
