/* SPDX-License-Identifier: MIT
 *
 * oom_core.c - the Nth allocation fails, for every N until a scenario passes without
 * noticing: never a crash, an abort, a hang or lost memory, and the runtime stays
 * usable. Once with that allocation failing (and the second try that Lua makes), once
 * with all from it on.
 */
#include "oom.h"

/* ---- Lua ---------------------------------------------------------------------------- */

static const char smoke[] =
    "local neap = require 'neap'\n"
    "local log = {}\n"
    "local function say(x) log[#log + 1] = x end\n"
    "local function work(x, t) neap.sleep(t) return x, x + 1 end\n"
    "local a, b = neap.gather(function() return work(1, 0) end,\n"
    "                         function() return work(2, 0.0001) end)\n"
    "assert(a == 1 and b == 2)\n"
    "local t = neap.create_task(work, 3, 0):set_name 'three'\n"
    "local x, y = t:await() assert(x == 3 and y == 4)\n"
    /* locks, events, conditions, semaphores */
    "local lock, event = neap.Lock(), neap.Event()\n"
    "local cond, sem = neap.Condition(), neap.Semaphore(2)\n"
    "local function user(i)\n"
    "  event:wait()\n"
    "  do local _ <close> = lock:acquire() neap.sleep(0) say(i) end\n"
    "  do local _ <close> = sem:acquire() neap.sleep(0) end\n"
    "  do local _ <close> = cond:acquire() cond:wait() end\n"
    "end\n"
    "local list = {}\n"
    "for i = 1, 4 do list[i] = neap.create_task(user, i) end\n"
    "neap.sleep(0) event:set() neap.sleep(0.0005)\n"
    "for i = 1, 20 do neap.sleep(0) end\n"
    "do local _ <close> = cond:acquire() cond:notify(1) cond:notify_all() end\n"
    "neap.gather(list, {return_exceptions = true})\n"
    /* cancellation, with handlers that wait, caught and not */
    "local function victim()\n"
    "  local _ <close> = setmetatable({}, {__close = function()\n"
    "    neap.sleep(0) say 'closed'\n"
    "  end})\n"
    "  pcall(neap.sleep, 60) neap.sleep(60)\n"
    "end\n"
    "local v = neap.create_task(victim)\n"
    "neap.sleep(0) v:cancel 'stop'\n"
    "local ok, e = pcall(v.await, v)\n"
    "assert(not ok and neap.CancelledError:is(e))\n"
    "assert(v:cancelled())\n"
    "local early = neap.create_task(print) early:cancel()\n"
    "pcall(early.await, early)\n"
    /* generators that wait, coroutines of all kinds */
    "local function numbers(n) return coroutine.wrap(function()\n"
    "  for i = 1, n do neap.sleep(0) coroutine.yield(i) end end) end\n"
    "local sum = neap.gather(function()\n"
    "  local s = 0 for i in numbers(5) do s = s + i end return s end)\n"
    "assert(sum == 15)\n"
    "local co = coroutine.create(function() neap.sleep(0) return 'co' end)\n"
    "assert(neap.create_task(co):await() == 'co')\n"
    /* errors: strings, tables, through wrap, awaited and not */
    "local ok, e = pcall(neap.gather, function() error({code = 5}) end)\n"
    "assert(not ok and e.code == 5)\n"
    "local ok, e = pcall(neap.gather, function()\n"
    "  coroutine.wrap(function() neap.sleep(0) error 'inner' end)()\n"
    "end)\n"
    "assert(not ok and e:find 'inner')\n"
    "neap.create_task(function() error 'nobody looks' end)\n"
    "local f = neap.Future() f:add_done_callback(function() say 'called' end)\n"
    "local g = neap.create_task(f.await, f) neap.sleep(0)\n"
    "f:set_result(1, 2, 3) assert(select('#', g:await()) == 3)\n"
    "neap.Future():set_exception 'never seen'\n"
    "local loop = neap.get_event_loop()\n"
    "loop:call_soon(function() error 'in callback' end)\n"
    "loop:call_later(0.0001, say, 'later') loop:call_later(60, say):cancel()\n"
    "neap.sleep(0.0003)\n"
    "assert(#neap.all_tasks() == 0 and tostring(t) and t:traceback() == nil)\n"
    "assert(neap.run(function() neap.sleep(0) return 'run' end) == 'run')\n"
    "assert(not pcall(neap.sleep))\n"
    "local ok, e = pcall(table.sort, {3, 2, 1}, function(a, b)\n"
    "  neap.sleep(0) return a < b end)\n"
    "local ok, e = pcall(neap.gather, function()\n"
    "  table.sort({2, 1}, function() neap.sleep(0) end) end)\n"
    "assert(not ok and e:find 'table.sort')\n"
    "local stuck = neap.create_task(function() neap.Event():wait() end)\n"
    "local ok, e = pcall(stuck.await, stuck)\n"
    "assert(not ok and neap.DeadlockError:is(e), e)\n"
    "neap.create_task(neap.sleep, 60)\n" /* left for the shutdown */
    "for i = 1, 70 do neap.create_task(neap.sleep, 0) end neap.sleep(0)\n"
    "passed = true\n";

