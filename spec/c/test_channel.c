/* SPDX-License-Identifier: MIT
 *
 * test_channel.c - channels under several threads, each with a runtime of its own: every
 * value that was sent is received exactly once, whatever is cancelled, closed or shut
 * down meanwhile.
 */
#include "test.h"

#include "channel.h"

#define VALUES 200000
#define CHANNELS 4

/* What became of each value. */
static atomic_uchar sent[VALUES], got[VALUES];
static neap__shared *channels[CHANNELS];
static atomic_int enough;

static int l_note_sent(lua_State *L) {
  atomic_fetch_add(&sent[luaL_checkinteger(L, 1)], 1);
  return 0;
}

static int l_note_got(lua_State *L) {
  atomic_fetch_add(&got[luaL_checkinteger(L, 1)], 1);
  return 0;
}

static int l_enough(lua_State *L) {
  lua_pushboolean(L, atomic_load(&enough));
  return 1;
}

/* A runtime with the shared channels as globals ch1, ch2... and a list `all`. */
static bool open_worker(fixture *f, int id) {
  if (!fixture_start(f)) return false;
  f->config.grace = 2;
  lua_register(f->L, "note_sent", l_note_sent);
  lua_register(f->L, "note_got", l_note_got);
  lua_register(f->L, "enough", l_enough);
  lua_pushinteger(f->L, id);
  lua_setglobal(f->L, "id");
  lua_createtable(f->L, 0, 0);
  for (int i = 0; i < CHANNELS; i++) {
    char name[16];
    if (channels[i] == NULL) break;
    neap__shared_push(f->L, f->rt, channels[i]);
    lua_pushvalue(f->L, -1);
    lua_rawseti(f->L, -3, i + 1);
    snprintf(name, sizeof name, "ch%d", i + 1);
    lua_setglobal(f->L, name);
  }
  lua_setglobal(f->L, "all");
  return DO(
      f,
      "thread = require 'neap.thread' math.randomseed(id)\n"
      "function pause() if math.random(4) == 1 then neap.sleep(0) end end\n");
}

typedef struct worker {
  uv_thread_t thread;
  int id;
  const char *code;
  int rounds; /* how often, each time with a new runtime */
} worker;

static void on_worker(void *arg) {
  worker *w = arg;
  for (int i = 0; i < w->rounds; i++) {
    fixture f;
    if (!open_worker(&f, w->id + 100 * i)) return;
    DO(&f, w->code);
    CHECK_INT(f.unhandled, 0);
    if (f.unhandled > 0) puts(f.reports);
    fixture_close(&f);
  }
}

/* Makes the channels in a runtime of their own, which goes. */
static void make_channels(const int *capacities, int n) {
  fixture f;
  memset(sent, 0, sizeof sent);
  memset(got, 0, sizeof got);
  memset(channels, 0, sizeof channels);
  atomic_store(&enough, 0);
  if (!fixture_start(&f)) return;
  DO(&f, "thread = require 'neap.thread'");
  for (int i = 0; i < n; i++) {
    char code[80];
    snprintf(code, sizeof code, "ch = thread.Channel(%d >= 0 and %d or nil)",
             capacities[i], capacities[i]);
    DO(&f, code);
    lua_getglobal(f.L, "ch");
    channels[i] = neap__shared_ref(neap__shared_at(f.L, f.rt, -1));
    lua_pop(f.L, 1);
  }
  fixture_close(&f);
}

/* What is left in the channels counts as received. */
static void drain(void) {
  fixture f;
  if (!open_worker(&f, 0)) return;
  DO(&f, "for _, ch in ipairs(all) do\n"
         "  for v in ch.try_recv, ch do note_got(v) end\n"
         "  assert(#ch == 0)\nend\n"
         "all, ch = nil");
  fixture_close(&f);
}

static void drop_channels(void) {
  for (int i = 0; i < CHANNELS; i++) {
    if (channels[i] != NULL) CHECK_INT((int)atomic_load(&channels[i]->refs), 1);
    neap__shared_unref(channels[i]);
    channels[i] = NULL;
  }
}

/* `want`: how many were sent for certain, or -1. */
static void check_books(int want) {
  int lost = 0, doubled = 0, n = 0;
  for (int i = 0; i < VALUES; i++) {
    n += got[i];
    lost += sent[i] > got[i];
    doubled += got[i] > 1;
  }
  CHECK_INT(lost, 0);
  CHECK_INT(doubled, 0);
  if (want >= 0) CHECK_INT(n, want);
  CHECK(n > 0);
}

