/* SPDX-License-Identifier: MIT
 *
 * test_extension.c - awaitable operations in C: park, wake and abort in every order,
 * wakes from other threads, work on the pool, errors.
 */
#include "test.h"

#include <unistd.h>

/* ---- an operation that C code ends ------------------------------------------------------- */

/* A gate: tasks wait at it until C opens it. The op lives in C memory, so that a
 * forced close shows as a leak when finish is not called. */
typedef struct gate_op {
  neap_wait wait;
  struct gate *gate;
} gate_op;

typedef struct gate {
  gate_op *op; /* one at a time */
  neap_aborted answer;
  int aborts, finishes, forced;
  int status; /* what finish saw last */
} gate;

static gate *the_gate(lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, "test.gate");
  gate *g = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return g;
}

static neap_aborted gate_abort(neap_wait *wait) {
  gate *g = CONTAINER_OF(wait, gate_op, wait)->gate;
  g->aborts++;
  return g->answer;
}

static int gate_finish(lua_State *L, neap_wait *wait) {
  gate_op *op = CONTAINER_OF(wait, gate_op, wait);
  gate *g = op->gate;
  int status = wait->status;
  g->finishes++;
  g->status = status;
  g->op = NULL;
  free(op);
  if (L == NULL) {
    g->forced++;
    return 0;
  }
  if (status < 0) return neap_fail(L, status, "gate");
  lua_pushinteger(L, status);
  return 1;
}

/* wait(...) -> status. Waits. */
static int l_gate(lua_State *L) {
  gate *g = the_gate(L);
  neap_check_park(L, "gate");
  gate_op *op = calloc(1, sizeof *op);
  op->wait.abort = gate_abort;
  op->wait.finish = gate_finish;
  op->wait.name = "gate";
  op->gate = g;
  g->op = op;
  return neap_park(L, &op->wait);
}

/* open([status]): ends the wait, from Lua. */
static int l_open(lua_State *L) {
  gate *g = the_gate(L);
  if (g->op != NULL) neap_wake(&g->op->wait, (int)luaL_optinteger(L, 1, 0));
  return 0;
}

static bool gate_start(fixture *f, gate *g) {
  memset(g, 0, sizeof *g);
  g->answer = NEAP_ABORT_DONE;
  if (!fixture_start(f)) return false;
  lua_pushlightuserdata(f->L, g);
  lua_setfield(f->L, LUA_REGISTRYINDEX, "test.gate");
  lua_register(f->L, "gate", l_gate);
  lua_register(f->L, "open", l_open);
  return true;
}

static void test_wake(void) {
  fixture f;
  gate g;
  REQUIRE(gate_start(&f, &g));
  DO(&f, "task = neap.create_task(function() result = gate() end)");
  CHECK_INT(neap_step(f.rt, 0), 1);
  REQUIRE(g.op != NULL);
  neap_wake(&g.op->wait, 3);
  neap_wake(&g.op->wait, 4); /* stale: changes nothing */
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_INT(global_int(&f, "result"), 3);
  CHECK_INT(g.finishes, 1);
  CHECK_INT(g.aborts, 0);
  DO(&f, "local t = neap.create_task(gate, 'x') neap.sleep(0) open(7)\n"
         "result = t:await()");
  CHECK_INT(global_int(&f, "result"), 7);
  fixture_close(&f);
}

static void test_wake_status(void) {
  fixture f;
  gate g;
  REQUIRE(gate_start(&f, &g));
  DO(&f, "local t = neap.create_task(gate) neap.sleep(0) open(-32)\n"
         "ok, err = pcall(t.await, t)\n"
         "assert(not ok and neap.OSError:is(err))\n"
         "assert(err.code == 'EPIPE' and err.op == 'gate', err.code)\n"
         "text = tostring(err)");
  CHECK_STR(global_text(&f, "text"), "OSError: gate: broken pipe (EPIPE)");
  fixture_close(&f);
}

