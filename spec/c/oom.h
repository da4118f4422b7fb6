/* SPDX-License-Identifier: MIT
 *
 * oom.h - runs a scenario with the Nth allocation failing, for every N until it passes
 * without noticing.
 */
#ifndef OOM_H
#define OOM_H

#include "test.h"

#include <unistd.h>

typedef struct scenario {
  const char *name;
  bool (*run)(fixture *f); /* true when all went as if memory was plenty */
} scenario;

static volatile size_t failing; /* the N of this round, for the crash report */
static volatile bool for_good;

static inline void on_crash(int signal) {
  char text[80];
  int n = snprintf(text, sizeof text, "# signal %d at allocation %zu%s\n",
                   signal, failing, for_good ? " and all after" : "");
  if (write(STDOUT_FILENO, text, (size_t)n) < 0) _exit(2);
  _exit(1);
}

/* Runs Lua code; true when nothing was raised. */
static bool run_code(fixture *f, const char *code) {
  int status = neap_dostring(f->rt, code, "=smoke");
  if (status != LUA_OK) {
    CHECK(neap_report(f->rt) != NULL);
    lua_pop(f->L, 1);
    return false;
  }
  return true;
}

/* One round; true when no allocation failed. */
static bool round_of(const scenario *s, size_t n, bool lasting) {
  fixture f;
  fixture_init(&f);
  f.config.grace = 0.05;
  f.memory.fail_at = n;
  /* Lua collects garbage and tries once more. */
  f.memory.fail_to = lasting ? SIZE_MAX : n + 1;
  failing = n;
  for_good = lasting;
  alarm(60); /* a hang */
  int error = 0;
  f.rt = neap_new(&f.config, &error);
  if (f.rt == NULL) {
    CHECK_INT(error, UV_ENOMEM);
    CHECK_INT((long long)f.memory.bytes, 0);
    return false;
  }
  f.L = neap_lua(f.rt);
  s->run(&f);
  bool failed = f.memory.calls >= n;
  if (failed) {
    /* There is memory again: the runtime works as before. */
    f.memory.fail_at = 0;
    DO(&f, "local neap = require 'neap'\n"
           "local function f() neap.sleep(0) return 1 end\n"
           "assert(neap.gather(f, f) == 1)\n"
           "assert(not lost, 'an item was lost')");
    f.memory.calls = 0;
    f.memory.fail_at = n % 7 + 1; /* and fails at the very end, too */
  }
  neap_shutdown(f.rt);
  fixture_close(&f);
  return !failed;
}

static void sweep(const scenario *s, bool lasting) {
  size_t n = 1;
  int before = atomic_load(&failed_checks);
  for (; !round_of(s, n, lasting); n++) {
    if (atomic_load(&failed_checks) != before) {
      printf("# at allocation %zu%s of %s\n", n,
             lasting ? " and all after" : "", s->name);
      before = atomic_load(&failed_checks);
      if (before > 20) return;
    }
  }
  alarm(0);
  printf("# %s: %zu allocations\n", s->name, n - 1);
}

/* A test program: each scenario with one allocation failing, and with all from there on.
 * Its exit code. */
static inline int sweep_all(const scenario *list, size_t count) {
  static const char *const how[] = {"one allocation fails",
                                    "memory stays short"};
  int failed = 0;
  signal(SIGABRT, on_crash);
  signal(SIGSEGV, on_crash);
  signal(SIGALRM, on_crash);
  for (size_t i = 0; i < 2 * count; i++) {
    atomic_store(&failed_checks, 0);
    sweep(&list[i / 2], i % 2 == 1);
    bool ok = atomic_load(&failed_checks) == 0;
    failed += !ok;
    printf("%s %zu - %s, %s\n", ok ? "ok" : "not ok", i + 1, list[i / 2].name,
           how[i % 2]);
    fflush(stdout);
  }
  printf("%d passed, %d failed\n", (int)(2 * count) - failed, failed);
  return failed > 0;
}

#endif
