/* SPDX-License-Identifier: MIT
 *
 * test_clock.c - neap.test's virtual clock beside what takes real time: the work of a
 * thread and an operation of libuv's hold its jump.
 */
#include "test.h"

/* ---- work on the pool ---------------------------------------------------------------- */

static uv_sem_t gate;

static void pause_run(neap_work *work) {
  (void)work;
  uv_sleep(30);
}

static void gate_run(neap_work *work) {
  (void)work;
  uv_sem_wait(&gate);
}

static int pause_finish(lua_State *L, neap_work *work, int status) {
  free(work);
  if (L == NULL) return 0;
  return status < 0 ? neap_fail(L, status, "pool") : 0;
}

static int offload(lua_State *L, void (*run)(neap_work *work)) {
  neap_check_park(L, "pool");
  neap_work *work = calloc(1, sizeof *work);
  if (work == NULL) return luaL_error(L, "not enough memory");
  work->run = run;
  work->finish = pause_finish;
  return neap_offload(L, work, "pool");
}

/* pool(): a thread of the pool sleeps for 30 ms. Waits. */
static int l_pool(lua_State *L) {
  return offload(L, pause_run);
}

/* gate(): a thread of the pool waits for open(). Waits. */
static int l_gate(lua_State *L) {
  return offload(L, gate_run);
}

static int l_open(lua_State *L) {
  (void)L;
  uv_sem_post(&gate);
  return 0;
}

/* ---- an operation of libuv's ---------------------------------------------------------- */

typedef struct timer_op {
  uv_timer_t timer;
  neap_wait wait;
} timer_op;

static void on_closed(uv_handle_t *handle) {
  free(handle->data);
}

static void on_timer(uv_timer_t *timer) {
  neap_wake(&((timer_op *)timer->data)->wait, 0);
}

static neap_aborted timer_abort(neap_wait *wait) {
  uv_timer_stop(&CONTAINER_OF(wait, timer_op, wait)->timer);
  return NEAP_ABORT_DONE;
}

static int timer_finish(lua_State *L, neap_wait *wait) {
  timer_op *op = CONTAINER_OF(wait, timer_op, wait);
  int status = wait->status;
  uv_close((uv_handle_t *)&op->timer, on_closed);
  if (L == NULL) return 0;
  return status < 0 ? neap_fail(L, status, "uv") : 0;
}

/* uv(): a timer of libuv's own, 30 ms of real time. Waits. */
static int l_uv(lua_State *L) {
  neap_check_park(L, "uv");
  timer_op *op = calloc(1, sizeof *op);
  if (op == NULL) return luaL_error(L, "not enough memory");
  op->wait.abort = timer_abort;
  op->wait.finish = timer_finish;
  op->wait.name = "uv";
  op->timer.data = op;
  uv_timer_init(neap_loop(neap_of(L)), &op->timer);
  uv_timer_start(&op->timer, on_timer, 30, 0);
  return neap_park(L, &op->wait);
}

/* ---- cases ------------------------------------------------------------------------------ */

static bool start(fixture *f) {
  if (!fixture_start(f)) return false;
  lua_register(f->L, "pool", l_pool);
  lua_register(f->L, "uv", l_uv);
  return true;
}

/* Whoever sleeps for a second of virtual time is up only after the operation. */
static void holds_jump(const char *operation) {
  fixture f;
  REQUIRE(start(&f));
  lua_getglobal(f.L, operation);
  lua_setglobal(f.L, "operation");
  DO(&f, "local test = require 'neap.test'\n"
         "local clock <close> = test.clock()\n"
         "local order = {}\n"
         "local sleeper = neap.create_task(function()\n"
         "  neap.sleep(1)\n"
         "  order[#order + 1] = 'sleep'\n"
         "end)\n"
         "neap.create_task(function()\n"
         "  operation()\n"
         "  assert(clock:time() == 0, clock:time())\n"
         "  order[#order + 1] = 'operation'\n"
         "end)\n"
         "sleeper:await()\n"
         "assert(clock:time() == 1)\n"
         "result = table.concat(order, ' ')\n"
         "held = result == 'operation sleep' and 1 or 0");
  CHECK_INT(global_int(&f, "held"), 1);
  fixture_close(&f);
}

static void test_thread(void) {
  holds_jump("pool");
}

static void test_uv(void) {
  holds_jump("uv");
}

/* At top level, and when the one that is under way is cancelled. */
static void test_cancelled(void) {
  fixture f;
  REQUIRE(start(&f));
  DO(&f, "local test = require 'neap.test'\n"
         "local clock <close> = test.clock()\n"
         "pool()\n"
         "assert(clock:time() == 0)\n"
         "local task = neap.create_task(uv)\n"
         "neap.sleep(0)\n"
         "task:cancel()\n"
         "neap.sleep(3600)\n"
         "assert(clock:time() == 3600 and task:cancelled())\n"
         "done = 1");
  CHECK_INT(global_int(&f, "done"), 1);
  fixture_close(&f);
}

/* advance() does not wait for the world: it only moves time. */
static void test_advance(void) {
  fixture f;
  REQUIRE(start(&f));
  REQUIRE(uv_sem_init(&gate, 0) == 0);
  lua_register(f.L, "gate", l_gate);
  lua_register(f.L, "open", l_open);
  DO(&f, "local test = require 'neap.test'\n"
         "local clock <close> = test.clock()\n"
         "local task = neap.create_task(gate)\n"
         "clock:advance(60)\n"
         "assert(clock:time() == 60 and not task:done())\n"
         "open()\n"
         "task:await()\n"
         "assert(clock:time() == 60)\n"
         "done = 1");
  CHECK_INT(global_int(&f, "done"), 1);
  fixture_close(&f);
  uv_sem_destroy(&gate);
}

/* The thread of the time-out ends with the runtime, however that ends. */
static void test_watchdog(void) {
  fixture f;
  REQUIRE(start(&f));
  DO(&f, "local core = require 'neap.core.test'\n"
         "core.watchdog(0.2)\n"
         "local ok, err = pcall(neap.sleep, 60)\n"
         "assert(neap.TimeoutError:is(err), tostring(err))\n"
         "local ok, err = pcall(neap.run, neap.sleep, 60)\n"
         "assert(neap.TimeoutError:is(err), tostring(err))\n"
         "core.watchdog(60)\n"
         "done = 1");
  CHECK_INT(global_int(&f, "done"), 1);
  fixture_close(&f);
}

int main(void) {
  static const test_case cases[] = {
      {"the work of a thread holds the jump", test_thread},
      {"an operation of libuv's holds the jump", test_uv},
      {"a cancelled one holds it no longer", test_cancelled},
      {"advance does not wait for them", test_advance},
      {"the time-out of tests ends with the runtime", test_watchdog},
  };
  return run_tests(cases, COUNT(cases));
}
