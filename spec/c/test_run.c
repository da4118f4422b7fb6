/* SPDX-License-Identifier: MIT
 *
 * test_run.c - running Lua code and the loop: neap_call and its kin, neap_run,
 * neap_step with a descriptor and a time-out, neap_stop, neap_interrupt, neap_exit.
 */
#include "test.h"

#include <poll.h>
#include <unistd.h>

/* ---- calls --------------------------------------------------------------------------- */

static void test_call(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  lua_pushliteral(f.L, "below");
  push_function(&f, "function(a, b) neap.sleep(0.001) return b, a, 'c' end");
  lua_pushinteger(f.L, 1);
  lua_pushinteger(f.L, 2);
  CHECK_INT(neap_call(f.rt, 2, 2), LUA_OK);
  CHECK_TOP(&f, 3);
  CHECK_INT(lua_tointeger(f.L, 2), 2);
  CHECK_INT(lua_tointeger(f.L, 3), 1);
  lua_settop(f.L, 1);
  push_function(&f, "function() return 1, nil, 3 end");
  CHECK_INT(neap_call(f.rt, 0, LUA_MULTRET), LUA_OK);
  CHECK_TOP(&f, 4);
  CHECK_STR(lua_tostring(f.L, 1), "below");
  lua_settop(f.L, 0);
  fixture_close(&f);
}

static void test_call_error(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  push_function(&f, "function() error {code = 7} end");
  CHECK_INT(neap_call(f.rt, 0, 5), LUA_ERRRUN);
  CHECK_TOP(&f, 1);
  lua_getfield(f.L, 1, "code");
  CHECK_INT(lua_tointeger(f.L, -1), 7);
  lua_settop(f.L, 1);
  CHECK_HAS(neap_report(f.rt), "(error object is a table value)");
  CHECK_TOP(&f, 1);
  lua_settop(f.L, 0);
  lua_pushnil(f.L);
  CHECK_INT(neap_call(f.rt, 0, 0), LUA_ERRRUN);
  CHECK_HAS(neap_report(f.rt), "attempt to call a nil value");
  lua_settop(f.L, 0);
  push_function(&f, "function() error() end");
  CHECK_INT(neap_call(f.rt, 0, 0), LUA_ERRRUN);
  CHECK_HAS(neap_report(f.rt), "nil");
  lua_settop(f.L, 0);
  fixture_close(&f);
}

static void test_report(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  CHECK_INT(neap_dostring(f.rt,
                          "local function deep() error 'deep down' end\n"
                          "neap.gather(function()\n  neap.sleep(0)\n"
                          "  deep()\nend)",
                          "=chunk"),
            LUA_ERRRUN);
  const char *report = neap_report(f.rt);
  CHECK_HAS(report, "chunk:1: deep down\nstack traceback:");
  CHECK_HAS(report, "chunk:4: in ");
  CHECK_HAS(report, "in task 'Task-1', created at chunk:2");
  lua_pop(f.L, 1);
  DO_FAIL(&f,
          "error(setmetatable({}, {__tostring = function()\n"
          "  return 'made by tostring' end}))",
          "made by tostring");
  DO_FAIL(&f, "error(setmetatable({}, {__tostring = error}))",
          "error object is a table value");
  DO_FAIL(&f, "error(neap.TimeoutError 'too late')", "TimeoutError: too late");
  fixture_close(&f);
}

static void test_dostring(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  CHECK_INT(neap_dostring(f.rt, "return 1, 2", "=x"), LUA_OK);
  CHECK_TOP(&f, 0);
  CHECK_INT(neap_dostring(f.rt, "x =", "=x"), LUA_ERRSYNTAX);
  CHECK_HAS(neap_report(f.rt), "x:1: unexpected symbol near <eof>");
  lua_pop(f.L, 1);
  CHECK_TOP(&f, 0);
  fixture_close(&f);
}