/* The main chunk leaves a time-out and tasks in blocks to the shutdown. */
static const char blocks[] =
    "local neap = require 'neap'\n"
    "local function slow(x) neap.sleep(60) return x end\n"
    "local function quick(x) neap.sleep(0) return x, 2 end\n"
    "local function fail(x) neap.sleep(0) error(x) end\n"
    "local function within(s, f, ...)\n"
    "  local t <close> = neap.timeout(s)\n"
    "  return f(...)\n"
    "end\n"
    "local function grouped(f, ...)\n"
    "  local g <close> = neap.TaskGroup()\n"
    "  return f(g, ...)\n"
    "end\n"
    "local function catch(class, ...)\n"
    "  local ok, e = pcall(...)\n"
    "  assert(not ok and class:is(e), e)\n"
    "  assert(tostring(e))\n"
    "  return e\n"
    "end\n"
    "local Late, Group = neap.TimeoutError, neap.ExceptionGroup\n"
    "local function all()\n"
    "  assert(within(60, quick, 1) == 1)\n"
    "  catch(Late, within, 0.0001, slow)\n"
    "  catch(Late, within, 0, within, 60, slow)\n"
    "  local t <close> = neap.timeout_at(nil)\n"
    "  t:reschedule(neap.get_event_loop():time() + 60)\n"
    "  assert(tostring(t) and not t:expired())\n"
    "  local a, b = neap.wait_for(quick, 60, 1) assert(a == 1 and b == 2)\n"
    "  catch(Late, neap.wait_for, slow, 0.0001)\n"
    "  catch(Late, neap.wait_for, neap.Future(), 0)\n"
    "  assert(neap.shield(quick, 1) == 1)\n"
    "  local kept = neap.create_task(slow)\n"
    "  catch(Late, within, 0, neap.shield, kept)\n"
    "  kept:cancel()\n"
    "  local list = {neap.create_task(quick, 1), neap.create_task(quick, 2),\n"
    "                neap.create_task(slow), neap.create_task(print)}\n"
    "  list[4]:cancel()\n"
    "  local done, rest = neap.wait(list, {timeout = 0.0005})\n"
    "  assert(#done == 3 and #rest == 1)\n"
    "  done = neap.wait(list, {return_when = 'first_completed'})\n"
    "  list[3]:cancel()\n"
    "  local n = 0\n"
    "  for task in neap.as_completed(list) do n = n + 1 end\n"
    "  assert(n == 4)\n"
    "  catch(Late, neap.as_completed({neap.Future()}, {timeout = 0.0001}))\n"
    "  local one\n"
    "  grouped(function(g)\n"
    "    one = g:create_task(quick, 1)\n"
    "    for i = 1, 5 do g:create_task(quick) neap.sleep(0) end\n"
    "    g:create_task(grouped, function(h) h:create_task(quick) end)\n"
    "  end)\n"
    "  assert(one:result() == 1)\n"
    "  local e = catch(Group, grouped, function(g)\n"
    "    g:create_task(fail, 'one') g:create_task(fail, {}) "
    "g:create_task(slow)\n"
    "    g:create_task(function()\n"
    "      local h <close> = neap.TaskGroup()\n"
    "      h:create_task(fail, 'deep') pcall(neap.sleep, 60)\n"
    "    end)\n"
    "    neap.sleep(60)\n"
    "  end)\n"
    "  assert(#e.errors >= 2)\n"
    "  catch(Late, within, 0.0001, grouped, function(g) g:create_task(slow) "
    "end)\n"
    "end\n"
    "all()\n"
    "neap.create_task(all):await()\n"
    "neap.create_task(grouped, function(g) g:create_task(fail, 'unseen') end)\n"
    "neap.timeout(60)\n"
    "neap.create_task(within, 60, grouped, function(g) g:create_task(slow) "
    "end)\n"
    "neap.sleep(0) neap.sleep(0)\n"
    "passed = true\n";