static void test_abort_done(void) {
  fixture f;
  gate g;
  REQUIRE(gate_start(&f, &g));
  DO(&f, "local t = neap.create_task(gate) neap.sleep(0)\n"
         "t:cancel 'enough'\n"
         "local ok, e = pcall(t.await, t)\n"
         "assert(neap.CancelledError:is(e) and e.message == 'enough')");
  CHECK_INT(g.aborts, 1);
  CHECK_INT(g.finishes, 1);
  CHECK_INT(g.status, UV_ECANCELED);
  fixture_close(&f);
}

static void test_abort_pending(void) {
  fixture f;
  gate g;
  REQUIRE(gate_start(&f, &g));
  g.answer = NEAP_ABORT_PENDING;
  DO(&f, "task = neap.create_task(gate) neap.sleep(0) task:cancel()\n"
         "task:cancel() neap.sleep(0) neap.sleep(0)\n"
         "assert(not task:done())");
  CHECK_INT(g.aborts, 1); /* asked once */
  CHECK_INT(g.finishes, 0);
  neap_wake(&g.op->wait, 0);
  CHECK_INT(neap_run(f.rt), 0);
  DO(&f, "assert(task:cancelled())");
  CHECK_INT(g.finishes, 1);
  CHECK_INT(g.status, UV_ECANCELED);
  fixture_close(&f);
}

static void test_cancel_after_wake(void) {
  fixture f;
  gate g;
  REQUIRE(gate_start(&f, &g));
  DO(&f, "local t = neap.create_task(gate) neap.sleep(0)\n"
         "open(0) t:cancel()\n"
         "pcall(t.await, t) assert(t:cancelled())");
  CHECK_INT(g.aborts, 0); /* nothing is left to abort */
  CHECK_INT(g.finishes, 1);
  CHECK_INT(g.status, UV_ECANCELED);
  fixture_close(&f);
}

static void test_at_root(void) {
  fixture f;
  gate g;
  REQUIRE(gate_start(&f, &g));
  DO(&f, "neap.get_event_loop():call_later(0.001, open, 5)\n"
         "assert(gate() == 5)\n"
         "neap.get_event_loop():call_soon(open, -32)\n"
         "local ok, e = pcall(gate)\n"
         "assert(not ok and e.code == 'EPIPE')");
  DO_FAIL(&f, "gate()", "DeadlockError");
  CHECK_INT(g.aborts, 1);
  CHECK_INT(g.finishes, 3);
  neap_interrupt(f.rt, SIGINT, false);
  DO_FAIL(&f, "gate()", "KeyboardInterrupt");
  CHECK_INT(g.finishes, 3); /* the check comes before anything is started */
  DO(&f, "local loop = neap.get_event_loop()\n"
         "loop:call_later(0.001, loop.stop, loop)\n"
         "assert(not pcall(gate))");
  CHECK(g.op == NULL);
  fixture_close(&f);
}

static void test_first_thing(void) {
  /* The very first wait of a runtime, before it has a loop. */
  fixture f;
  gate g;
  memset(&g, 0, sizeof g);
  fixture_init(&f);
  f.rt = neap_new(&f.config, NULL);
  REQUIRE(f.rt != NULL);
  f.L = neap_lua(f.rt);
  lua_pushlightuserdata(f.L, &g);
  lua_setfield(f.L, LUA_REGISTRYINDEX, "test.gate");
  lua_register(f.L, "gate", l_gate);
  DO_FAIL(&f, "gate()", "DeadlockError");
  CHECK_INT(g.finishes, 1);
  fixture_close(&f);
}

static void test_where_it_cannot_wait(void) {
  fixture f;
  gate g;
  REQUIRE(gate_start(&f, &g));
  DO(&f, "local function sort() table.sort({2, 1}, gate) end\n"
         "local ok, e = pcall(neap.gather, sort)\n"
         "assert(not ok and e:find(\"cannot wait in 'gate'\", 1, true), e)\n"
         "assert(e:find('table.sort', 1, true), e)\n"
         "neap.get_event_loop():call_soon(function()\n"
         "  _, message = pcall(gate) end)\n"
         "neap.sleep(0.001)\n"
         "assert(message:find 'loop callback', message)");
  CHECK_INT(g.finishes, 0);
  fixture_close(&f);
}