static void test_dofile(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  char path[] = "/tmp/neap-test-XXXXXX";
  int fd = mkstemp(path);
  REQUIRE(fd >= 0);
  static const char code[] = "#!/usr/bin/neap\nneap.sleep(0.001) x = 41 + 1\n";
  CHECK(write(fd, code, sizeof code - 1) == sizeof code - 1);
  close(fd);
  CHECK_INT(neap_dofile(f.rt, path), LUA_OK);
  CHECK_INT(global_int(&f, "x"), 42);
  unlink(path);
  CHECK_INT(neap_dofile(f.rt, path), LUA_ERRFILE);
  CHECK_HAS(neap_report(f.rt), "cannot open");
  lua_pop(f.L, 1);
  CHECK_TOP(&f, 0);
  fixture_close(&f);
}

static int l_call(lua_State *L) {
  neap_runtime *rt = neap_of(L);
  lua_State *main = neap_lua(rt);
  lua_getglobal(main, "print");
  lua_pushinteger(L, neap_call(rt, 0, 0));
  lua_pushstring(L, lua_tostring(main, main == L ? -2 : -1));
  lua_pop(main, main == L ? 0 : 1);
  return 2;
}

static int l_run(lua_State *L) {
  lua_pushinteger(L, neap_run(neap_of(L)));
  return 1;
}

static int l_step(lua_State *L) {
  lua_pushinteger(L, neap_step(neap_of(L), 0));
  return 1;
}

static void test_busy(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  lua_register(f.L, "c_call", l_call);
  lua_register(f.L, "c_run", l_run);
  lua_register(f.L, "c_step", l_step);
  DO(&f, "call, message = neap.create_task(c_call):await()\n"
         "run = neap.create_task(c_run):await()\n"
         "step = neap.create_task(c_step):await()\n"
         "neap.get_event_loop():call_soon(function() run2 = c_run() end)\n"
         "neap.sleep(0.001)");
  CHECK_INT(global_int(&f, "call"), LUA_ERRRUN);
  CHECK_HAS(global_text(&f, "message"), "running event loop");
  CHECK_INT(global_int(&f, "run"), UV_EBUSY);
  CHECK_INT(global_int(&f, "run2"), UV_EBUSY);
  CHECK_INT(global_int(&f, "step"), UV_EBUSY);
  /* A C function of the root may use them all. */
  DO(&f, "neap.create_task(function() neap.sleep(0.001) ran = true end)\n"
         "assert(c_run() == 0 and ran)\nassert(c_step() == 0)");
  fixture_close(&f);
}

/* ---- neap_run ------------------------------------------------------------------------- */

static void test_run(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  CHECK_INT(neap_run(f.rt), 0);
  DO(&f, "n = 0\n"
         "for i = 1, 10 do neap.create_task(function()\n"
         "  neap.sleep(i / 1000) n = n + 1\n"
         "end) end\n"
         "neap.create_task(function()\n" /* counts from the same turn */
         "  neap.get_event_loop():call_later(0.015, function() last = n end)\n"
         "end)");
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_INT(global_int(&f, "last"), 10);
  CHECK_INT(neap_run(f.rt), 0);
  fixture_close(&f);
}

static void test_run_deadlock(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  DO(&f, "event = neap.Event()\n"
         "task = neap.create_task(event.wait, event):set_name 'stuck'");
  CHECK_INT(neap_run(f.rt), NEAP_EDEADLK);
  CHECK_INT(f.unhandled, 1);
  CHECK_HAS(f.reports, "\"stuck\"");
  CHECK_HAS(f.reports, "Event:wait");
  DO(&f, "event:set()");
  CHECK_INT(neap_run(f.rt), 0);
  DO_FAIL(&f, "neap.Event():wait()", "DeadlockError");
  fixture_close(&f);
}

static void on_thread_stop(void *arg) {
  usleep(20000);
  neap_stop(arg);
}

