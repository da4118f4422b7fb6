/* SPDX-License-Identifier: MIT
 *
 * test.h - what the C tests share: cases, checks, an allocator that keeps books, and
 * a runtime whose reports are collected.
 *
 * A program lists its cases in a table and ends with `return run_tests(...)`. A failed
 * CHECK is printed and the case goes on; a failed REQUIRE leaves the function.
 */
#ifndef NEAP_SPEC_TEST_H
#define NEAP_SPEC_TEST_H

#include "neap.h"

#include <lauxlib.h>
#include <lualib.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define CONTAINER_OF(ptr, type, member)                                        \
  ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* ThreadSanitizer holds signals back until the next call of the C library, which a loop
 * in Lua never makes. */
#if defined(__SANITIZE_THREAD__)
#define SIGNALS_WAIT true
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SIGNALS_WAIT true
#endif
#endif
#ifndef SIGNALS_WAIT
#define SIGNALS_WAIT false
#endif

typedef struct test_case {
  const char *name;
  void (*run)(void);
} test_case;

static atomic_int failed_checks; /* checks are made in threads, too */

#if defined(__GNUC__)
#define LIKE_PRINTF(text, args) __attribute__((format(printf, text, args)))
#else
#define LIKE_PRINTF(text, args)
#endif

LIKE_PRINTF(3, 4)
static inline void test_failed(const char *file, int line, const char *format,
                               ...) {
  va_list args;
  atomic_fetch_add(&failed_checks, 1);
  va_start(args, format);
  printf("# %s:%d: ", file, line);
  vprintf(format, args);
  printf("\n");
  va_end(args);
  fflush(stdout);
}

static inline bool check_true(const char *file, int line, const char *text,
                              bool ok) {
  if (!ok) test_failed(file, line, "%s", text);
  return ok;
}

static inline bool check_int(const char *file, int line, const char *text,
                             long long got, long long want) {
  if (got == want) return true;
  test_failed(file, line, "%s is %lld, not %lld", text, got, want);
  return false;
}

static inline bool check_str(const char *file, int line, const char *text,
                             const char *got, const char *want) {
  if (got != NULL && strcmp(got, want) == 0) return true;
  test_failed(file, line, "%s is \"%s\", not \"%s\"", text,
              got != NULL ? got : "(null)", want);
  return false;
}

static inline bool check_has(const char *file, int line, const char *text,
                             const char *got, const char *part) {
  if (got != NULL && strstr(got, part) != NULL) return true;
  test_failed(file, line, "%s is \"%s\", without \"%s\"", text,
              got != NULL ? got : "(null)", part);
  return false;
}

#define CHECK(x) check_true(__FILE__, __LINE__, #x, (x))
#define CHECK_INT(x, want) check_int(__FILE__, __LINE__, #x, (x), (want))
#define CHECK_STR(x, want) check_str(__FILE__, __LINE__, #x, (x), (want))
#define CHECK_HAS(x, part) check_has(__FILE__, __LINE__, #x, (x), (part))
#define REQUIRE(x)                                                             \
  do {                                                                         \
    if (!CHECK(x)) return;                                                     \
  } while (0)

static inline int run_tests(const test_case *tests, size_t count) {
  int passed = 0, failed = 0;
  for (size_t i = 0; i < count; i++) {
    atomic_store(&failed_checks, 0);
    tests[i].run();
    bool ok = atomic_load(&failed_checks) == 0;
    if (ok) {
      passed++;
    } else {
      failed++;
    }
    printf("%s %zu - %s\n", ok ? "ok" : "not ok", i + 1, tests[i].name);
    fflush(stdout);
  }
  printf("%d passed, %d failed\n", passed, failed);
  return failed > 0;
}

/* ---- an allocator that keeps books ----------------------------------------------- */

typedef struct memory {
  size_t bytes, blocks, calls;
  size_t fail_at; /* the number of the call that fails, from 1; 0: none */
  size_t fail_to; /* the last one that fails; 0: only that one */
  bool lied;      /* a block was given back with another size */
} memory;

/* In front of each block: the size it was asked with. */
typedef union memory_head {
  size_t size;
  max_align_t align;
} memory_head;

static inline bool memory_fails(const memory *m) {
  if (m->fail_at == 0 || m->calls < m->fail_at) return false;
  return m->calls <= (m->fail_to != 0 ? m->fail_to : m->fail_at);
}

/* Moves a block at each change of its size, so that stale pointers show. */
static inline void *memory_alloc(void *ud, void *ptr, size_t osize,
                                 size_t nsize) {
  memory *m = ud;
  memory_head *old = ptr != NULL ? (memory_head *)ptr - 1 : NULL;
  if (old != NULL && old->size != osize) m->lied = true;
  if (nsize == 0) {
    if (old == NULL) return NULL;
    m->bytes -= old->size;
    m->blocks--;
    free(old);
    return NULL;
  }
  if (old == NULL || nsize > old->size) { /* Lua relies on shrinking */
    m->calls++;
    if (memory_fails(m)) return NULL;
  }
  memory_head *head = malloc(sizeof *head + nsize);
  if (head == NULL) return NULL;
  head->size = nsize;
  if (old != NULL) {
    memcpy(head + 1, ptr, old->size < nsize ? old->size : nsize);
    m->bytes -= old->size;
    free(old);
  } else {
    m->blocks++;
  }
  m->bytes += nsize;
  return head + 1;
}