static void test_inside_coroutines(void) {
  fixture f;
  gate g;
  REQUIRE(gate_start(&f, &g));
  DO(&f, "neap.create_task(function()\n"
         "  local gen = coroutine.wrap(function()\n"
         "    coroutine.yield(1) coroutine.yield(gate()) return 3\n"
         "  end)\n"
         "  a, b, c = gen(), gen(), gen()\n"
         "end)\n"
         "neap.sleep(0) open(2) neap.sleep(0) neap.sleep(0)");
  CHECK_INT(global_int(&f, "a"), 1);
  CHECK_INT(global_int(&f, "b"), 2);
  CHECK_INT(global_int(&f, "c"), 3);
  fixture_close(&f);
}

static void test_forced(void) {
  static const neap_aborted answers[] = {NEAP_ABORT_DONE, NEAP_ABORT_PENDING};
  for (int i = 0; i < 2; i++) {
    fixture f;
    gate g;
    REQUIRE(gate_start(&f, &g));
    g.answer = answers[i];
    DO(&f, "neap.create_task(function()\n"
           "  while true do pcall(gate) neap.current_task():uncancel() end\n"
           "end) neap.sleep(0)");
    gate_op *op = g.op;
    CHECK_INT(neap_shutdown(f.rt), 1);
    if (answers[i] == NEAP_ABORT_PENDING) {
      CHECK_INT(g.finishes, 0);
      CHECK(g.op == op);
      neap_wake(&op->wait, 0); /* what it still owes */
    }
    CHECK_INT(g.forced, 1);
    CHECK_INT(g.status, UV_ECANCELED);
    CHECK(g.op == NULL);
    fixture_close(&f);
  }
}

static void test_shutdown_aborts(void) {
  fixture f;
  gate g;
  REQUIRE(gate_start(&f, &g));
  DO(&f, "neap.create_task(gate) neap.sleep(0)");
  CHECK_INT(neap_shutdown(f.rt), 0);
  CHECK_INT(g.aborts, 1);
  CHECK_INT(g.finishes, 1);
  CHECK_INT(g.forced, 0);
  fixture_close(&f);
}

static void test_names(void) {
  fixture f;
  gate g;
  REQUIRE(gate_start(&f, &g));
  DO(&f, "task = neap.create_task(gate) neap.sleep(0)");
  CHECK_HAS(global_text(&f, "task"), "waiting in 'gate'");
  CHECK_INT(neap_run(f.rt), NEAP_EDEADLK);
  CHECK_HAS(f.reports, "waits in 'gate'");
  fixture_close(&f);
}

/* ---- from other threads ----------------------------------------------------------------------- */

typedef struct remote_op {
  neap_wait wait;
  uv_thread_t thread;
  int delay; /* us */
  int status;
} remote_op;

static atomic_int remote_ended;

static void on_remote(void *arg) {
  remote_op *op = arg;
  if (op->delay > 0) usleep((useconds_t)op->delay);
  neap_wake_threadsafe(&op->wait, op->status);
}

static neap_aborted remote_abort(neap_wait *wait) {
  (void)wait;
  return NEAP_ABORT_PENDING;
}

static int remote_finish(lua_State *L, neap_wait *wait) {
  remote_op *op = CONTAINER_OF(wait, remote_op, wait);
  int status = wait->status;
  uv_thread_join(&op->thread);
  free(op);
  atomic_fetch_add(&remote_ended, 1);
  if (L == NULL) return 0;
  if (status < 0) return neap_refuse(L, status, "remote");
  lua_pushinteger(L, status);
  return 1;
}