static void test_stop(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  DO(&f, "task = neap.create_task(neap.sleep, 60)");
  uv_thread_t thread;
  uv_thread_create(&thread, on_thread_stop, f.rt);
  CHECK_INT(neap_run(f.rt), UV_EINTR);
  uv_thread_join(&thread);
  /* Before a run it counts for the next one, and only for that. */
  neap_stop(f.rt);
  CHECK_INT(neap_run(f.rt), UV_EINTR);
  DO(&f, "task:cancel()");
  CHECK_INT(neap_run(f.rt), 0);
  fixture_close(&f);
}

typedef struct stopper {
  neap_runtime *rt;
  atomic_bool enough;
} stopper;

static void on_thread_busy(void *arg) {
  stopper *s = arg;
  while (!atomic_load(&s->enough))
    neap_stop(s->rt);
}

static void test_stop_often(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  DO(&f, "task = neap.create_task(function() while true do neap.sleep(0) end "
         "end)");
  uv_thread_t thread;
  stopper s = {.rt = f.rt};
  uv_thread_create(&thread, on_thread_busy, &s);
  for (int i = 0; i < 20; i++)
    CHECK_INT(neap_run(f.rt), UV_EINTR);
  atomic_store(&s.enough, true);
  uv_thread_join(&thread);
  neap_stop(f.rt);
  CHECK_INT(neap_run(f.rt), UV_EINTR);
  fixture_close(&f);
}

static void test_stop_in_task(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  lua_pushlightuserdata(f.L, f.rt);
  DO(&f, "loop = neap.get_event_loop()\n"
         "task = neap.create_task(function()\n"
         "  loop:stop() neap.sleep(0.001) after = true\n"
         "end)");
  /* loop:stop() is Lua's way: the run just ends. */
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_STR(global_text(&f, "after"), "nil");
  CHECK_INT(neap_run(f.rt), 0);
  CHECK_STR(global_text(&f, "after"), "true");
  lua_settop(f.L, 0);
  fixture_close(&f);
}

/* ---- neap_step ------------------------------------------------------------------------- */

static void test_step(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  CHECK_INT(neap_step(f.rt, 0), 0);
  CHECK_INT(neap_step(f.rt, -1), 0); /* nothing to wait for: does not hang */
  DO(&f, "n = 0 neap.create_task(function()\n"
         "  for i = 1, 3 do neap.sleep(0.1) n = n + 1 end\nend)");
  int frames = 0, pending;
  while ((pending = neap_step(f.rt, 0.001)) > 0 && ++frames < 1000)
    CHECK_INT(pending, 1);
  CHECK_INT(pending, 0);
  CHECK(frames > 3);
  CHECK_INT(global_int(&f, "n"), 3);
  /* A step with time to spare ends with the first event. */
  DO(&f, "neap.create_task(neap.sleep, 0.01)");
  uint64_t begin = uv_hrtime();
  while (neap_step(f.rt, 60) > 0) {
  }
  CHECK(uv_hrtime() - begin < 50000000000u);
  fixture_close(&f);
}

static void test_step_counts(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  DO(&f, "t1 = neap.create_task(neap.sleep, 60)\n"
         "t2 = neap.create_task(neap.sleep, 60)\n"
         "h = neap.get_event_loop():call_later(60, print)");
  CHECK_INT(neap_step(f.rt, 0), 3);
  DO(&f, "h:cancel()");
  CHECK_INT(neap_step(f.rt, 0), 2);
  DO(&f, "t1:cancel() t2:cancel()");
  neap_step(f.rt, 0);
  CHECK_INT(neap_step(f.rt, 0), 0);
  fixture_close(&f);
}

/* What a foreign loop does: poll the descriptor for as long as neap_timeout says. */
static void poll_until(fixture *f, const char *global) {
  for (int i = 0; i < 1000; i++) {
    double timeout = neap_timeout(f->rt);
    struct pollfd fd = {.fd = neap_backend_fd(f->rt), .events = POLLIN};
    int ms = timeout < 0 ? 1000 : (int)(timeout * 1000 + 0.999);
    poll(&fd, 1, ms);
    neap_step(f->rt, 0);
    if (strcmp(global_text(f, global), "true") == 0) return;
  }
  test_failed(__FILE__, __LINE__, "%s did not come", global);
}

