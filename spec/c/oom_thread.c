/* SPDX-License-Identifier: MIT
 *
 * oom_thread.c - threads when memory is short: the memory of the runtime that starts them,
 * the memory that threads share, the memory of a thread. There is an error, or a Future
 * that fails; nothing hangs, nothing is lost.
 */
#include "oom.h"

#include "share.h"

/* In place of sharemem.c: any thread may call. */
static atomic_long share_blocks, share_calls, share_fails_at;
static atomic_bool share_fails_on;

void *neap__share_alloc(void *ptr, size_t size) {
  if (size == 0) {
    if (ptr != NULL) atomic_fetch_sub(&share_blocks, 1);
    free(ptr);
    return NULL;
  }
  long call = atomic_fetch_add(&share_calls, 1) + 1, at = share_fails_at;
  if (at > 0 && (call == at || (call > at && share_fails_on))) return NULL;
  void *block = realloc(ptr, size);
  if (block != NULL && ptr == NULL) atomic_fetch_add(&share_blocks, 1);
  return block;
}

static const char threads[] =
    "local neap, thread = require 'neap', require 'neap.thread'\n"
    "local t <close> = thread.start(function(a) return a.x, {1} end, {x = 7})\n"
    "assert(t:join() == 7)\n"
    "local u <close> = thread.start(function() error('no') end)\n"
    "local ok, err = pcall(u.join, u)\n"
    "assert(not ok and tostring(err):find 'no')\n"
    "local v <close> = thread.start(function()\n"
    "  require 'neap'.sleep(100) end)\n"
    "v:cancel() assert(not pcall(v.join, v))\n";

static const char jobs[] =
    "local neap, thread = require 'neap', require 'neap.thread'\n"
    "local loop <close> = thread.start_loop {name = 'x'}\n"
    "local home = neap.get_event_loop()\n"
    "local called = neap.Event()\n"
    "local f = neap.run_coroutine_threadsafe(function(h)\n"
    "  local g = neap.run_coroutine_threadsafe(function(...)\n"
    "    return select('#', ...) end, h, 1, 'a', {})\n"
    "  return g:await(), h end, loop, home)\n"
    "local n, same = f:await()\n"
    "assert(n == 3 and same == home)\n"
    "local g = neap.run_coroutine_threadsafe(function()\n"
    "  neap.Future():await() end, loop)\n"
    "neap.sleep(0) g:cancel()\n"
    "loop:call_soon_threadsafe(function() error {} end)\n"
    "local h = neap.run_coroutine_threadsafe(error, loop, 'no')\n"
    "assert(not pcall(h.await, h))\n"
    "loop:stop() loop:join() assert(loop:is_closed())\n";

static const char pools[] =
    "local neap, thread = require 'neap', require 'neap.thread'\n"
    "local pool <close> = thread.ThreadPoolExecutor(2)\n"
    "local list = {}\n"
    "for i = 1, 4 do list[i] = pool:submit(function() return i end) end\n"
    "for i = 1, 4 do assert(list[i]:await() == i) end\n"
    "local n = 0\n"
    "for x in pool:map(math.abs, {-1, -2, -3}) do n = n + x end\n"
    "assert(n == 6)\n"
    "assert(neap.to_thread(math.abs, -1) == 1)\n";

static const char channels[] =
    "local neap, thread = require 'neap', require 'neap.thread'\n"
    "local a, b <close> = thread.Channel(1), thread.Channel(0)\n"
    "local limit <close> = neap.timeout(2)\n" /* it may not get to b:close() */
    "local t <close> = thread.start(function()\n"
    "  for v in a:iter() do b:send(v) end\n"
    "  b:close() end)\n"
    "for i = 1, 3 do\n"
    "  a:send({i})\n"
    "  local ch, v = thread.select({b, thread.Channel()}, 5)\n"
    "  assert(ch == b and v and v[1] == i)\n"
    "end\n"
    "a:close() assert(b:recv() == nil) t:join()\n";

static const char programs[] = "local thread = require 'neap.thread'\n"
                               "thread.start(function()\n"
                               "  require 'neap'.sleep(100) end)\n"
                               "local pool = thread.ThreadPoolExecutor(1)\n"
                               "pool:submit(function()\n"
                               "  require 'neap'.sleep(100) end)\n"
                               "pool:submit(os.time)\n";