/* remote(delay in us, status) -> status. Waits. */
static int l_remote(lua_State *L) {
  int delay = (int)luaL_checkinteger(L, 1);
  int status = (int)luaL_optinteger(L, 2, 0);
  neap_check_park(L, "remote");
  remote_op *op = calloc(1, sizeof *op);
  op->wait.abort = remote_abort;
  op->wait.finish = remote_finish;
  op->wait.name = "remote";
  op->delay = delay;
  op->status = status;
  neap_arm_threadsafe(neap_of(L), &op->wait);
  uv_thread_create(&op->thread, on_remote, op);
  return neap_park(L, &op->wait);
}

static bool remote_start(fixture *f) {
  if (!fixture_start(f)) return false;
  lua_register(f->L, "remote", l_remote);
  return true;
}

static void test_threadsafe(void) {
  fixture f;
  REQUIRE(remote_start(&f));
  DO(&f, "assert(remote(1000, 5) == 5)\n" /* at the root */
         "assert(remote(0, 6) == 6)\n"
         "local a, b = neap.gather(function() return remote(2000, 1) end,\n"
         "                         function() return remote(0, 2) end)\n"
         "assert(a == 1 and b == 2)\n"
         "local x, e = remote(0, -32)\n"
         "assert(x == nil and e.code == 'EPIPE')\n"
         "neap.create_task(function() last = remote(2000, 9) end)");
  /* It keeps the loop alive. */
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_INT(global_int(&f, "last"), 9);
  fixture_close(&f);
}

static void test_threadsafe_first(void) {
  fixture f;
  fixture_init(&f);
  f.rt = neap_new(&f.config, NULL);
  REQUIRE(f.rt != NULL);
  f.L = neap_lua(f.rt);
  lua_register(f.L, "remote", l_remote);
  DO(&f, "assert(remote(0, 8) == 8)");
  fixture_close(&f);
}

static void test_threadsafe_cancelled(void) {
  fixture f;
  REQUIRE(remote_start(&f));
  DO(&f, "local t = neap.create_task(remote, 400000, 1) neap.sleep(0)\n"
         "t:cancel() neap.sleep(0) assert(not t:done())\n"
         "pcall(t.await, t) assert(t:cancelled())\n"
         /* cancelled at about the moment of the wake */
         "for i = 1, 100 do\n"
         "  local t = neap.create_task(remote, i * 3, 1)\n"
         "  neap.sleep(i * 3e-6)\n"
         "  t:cancel() pcall(t.await, t)\n"
         "end");
  fixture_close(&f);
}

static void test_threadsafe_forced(void) {
  fixture f;
  fixture_init(&f);
  f.config.grace = 0.001;
  REQUIRE(fixture_open(&f));
  lua_register(f.L, "remote", l_remote);
  atomic_store(&remote_ended, 0);
  DO(&f, "for i = 1, 5 do neap.create_task(remote, i * 100000) end\n"
         "neap.sleep(0)");
  /* The grace is over before the threads are through. */
  CHECK(neap_shutdown(f.rt) > 0);
  CHECK_INT(atomic_load(&remote_ended), 5);
  fixture_close(&f);
}

static void test_threadsafe_many(void) {
  fixture f;
  REQUIRE(remote_start(&f));
  DO(&f, "n = 0 local all = {}\n"
         "for i = 1, 200 do all[i] = function()\n"
         "  local one = remote(i % 3 * 100, 1) n = n + one end end\n"
         "neap.gather(all)");
  CHECK_INT(global_int(&f, "n"), 200);
  fixture_close(&f);
}

/* ---- the thread pool ------------------------------------------------------------------------------ */

typedef struct sum_work {
  neap_work work;
  int n, delay;
  bool held;
  long long sum;
  bool ran;
} sum_work;

static atomic_int works; /* blocks that are alive */
static atomic_int begun; /* how many of them have run, or do */
static atomic_bool may_go;

static void sum_run(neap_work *work) {
  sum_work *w = CONTAINER_OF(work, sum_work, work);
  atomic_fetch_add(&begun, 1);
  if (w->delay > 0) usleep((useconds_t)w->delay);
  while (w->held && !atomic_load(&may_go))
    usleep(1000);
  for (int i = 1; i <= w->n; i++)
    w->sum += i;
  w->ran = true;
}