static void test_timeout(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  CHECK(neap_backend_fd(f.rt) >= 0);
  CHECK(neap_timeout(f.rt) < 0);
  DO(&f, "task = neap.create_task(function() neap.sleep(60) end)");
  CHECK(neap_timeout(f.rt) == 0);
  neap_step(f.rt, 0);
  double timeout = neap_timeout(f.rt);
  CHECK(timeout > 30 && timeout <= 60);
  DO(&f, "task:cancel()");
  CHECK(neap_timeout(f.rt) == 0);
  neap_step(f.rt, 0);
  neap_step(f.rt, 0);
  CHECK(neap_timeout(f.rt) < 0);
  DO(&f, "neap.create_task(function() neap.sleep(0.01) done = true end)");
  poll_until(&f, "done");
  fixture_close(&f);
}

typedef struct pipe_watch {
  uv_poll_t poll;
  int fds[2];
  fixture *f;
} pipe_watch;

static void on_readable(uv_poll_t *poll, int status, int events) {
  pipe_watch *w = poll->data;
  char byte;
  CHECK_INT(status, 0);
  CHECK(events & UV_READABLE);
  CHECK(read(w->fds[0], &byte, 1) == 1);
  lua_pushboolean(w->f->L, 1);
  lua_setglobal(w->f->L, "readable");
  uv_close((uv_handle_t *)poll, NULL);
}

static void on_thread_write(void *arg) {
  pipe_watch *w = arg;
  usleep(20000);
  CHECK(write(w->fds[1], "x", 1) == 1);
}

static void test_backend_fd(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  pipe_watch w = {.f = &f};
  CHECK(pipe(w.fds) == 0);
  uv_poll_init(neap_loop(f.rt), &w.poll, w.fds[0]);
  w.poll.data = &w;
  uv_poll_start(&w.poll, UV_READABLE, on_readable);
  neap_step(f.rt, 0);
  uv_thread_t thread;
  uv_thread_create(&thread, on_thread_write, &w);
  poll_until(&f, "readable");
  uv_thread_join(&thread);
  close(w.fds[0]);
  close(w.fds[1]);
  fixture_close(&f);
}

/* ---- interrupts -------------------------------------------------------------------------- */

static void on_thread_interrupt(void *arg) {
  usleep(20000);
  neap_interrupt(arg, SIGINT, false);
}

static void test_interrupt(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  uv_thread_t thread;
  uv_thread_create(&thread, on_thread_interrupt, f.rt);
  DO_FAIL(&f,
          "local _ <close> = setmetatable({}, {__close = function()\n"
          "  neap.sleep(0.001) closed = true end})\nneap.sleep(60)",
          "KeyboardInterrupt");
  uv_thread_join(&thread);
  CHECK_STR(global_text(&f, "closed"), "true");
  DO(&f, "neap.create_task(neap.sleep, 60)");
  uv_thread_create(&thread, on_thread_interrupt, f.rt);
  CHECK_INT(neap_run(f.rt), UV_EINTR);
  uv_thread_join(&thread);
  neap_interrupt(f.rt, SIGTERM, false);
  DO_FAIL(&f, "neap.sleep(60)", "SystemExit");
  DO(&f, "neap.sleep(0.001)");
  fixture_close(&f);
}

static void test_interrupt_step(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  DO(&f, "neap.create_task(neap.sleep, 60)");
  CHECK_INT(neap_step(f.rt, 0), 1);
  neap_interrupt(f.rt, SIGINT, false);
  CHECK_INT(neap_step(f.rt, 0), UV_EINTR);
  CHECK_INT(neap_step(f.rt, 0), 1);
  fixture_close(&f);
}

static neap_runtime *alarmed; /* a signal handler is given nothing of ours */

static void on_alarm(int signal) {
  (void)signal;
  neap_interrupt(alarmed, SIGINT, true);
}