static void run_workers(worker *workers, size_t n) {
  for (size_t i = 0; i < n; i++) {
    workers[i].id = (int)i + 1;
    if (workers[i].rounds == 0) workers[i].rounds = 1;
    CHECK_INT(uv_thread_create(&workers[i].thread, on_worker, &workers[i]), 0);
  }
  for (size_t i = 0; i < n; i++)
    uv_thread_join(&workers[i].thread);
}

/* ---- many producers, many consumers ------------------------------------------------- */

static const char producer[] =
    "for i = 0, 4999 do ch1:send(id * 5000 + i) end ch2:send(true)";
/* Of one sender's values each receiver gets the older ones first. */
static const char consumer[] = "local last = {}\n"
                               "for v in ch1:iter() do\n"
                               "  note_got(v)\n"
                               "  local who = v // 5000\n"
                               "  assert(v > (last[who] or -1), 'order')\n"
                               "  last[who] = v\nend";
/* The same in three tasks. */
static const char consumers[] =
    "local function body()\n"
    "  for v in ch1:iter() do note_got(v) pause() end end\n"
    "neap.gather(body, body, body)";
static const char closer[] = "for _ = 1, 3 do ch2:recv() end ch1:close()";

static void test_many(void) {
  static const int capacities[] = {0, 1, 16, 1024, -1};
  for (size_t i = 0; i < COUNT(capacities); i++) {
    int both[] = {capacities[i], -1};
    make_channels(both, 2);
    worker workers[] = {{.code = producer},  {.code = producer},
                        {.code = producer},  {.code = consumer},
                        {.code = consumers}, {.code = closer}};
    run_workers(workers, COUNT(workers));
    check_books(15000);
    drop_channels();
  }
}

/* ---- cancelled senders and receivers --------------------------------------------------- */

/* Tasks that are cancelled at any moment, or run out of time. */
static const char torn_sender[] =
    "local v = id * 20000\n"
    "local function body()\n"
    "  while not enough() do\n"
    "    v = v + 1\n"
    "    if v >= id * 20000 + 20000 then break end\n"
    "    local mine = v\n"
    "    all[math.random(#all)]:send(mine) note_sent(mine)\n"
    "    pause()\n"
    "  end\nend\n"
    "for round = 1, 150 do\n"
    "  local tasks = {}\n"
    "  for i = 1, 4 do tasks[i] = neap.create_task(body) end\n"
    "  for i = 1, math.random(20) do neap.sleep(0) end\n"
    "  for i = 1, 4 do tasks[i]:cancel() pause() end\n"
    "  neap.wait(tasks)\n"
    "end\n";
static const char torn_receiver[] =
    "local function body()\n"
    "  while not enough() do\n"
    "    local v\n"
    "    if math.random(2) == 1 then\n"
    "      v = all[math.random(#all)]:recv()\n"
    "    else\n"
    "      local _, w = thread.select(all, math.random(3) * 0.0002)\n"
    "      v = w\n"
    "    end\n"
    "    if v then note_got(v) end\n"
    "    pause()\n"
    "  end\nend\n"
    "for round = 1, 150 do\n"
    "  local tasks = {}\n"
    "  for i = 1, 4 do tasks[i] = neap.create_task(body) end\n"
    "  for i = 1, math.random(20) do neap.sleep(0) end\n"
    "  neap.sleep(0.0005)\n"
    "  for i = 1, 4 do tasks[i]:cancel() pause() end\n"
    "  neap.wait(tasks)\n"
    "end\n";

static void test_cancelled(void) {
  int capacities[] = {0, 1, 7, -1};
  make_channels(capacities, 4);
  worker workers[] = {{.code = torn_sender},
                      {.code = torn_sender},
                      {.code = torn_receiver},
                      {.code = torn_receiver}};
  run_workers(workers, COUNT(workers));
  drain();
  check_books(-1);
  drop_channels();
}

/* ---- runtimes that end while they wait --------------------------------------------------- */

static const char steady_sender[] =
    "all[4] = nil\n"
    "for i = 1, 3000 do\n"
    "  local v = id * 20000 + i\n"
    "  all[i % #all + 1]:send(v) note_sent(v)\n"
    "  if i % 50 == 0 then neap.sleep(0.0005) end\n"
    "end ch4:send(1)";
/* Leaves its tasks waiting; what they had been given is there for others. */
static const char brief[] =
    "for i = 1, 5 do\n"
    "  neap.create_task(function()\n"
    "    while true do\n"
    "      local _, v = thread.select { ch1, ch2, ch3 }\n"
    "      note_got(v)\n"
    "    end\n"
    "  end)\n"
    "  neap.create_task(function()\n"
    "    for v in all[i % 3 + 1]:iter() do note_got(v) end\n"
    "  end)\n"
    "end\n"
    "neap.sleep(0.002)";