static int sum_finish(lua_State *L, neap_work *work, int status) {
  sum_work *w = CONTAINER_OF(work, sum_work, work);
  long long sum = w->sum;
  bool ran = w->ran;
  free(w);
  atomic_fetch_sub(&works, 1);
  if (L == NULL) return 0;
  if (status < 0) return neap_fail(L, status, "sum");
  CHECK(ran);
  lua_pushinteger(L, sum);
  return 1;
}

/* sum(n, delay in us, whether let_go() lets it go) -> 1 + 2 + ... + n. Waits. */
static int l_sum(lua_State *L) {
  int n = (int)luaL_checkinteger(L, 1);
  int delay = (int)luaL_optinteger(L, 2, 0);
  bool held = lua_toboolean(L, 3);
  neap_check_park(L, "sum");
  sum_work *w = calloc(1, sizeof *w);
  atomic_fetch_add(&works, 1);
  w->work.run = sum_run;
  w->work.finish = sum_finish;
  w->n = n;
  w->delay = delay;
  w->held = held;
  return neap_offload(L, &w->work, "sum");
}

/* begun() -> how many sums have begun since hold() */
static int l_begun(lua_State *L) {
  lua_pushinteger(L, atomic_load(&begun));
  return 1;
}

static int l_hold(lua_State *L) {
  (void)L;
  atomic_store(&begun, 0);
  atomic_store(&may_go, false);
  return 0;
}

static int l_let_go(lua_State *L) {
  (void)L;
  atomic_store(&may_go, true);
  return 0;
}

static void sum_register(fixture *f) {
  lua_register(f->L, "sum", l_sum);
  lua_register(f->L, "begun", l_begun);
  lua_register(f->L, "hold", l_hold);
  lua_register(f->L, "let_go", l_let_go);
}

static bool sum_start(fixture *f) {
  if (!fixture_start(f)) return false;
  sum_register(f);
  return true;
}

static void test_offload(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  lua_register(f.L, "sum", l_sum);
  DO(&f,
     "assert(sum(10) == 55)\n" /* at the root */
     "local a, b, c = neap.gather(function() return sum(3, 3000) end,\n"
     "  function() return sum(4) end, function() return (sum(5, 1000)) end)\n"
     "assert(a == 6 and b == 10 and c == 15)\n"
     "neap.create_task(function() last = sum(100) end)");
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_INT(global_int(&f, "last"), 5050);
  CHECK_INT(atomic_load(&works), 0);
  fixture_close(&f);
}

static void test_offload_cancelled(void) {
  fixture f;
  REQUIRE(sum_start(&f));
  DO(&f, "hold()\n"
         "local t = neap.create_task(sum, 3, 0, true)\n"
         "repeat neap.sleep(0.001) until begun() == 1\n"
         "t:cancel 'no more' neap.sleep(0) assert(not t:done())\n"
         "let_go()\n"
         "local ok, e = pcall(t.await, t)\n"
         "assert(t:cancelled() and e.message == 'no more')\n"
         /* more than the pool has threads: some never begin */
         "hold()\n"
         "local all = {}\n"
         "for i = 1, 20 do all[i] = neap.create_task(sum, 3, 0, true) end\n"
         "repeat neap.sleep(0.001) until begun() > 0\n"
         "for _, t in ipairs(all) do t:cancel() end\n"
         "neap.sleep(0) let_go()\n"
         "for _, t in ipairs(all) do pcall(t.await, t)\n"
         "  assert(t:cancelled()) end\n"
         "assert(begun() < 20)");
  CHECK_INT(atomic_load(&works), 0);
  fixture_close(&f);
}