static void test_interrupt_busy(void) {
  fixture f;
  if (SIGNALS_WAIT) return;
  REQUIRE(fixture_start(&f));
  alarmed = f.rt;
  signal(SIGALRM, on_alarm);
  ualarm(20000, 0);
  DO_FAIL(&f, "while true do end", "KeyboardInterrupt");
  ualarm(20000, 0);
  DO_FAIL(&f, "neap.gather(function() while true do end end)",
          "KeyboardInterrupt");
  ualarm(20000, 0);
  DO_FAIL(&f,
          "neap.gather(coroutine.wrap(function()\n"
          "  while true do end end))",
          "KeyboardInterrupt");
  signal(SIGALRM, SIG_DFL);
  DO(&f, "neap.sleep(0.001)");
  fixture_close(&f);
}

/* ---- neap_exit ----------------------------------------------------------------------------- */

static int l_exit(lua_State *L) {
  return neap_exit(L);
}

static void test_exit(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  lua_register(f.L, "exit", l_exit);
  CHECK_INT(neap_exit(f.L), UV_EINVAL);
  DO_FAIL(&f,
          "neap.create_task(function()\n"
          "  local _ <close> = setmetatable({}, {__close = function()\n"
          "    closed = true end})\n"
          "  pcall(exit) passed = true\n"
          "end)\nneap.sleep(60)",
          "SystemExit");
  CHECK_STR(global_text(&f, "passed"), "nil");
  CHECK_STR(global_text(&f, "closed"), "nil");
  neap_shutdown(f.rt);
  CHECK_STR(global_text(&f, "closed"), "true");
  CHECK_INT(f.unhandled, 0);
  fixture_close(&f);
}

static void test_exit_elsewhere(void) {
  fixture f;
  REQUIRE(fixture_start(&f));
  lua_register(f.L, "exit", l_exit);
  DO(&f, "neap.create_task(exit)");
  CHECK_INT(neap_run(f.rt), UV_EINTR);
  DO(&f,
     "neap.get_event_loop():call_soon(exit) neap.create_task(neap.sleep, 9)");
  CHECK_INT(neap_run(f.rt), UV_EINTR);
  DO(&f, "neap.create_task(function() table.sort({2, 1}, exit) end)");
  CHECK_INT(neap_run(f.rt), UV_EINTR);
  DO(&f, "neap.create_task(coroutine.wrap(function() exit() end))");
  CHECK_INT(neap_run(f.rt), UV_EINTR);
  CHECK_INT(f.unhandled, 0);
  fixture_close(&f);
}

int main(void) {
  static const test_case tests[] = {
      {"neap_call gives results and keeps the stack below", test_call},
      {"neap_call gives the error value itself", test_call_error},
      {"neap_report shows the frames of the task", test_report},
      {"neap_dostring runs and tells syntax errors", test_dostring},
      {"neap_dofile runs and tells missing files", test_dofile},
      {"inside a turn they are refused", test_busy},
      {"neap_run runs what is pending to its end", test_run},
      {"neap_run reports what nothing can wake", test_run_deadlock},
      {"neap_stop ends neap_run from another thread", test_stop},
      {"neap_stop may come at any moment", test_stop_often},
      {"loop:stop() ends neap_run after the turn", test_stop_in_task},
      {"neap_step is one turn of at most its time", test_step},
      {"neap_step counts what is pending", test_step_counts},
      {"neap_timeout says when to step again", test_timeout},
      {"neap_backend_fd is readable when there are events", test_backend_fd},
      {"neap_interrupt raises at the root's wait", test_interrupt},
      {"neap_interrupt ends a step and is over then", test_interrupt_step},
      {"neap_interrupt stops busy code from a handler", test_interrupt_busy},
      {"neap_exit leaves a task suspended and ends the root", test_exit},
      {"neap_exit works where a task cannot wait", test_exit_elsewhere},
  };
  return run_tests(tests, COUNT(tests));
}