/* Whatever fails, an item is in a queue or it is not. */
static const char queues[] =
    "local neap = require 'neap'\n"
    "lost = false\n"
    "local function put(q, v)\n"
    "  local n = q:qsize()\n"
    "  if pcall(q.put, q, v) then n = n + 1 end\n"
    "  if q:qsize() ~= n then lost = true end\n"
    "end\n"
    "local function get(q)\n"
    "  local n = q:qsize()\n"
    "  if pcall(q.get_nowait, q) then n = n - 1 end\n"
    "  if q:qsize() ~= n then lost = true end\n"
    "end\n"
    "local function above(a, b) return a > b end\n"
    "local function text_above(a, b) return a .. '' > b .. '' end\n"
    "local function fill(q, n)\n"
    "  for i = 1, n do put(q, i) end\n"
    "  for i = 1, n do get(q) end\n"
    "  put(q, n) q:shutdown()\n"
    "  for i = 1, 9 do get(q) end\n"
    "end\n"
    "fill(neap.Queue(), 600)\n"
    "fill(neap.LifoQueue(), 20)\n"
    "fill(neap.PriorityQueue(0, above), 300)\n"
    "fill(neap.PriorityQueue(0, text_above), 8)\n"
    "local q, sum = neap.PriorityQueue(2, text_above), 0\n"
    "local function producer() for i = 1, 5 do q:put(i) end end\n"
    "local function consumer() for v in q:iter() do sum = sum + v end end\n"
    "local c = neap.create_task(consumer)\n"
    "neap.gather(producer, producer)\n"
    "q:shutdown()\n"
    "c:await()\n"
    "assert(sum == 30 and tostring(q))\n"
    "local b = neap.Barrier(2)\n"
    "local t = neap.create_task(b.wait, b)\n"
    "assert(b:wait() == 1 and t:await() == 2 and tostring(b))\n";

static bool run_smoke(fixture *f) {
  return run_code(f, smoke);
}

static bool run_queues(fixture *f) {
  return run_code(f, queues);
}

static bool run_blocks(fixture *f) {
  return run_code(f, blocks);
}

/* ---- C --------------------------------------------------------------------------------- */

typedef struct ended {
  int calls;
} ended;

static void on_end(neap_task *task, lua_State *L, neap_outcome outcome,
                   int nresults, void *ud) {
  (void)task;
  (void)L;
  (void)outcome;
  (void)nresults;
  ((ended *)ud)->calls++;
}

static void add_run(neap_work *work) {
  (void)work;
}

static int add_finish(lua_State *L, neap_work *work, int status) {
  free(work);
  if (L == NULL) return 0;
  return status < 0 ? neap_fail(L, status, "add") : 0;
}

static int begun; /* calls of offload */

static int l_offload(lua_State *L) {
  begun++;
  neap_check_park(L, "offload");
  neap_work *work = calloc(1, sizeof *work);
  work->run = add_run;
  work->finish = add_finish;
  return neap_offload(L, work, "offload");
}

typedef struct remote_op {
  neap_wait wait;
  uv_thread_t thread;
} remote_op;

static void on_remote(void *arg) {
  neap_wake_threadsafe(&((remote_op *)arg)->wait, 0);
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
  if (L == NULL) return 0;
  return status < 0 ? neap_refuse(L, status, "remote") : 0;
}

static int l_remote(lua_State *L) {
  neap_check_park(L, "remote");
  remote_op *op = calloc(1, sizeof *op);
  op->wait.abort = remote_abort;
  op->wait.finish = remote_finish;
  op->wait.name = "remote";
  neap_arm_threadsafe(neap_of(L), &op->wait);
  uv_thread_create(&op->thread, on_remote, op);
  return neap_park(L, &op->wait);
}

/* -> three functions to make tasks of. */
static int l_prepare(lua_State *L) {
  lua_register(L, "offload", l_offload);
  lua_register(L, "remote", l_remote);
  if (luaL_loadstring(L,
                      "return function(t) offload() remote() return t end,\n"
                      "  function() error 'on purpose' end,\n"
                      "  function() require 'neap'.sleep(60) end\n") != LUA_OK)
    return lua_error(L);
  lua_call(L, 0, 3);
  return 3;
}