/* ---- a runtime to test with ------------------------------------------------------- */

typedef struct fixture {
  neap_runtime *rt;
  lua_State *L;
  memory memory;
  char log[8192];     /* what the log hook got */
  char reports[8192]; /* what the unhandled hook got */
  int unhandled;      /* how often */
  neap_config config; /* may be changed between fixture_init and fixture_open */
} fixture;

static inline void append_text(char *to, size_t size, const char *text,
                               size_t n) {
  size_t used = strlen(to);
  if (n > size - used - 1) n = size - used - 1;
  memcpy(to + used, text, n);
  to[used + n] = '\0';
}

static inline void fixture_log(void *ud, const char *text, size_t length) {
  fixture *f = ud;
  append_text(f->log, sizeof f->log, text, length);
}

static inline void fixture_unhandled(void *ud, const char *message,
                                     const char *report) {
  fixture *f = ud;
  f->unhandled++;
  (void)message;
  append_text(f->reports, sizeof f->reports, report, strlen(report));
}

static inline void fixture_init(fixture *f) {
  memset(f, 0, sizeof *f);
  f->config = (neap_config){.size = sizeof f->config,
                            .alloc = memory_alloc,
                            .alloc_ud = &f->memory,
                            .log = fixture_log,
                            .unhandled = fixture_unhandled,
                            .ud = f,
                            .grace = 20};
}

/* Makes the runtime; `neap` is a global. */
static inline bool fixture_open(fixture *f) {
  int error = 1;
  f->rt = neap_new(&f->config, &error);
  if (f->rt == NULL) {
    test_failed(__FILE__, __LINE__, "neap_new: %s", uv_strerror(error));
    return false;
  }
  f->L = neap_lua(f->rt);
  if (neap_dostring(f->rt, "neap = require 'neap'", "=setup") == LUA_OK)
    return true;
  test_failed(__FILE__, __LINE__, "setup: %s", neap_report(f->rt));
  lua_pop(f->L, 1);
  return true;
}

static inline bool fixture_start(fixture *f) {
  fixture_init(f);
  return fixture_open(f);
}

/* Frees the runtime: every byte has to be back. */
static inline void fixture_close(fixture *f) {
  neap_free(f->rt);
  f->rt = NULL;
  CHECK_INT((long long)f->memory.bytes, 0);
  CHECK_INT((long long)f->memory.blocks, 0);
  CHECK(!f->memory.lied);
}

/* Runs a chunk at the root, which has to succeed. */
#define DO(f, code) do_chunk(__FILE__, __LINE__, (f), (code))
static inline bool do_chunk(const char *file, int line, fixture *f,
                            const char *code) {
  if (neap_dostring(f->rt, code, "=test") == LUA_OK) return true;
  test_failed(file, line, "%s", neap_report(f->rt));
  lua_pop(f->L, 1);
  return false;
}

/* The report of a chunk that has to fail. Valid until the next report. */
#define DO_FAIL(f, code, part)                                                 \
  do_chunk_fail(__FILE__, __LINE__, (f), (code), (part))
static inline void do_chunk_fail(const char *file, int line, fixture *f,
                                 const char *code, const char *part) {
  if (neap_dostring(f->rt, code, "=test") == LUA_OK) {
    test_failed(file, line, "no error from: %s", code);
    return;
  }
  check_has(file, line, code, neap_report(f->rt), part);
  lua_pop(f->L, 1);
}

/* A global as text, valid until the next call. */
static inline const char *global_text(fixture *f, const char *name) {
  static char text[1024];
  lua_getglobal(f->L, name);
  snprintf(text, sizeof text, "%s", luaL_tolstring(f->L, -1, NULL));
  lua_pop(f->L, 2);
  return text;
}

static inline long long global_int(fixture *f, const char *name) {
  lua_getglobal(f->L, name);
  long long value = lua_tointeger(f->L, -1);
  lua_pop(f->L, 1);
  return value;
}

/* Pushes the function that `code`, an expression, gives. */
static inline void push_function(fixture *f, const char *code) {
  lua_pushfstring(f->L, "return %s", code);
  if (luaL_dostring(f->L, lua_tostring(f->L, -1)) != LUA_OK)
    test_failed(__FILE__, __LINE__, "%s", lua_tostring(f->L, -1));
  lua_remove(f->L, -2);
}

/* The stack of the main thread is as it was: nothing left, nothing taken. */
#define CHECK_TOP(f, want) CHECK_INT(lua_gettop((f)->L), (want))

#endif