static const char steady_receiver[] =
    "all[4] = nil\n"
    "local t = neap.create_task(function()\n"
    "  while true do local _, v = thread.select(all) note_got(v) end end)\n"
    "ch4:recv() ch4:recv() t:cancel()";

static void test_shutdown(void) {
  int capacities[] = {0, 3, -1, 9};
  make_channels(capacities, 4);
  worker workers[] = {{.code = steady_sender},
                      {.code = steady_sender},
                      {.code = brief, .rounds = 60},
                      {.code = brief, .rounds = 60},
                      {.code = steady_receiver}};
  run_workers(workers, COUNT(workers));
  drain();
  check_books(-1);
  drop_channels();
}

/* A runtime whose tasks are closed by force: they do not end when they are cancelled. */
static void test_forced(void) {
  int capacities[] = {2, 0};
  make_channels(capacities, 2);
  fixture f, other;
  REQUIRE(open_worker(&f, 1));
  REQUIRE(open_worker(&other, 2));
  f.config.grace = 0.01;
  DO(&f, "for i = 1, 3 do neap.create_task(function()\n"
         "  while true do pcall(ch1.recv, ch1) end end) end\n"
         "for i = 1, 3 do neap.create_task(function()\n"
         "  while true do pcall(ch2.send, ch2, i) end end) end\n"
         "neap.create_task(function()\n"
         "  while true do pcall(thread.select, { ch1, ch1 }, 1000) end end)\n"
         "neap.sleep(0)");
  DO(&other, "ch1:send(5) ch1:send(6) assert(ch2:recv() == 1)");
  CHECK(neap_shutdown(f.rt) > 0);
  DO(&other, "assert(ch1:try_recv() == 5 and ch1:try_recv() == 6)\n"
             "assert(select('#', ch2:try_recv()) == 2) assert(#ch2 == 0)");
  fixture_close(&f);
  fixture_close(&other);
  drop_channels();
}

/* ---- closing --------------------------------------------------------------------------------- */

static const char waits_for_close[] =
    "local function recv() for v in ch1:iter() do end end\n"
    "local function send()\n"
    "  local ok, err = pcall(function() while true do ch2:send(1) end end)\n"
    "  assert(not ok and neap.QueueShutDown:is(err), err)\nend\n"
    "local function pick()\n"
    "  while thread.select({ ch1, ch3 }) ~= ch1 do end end\n"
    "neap.gather(recv, send, pick, recv, send, pick)";
static const char closes[] =
    "neap.sleep(0.01) ch1:close() ch2:close() ch2:close()";

static void test_closed(void) {
  for (int i = 0; i < 20; i++) {
    int capacities[] = {i % 3, i % 2, 1};
    make_channels(capacities, 3);
    worker workers[] = {{.code = waits_for_close},
                        {.code = waits_for_close},
                        {.code = closes},
                        {.code = closes}};
    run_workers(workers, COUNT(workers));
    drop_channels();
  }
}

/* ---- what keeps a loop alive --------------------------------------------------------------------- */

/* A wait for a channel that only this runtime knows is found to be one for nothing; it
 * is not once the channel has crossed, even if somebody waited by then. */
static void test_liveness(void) {
  fixture f, other;
  REQUIRE(fixture_start(&f));
  REQUIRE(fixture_start(&other));
  DO(&f, "ch = require 'neap.thread'.Channel()");
  DO_FAIL(&f, "ch:recv()", "Channel:recv");
  DO(&f, "t = neap.create_task(function() return ch:recv() end)\n"
         "neap.sleep(0)");
  CHECK_INT(neap_run(f.rt), NEAP_EDEADLK);
  CHECK_INT((int)f.rt->loop->nremote, 0);
  lua_getglobal(f.L, "ch");
  neap__shared_push(other.L, other.rt, neap__shared_at(f.L, f.rt, -1));
  lua_setglobal(other.L, "ch");
  lua_pop(f.L, 1);
  CHECK_INT((int)f.rt->loop->nremote, 1);
  DO(&other, "ch:send(7)");
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_INT((int)f.rt->loop->nremote, 0);
  DO(&f, "assert(t:await() == 7)");
  fixture_close(&f);
  DO(&other, "ch:send(8) assert(ch:recv() == 8)");
  fixture_close(&other);
}

int main(void) {
  static const test_case tests[] = {
      {"many producers and consumers", test_many},
      {"senders and receivers that are cancelled", test_cancelled},
      {"runtimes that end while their tasks wait", test_shutdown},
      {"tasks that are closed by force", test_forced},
      {"closed while threads wait", test_closed},
      {"what keeps a loop alive", test_liveness},
  };
  return run_tests(tests, COUNT(tests));
}