static void test_offload_forced(void) {
  fixture f;
  fixture_init(&f);
  f.config.grace = 0.001;
  REQUIRE(fixture_open(&f));
  sum_register(&f);
  DO(&f, "hold()\n"
         "for i = 1, 12 do neap.create_task(sum, 3, 300000) end\n"
         "repeat neap.sleep(0.001) until begun() > 0");
  CHECK(neap_shutdown(f.rt) > 0);
  CHECK_INT(atomic_load(&works), 0);
  fixture_close(&f);
}

static void test_offload_timeout(void) {
  fixture f;
  REQUIRE(sum_start(&f));
  DO(&f, "hold()\n"
         "local t = neap.create_task(sum, 3, 0, true)\n"
         "neap.get_event_loop():call_later(0.001, function()\n"
         "  t:cancel() let_go() end)\n"
         "local ok, e = pcall(t.await, t)\n"
         "assert(not ok and neap.CancelledError:is(e))");
  fixture_close(&f);
}

/* ---- errors ------------------------------------------------------------------------------------------- */

static int l_fail(lua_State *L) {
  return neap_fail(L, (int)luaL_checkinteger(L, 1), luaL_optstring(L, 2, NULL));
}

static int l_refuse(lua_State *L) {
  return neap_refuse(L, (int)luaL_checkinteger(L, 1),
                     luaL_optstring(L, 2, NULL));
}

static void test_errors(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  lua_register(f.L, "fail", l_fail);
  lua_register(f.L, "refuse", l_refuse);
  lua_pushinteger(f.L, UV_ENOENT);
  lua_setglobal(f.L, "ENOENT");
  lua_pushinteger(f.L, UV_ECANCELED);
  lua_setglobal(f.L, "ECANCELED");
  DO(&f, "local ok, e = pcall(fail, ENOENT, 'open')\n"
         "assert(not ok and neap.OSError:is(e) and neap.Error:is(e))\n"
         "assert(e.code == 'ENOENT' and e.op == 'open')\n"
         "assert(tostring(e) ==\n"
         "  'OSError: open: no such file or directory (ENOENT)')\n"
         "local r = table.pack(refuse(ENOENT))\n"
         "assert(r.n == 2 and r[1] == nil and r[2].code == 'ENOENT')\n"
         "assert(r[2].op == nil)\n"
         "assert(not pcall(assert, refuse(ENOENT, 'open')))\n"
         "for _, f in ipairs{fail, refuse} do\n"
         "  local ok, e = pcall(f, ECANCELED, 'x')\n"
         "  assert(not ok and neap.CancelledError:is(e))\n"
         "end\n"
         "local ok, e = pcall(fail, -99999, 'x')\n"
         "assert(not ok and e.code ~= nil)");
  fixture_close(&f);
}

int main(void) {
  static const test_case tests[] = {
      {"a wake gives its status, a second one nothing", test_wake},
      {"a negative status becomes an OSError", test_wake_status},
      {"abort that is done cancels at once", test_abort_done},
      {"abort that is pending waits for the wake", test_abort_pending},
      {"a cancellation after the wake overrides it", test_cancel_after_wake},
      {"the root waits too, and is stopped", test_at_root},
      {"the first wait of a runtime", test_first_thing},
      {"where Lua cannot yield nothing is started", test_where_it_cannot_wait},
      {"inside plain coroutines", test_inside_coroutines},
      {"a forced close releases the operation", test_forced},
      {"shutdown aborts what is in flight", test_shutdown_aborts},
      {"reports name the operation", test_names},
      {"wakes from threads", test_threadsafe},
      {"a wake from a thread before there is a loop", test_threadsafe_first},
      {"cancelled while a thread has it", test_threadsafe_cancelled},
      {"shutdown waits for threads", test_threadsafe_forced},
      {"hundreds of threads", test_threadsafe_many},
      {"work on the pool", test_offload},
      {"cancelled work, begun or not", test_offload_cancelled},
      {"work at a forced close", test_offload_forced},
      {"work cancelled by a timer", test_offload_timeout},
      {"errors made from codes", test_errors},
  };
  return run_tests(tests, COUNT(tests));
}