static bool run_threads(fixture *f) {
  return run_code(f, threads);
}
static bool run_jobs(fixture *f) {
  return run_code(f, jobs);
}
static bool run_pools(fixture *f) {
  return run_code(f, pools);
}
static bool run_channels(fixture *f) {
  return run_code(f, channels);
}
static bool run_programs(fixture *f) {
  return run_code(f, programs);
}

static const scenario list[] = {{"threads", run_threads},
                                {"jobs", run_jobs},
                                {"pools", run_pools},
                                {"channels", run_channels},
                                {"the end of the program", run_programs}};

/* One round in which the shared allocation number n fails; true when none did. */
static bool share_round(const scenario *s, long n, bool lasting) {
  fixture f;
  fixture_init(&f);
  f.config.grace = 0.05;
  failing = (size_t)n;
  for_good = lasting;
  alarm(10);
  f.rt = neap_new(&f.config, NULL);
  f.L = neap_lua(f.rt);
  share_fails_on = lasting;
  atomic_store(&share_calls, 0);
  share_fails_at = n;
  bool ok = s->run(&f);
  bool failed = atomic_load(&share_calls) >= n;
  share_fails_at = 0;
  if (!failed) CHECK(ok);
  neap_shutdown(f.rt);
  fixture_close(&f);
  CHECK_INT(share_blocks, 0);
  return !failed;
}

static bool share_sweep(const scenario *s, bool lasting) {
  atomic_store(&failed_checks, 0);
  long n = 1;
  while (!share_round(s, n, lasting)) {
    if (atomic_load(&failed_checks) > 0) {
      printf("# at shared allocation %ld%s\n", n,
             lasting ? " and all after" : "");
      break;
    }
    n++;
  }
  alarm(0);
  printf("# %s: %ld shared allocations\n", s->name, n - 1);
  return atomic_load(&failed_checks) == 0;
}

/* Threads that have too little memory themselves. */
static bool limit_sweep(void) {
  fixture f;
  atomic_store(&failed_checks, 0);
  fixture_init(&f);
  f.config.grace = 0.05;
  alarm(60);
  f.rt = neap_new(&f.config, NULL);
  f.L = neap_lua(f.rt);
  DO(&f, "local neap, thread = require 'neap', require 'neap.thread'\n"
         "local good = 0\n"
         "for limit = 1000, 150000, 700 do\n"
         "  local loop = thread.start_loop {memory_limit = limit}\n"
         "  local ok, future = pcall(neap.run_coroutine_threadsafe,\n"
         "    function(x) return #x, neap.sleep(0) end, loop,\n"
         "    ('x'):rep(20000))\n"
         "  if ok and pcall(future.await, future) then good = good + 1 end\n"
         "  loop:stop() loop:join()\n"
         "  local pool <close> = thread.ThreadPoolExecutor {\n"
         "    workers = 1, memory_limit = limit}\n"
         "  local a, b = pool:submit(math.abs, -1), pool:submit(error, 'x')\n"
         "  neap.wait {a, b} a:exception() b:exception()\n"
         "end\n"
         "assert(good > 0 and good < 200, good)\n");
  neap_shutdown(f.rt);
  fixture_close(&f);
  alarm(0);
  CHECK_INT(share_blocks, 0);
  return atomic_load(&failed_checks) == 0;
}

int main(void) {
  int failed = sweep_all(list, COUNT(list));
  int passed = 0, bad = 0;
  for (size_t i = 0; i < 2 * COUNT(list); i++) {
    bool ok = share_sweep(&list[i / 2], i % 2 == 1);
    printf("%s - %s, %s\n", ok ? "ok" : "not ok", list[i / 2].name,
           i % 2 == 1 ? "shared memory stays short"
                      : "one shared allocation fails");
    fflush(stdout);
    *(ok ? &passed : &bad) += 1;
  }
  bool ok = limit_sweep();
  printf("%s - threads with little memory\n", ok ? "ok" : "not ok");
  *(ok ? &passed : &bad) += 1;
  printf("%d passed, %d failed\n", passed, bad);
  return failed || bad > 0;
}