static bool run_embedding(fixture *f) {
  lua_State *L = f->L;
  ended end = {0};
  bool passed = true;
  lua_pushcfunction(L, l_prepare);
  if (neap_call(f->rt, 0, 3) != LUA_OK) {
    lua_pop(L, 1);
    return false;
  }
  neap_task *tasks[3];
  int made = 0;
  begun = 0;
  for (int i = 2; i >= 0; i--) {
    tasks[i] = neap_spawn(f->rt, L, 0, on_end, &end);
    if (tasks[i] != NULL) {
      made++;
    } else {
      passed = false;
    }
  }
  for (int i = 0; i < 5; i++) {
    CHECK(neap_step(f->rt, 0.001) >= 0 || f->memory.fail_to != 0);
    neap_timeout(f->rt);
    neap_backend_fd(f->rt);
  }
  if (tasks[2] != NULL) neap_cancel(tasks[2], "because");
  int status = neap_run(f->rt);
  CHECK(status == 0);
  /* Each task that was made has ended, and said so once. */
  CHECK_INT(end.calls, made);
  CHECK(begun <= (tasks[0] != NULL)); /* and no other ever began */
  for (int i = 0; i < 3; i++) {
    if (tasks[i] == NULL) continue;
    CHECK(neap_is_done(tasks[i]));
    neap_push_task(L, tasks[i]);
    CHECK(lua_isuserdata(L, -1));
    lua_pop(L, 1);
    neap_release(tasks[i]);
  }
  static const char *const codes[] = {"return nil + 1", "x = =", "return 1"};
  for (int i = 0; i < 3; i++) {
    if (neap_dostring(f->rt, codes[i], "=code") != LUA_OK) {
      CHECK(neap_report(f->rt) != NULL);
      lua_pop(L, 1);
    }
  }
  if (neap_dofile(f->rt, "/nowhere/at/all.lua") != LUA_OK) {
    CHECK(neap_report(f->rt) != NULL);
    lua_pop(L, 1);
  }
  CHECK_TOP(f, 0);
  return passed;
}

/* ---- all together ---------------------------------------------------------------------- */

static const scenario scenarios[] = {{"smoke", run_smoke},
                                     {"embedding", run_embedding},
                                     {"queues", run_queues},
                                     {"blocks", run_blocks}};

static void test_smoke(void) {
  sweep(&scenarios[0], false);
}

static void test_smoke_lasting(void) {
  sweep(&scenarios[0], true);
}

static void test_embedding(void) {
  sweep(&scenarios[1], false);
}

static void test_embedding_lasting(void) {
  sweep(&scenarios[1], true);
}

static void test_queues(void) {
  sweep(&scenarios[2], false);
}

static void test_queues_lasting(void) {
  sweep(&scenarios[2], true);
}

static void test_blocks(void) {
  sweep(&scenarios[3], false);
}

static void test_blocks_lasting(void) {
  sweep(&scenarios[3], true);
}

static void on_any(uv_handle_t *handle, void *arg) {
  (void)handle;
  ++*(int *)arg;
}

/* A runtime that cannot start leaves a lent state and a lent loop as they were. */
static void test_lent(void) {
  bool failed = true;
  size_t n = 0;
  while (failed) {
    memory m = {0};
    uv_loop_t loop;
    int error = 0, handles = 0;
    uv_loop_init(&loop);
    lua_State *L = lua_newstate(memory_alloc, &m);
    luaL_openlibs(L);
    m.calls = 0;
    m.fail_at = ++n;
    m.fail_to = n + 1;
    neap_config config = {.size = sizeof config, .L = L, .loop = &loop};
    neap_runtime *rt = neap_new(&config, &error);
    failed = m.calls >= n;
    m.fail_at = 0;
    if (rt == NULL) {
      CHECK_INT(error, UV_ENOMEM);
      CHECK(neap_of(L) == NULL);
      CHECK_INT(lua_gettop(L), 0);
      uv_walk(&loop, on_any, &handles);
      CHECK_INT(handles, 0);
      CHECK_INT(luaL_loadstring(L,
                                "assert(coroutine.wrap(pcall)(next, {}) and\n"
                                "  require 'string')"),
                LUA_OK);
      CHECK_INT(lua_pcall(L, 0, 0, 0), LUA_OK);
      rt = neap_new(&config, &error); /* there is memory now */
    }
    if (CHECK(rt != NULL)) {
      CHECK_INT(neap_dostring(rt, "require 'neap'.sleep(0)", "=x"), LUA_OK);
      neap_free(rt);
    }
    lua_close(L);
    CHECK_INT((long long)m.bytes, 0);
    CHECK_INT(uv_loop_close(&loop), 0);
    if (atomic_load(&failed_checks) > 20) break;
  }
}

int main(void) {
  static const test_case tests[] = {
      {"a lent state and loop, the start fails", test_lent},
      {"tasks in C, one allocation fails", test_embedding},
      {"tasks in C, memory stays short", test_embedding_lasting},
      {"a script, one allocation fails", test_smoke},
      {"a script, memory stays short", test_smoke_lasting},
      {"queues, one allocation fails", test_queues},
      {"queues, memory stays short", test_queues_lasting},
      {"time-outs and groups, one allocation fails", test_blocks},
      {"time-outs and groups, memory stays short", test_blocks_lasting},
  };
  signal(SIGABRT, on_crash);
  signal(SIGSEGV, on_crash);
  signal(SIGALRM, on_crash);
  return run_tests(tests, COUNT(tests));
}
