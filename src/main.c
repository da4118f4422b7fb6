/* SPDX-License-Identifier: MIT
 *
 * main.c - the host: `neap [options] [script [args]]`.
 *
 * A user of the public header like any other. Options, `arg`, LUA_INIT, the prompt
 * and the messages are those of the program `lua`; what differs is what happens
 * around the chunks: awaits in them run the loop, whatever is pending when they are
 * through runs to its end, and every way out takes neap_shutdown.
 *
 * The Lua state is made here and lent to the runtime, because -E has to be known
 * before Lua's libraries are opened.
 */
#include "neap.h"

#include <dlfcn.h>
#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM "neap"
#define EXIT_BY_SIGNAL 128 /* what shells add to the number of a signal */

typedef struct options {
  int script;       /* index in argv of the script; argc where there is none */
  int bad;          /* index in argv of what is not an option, or 0 */
  bool no_env;      /* -E */
  bool interactive; /* -i */
  bool version;     /* -v, -i */
  bool execute;     /* -e */
} options;

typedef struct host {
  lua_State *L;
  neap_runtime *rt; /* NULL once it is freed */
  int argc;
  char **argv;
  options options;
  int code;    /* exit code so far */
  bool exited; /* os.exit was called in a task; `code` is its argument */
  /* Line editing, where a library for it was found; see load_editor. */
  char *(*readline)(const char *prompt);
  void (*add_history)(const char *line);
} host;

static const int interrupt_signals[] = {SIGINT, SIGTERM};
enum { SIGNALS = 2 };

/* The only variable at file scope: a signal handler is given nothing that could
 * lead it to the runtime. */
static struct {
  _Atomic(neap_runtime *)
      rt; /* for the thread's own handlers; others see it go */
  pthread_t thread;
  volatile sig_atomic_t number; /* of the last signal that was caught */
} interrupt; /* NOLINT(cppcoreguidelines-avoid-non-const-global-variables) */

/* By this name the library sees that it is in this program, which process pools can
 * start again: worker.c. */
extern const char neap_host_program[];
__attribute__((visibility("default"), used)) const char neap_host_program[] =
    PROGRAM;

/* ---- messages -------------------------------------------------------------- */

static void message(const char *prefix, const char *text) {
  fprintf(stderr, "%s%s%s\n", prefix ? prefix : "", prefix ? ": " : "",
          text ? text : "(no message)");
  fflush(stderr);
}

static void on_log(void *ud, const char *text, size_t length) {
  (void)ud;
  fwrite(text, 1, length, stderr);
  fflush(stderr);
}

static void print_version(void) {
  printf("%s %s (%s, libuv %s)\n", PROGRAM, neap_version(), LUA_RELEASE,
         uv_version_string());
  fflush(stdout);
}

static void print_usage(const char *bad) {
  if (bad[1] == 'e' || bad[1] == 'l') {
    fprintf(stderr, "%s: '%s' needs argument\n", PROGRAM, bad);
  } else {
    fprintf(stderr, "%s: unrecognized option '%s'\n", PROGRAM, bad);
  }
  fprintf(stderr,
          "usage: %s [options] [script [args]]\n"
          "Available options are:\n"
          "  -e stat   execute string 'stat'\n"
          "  -i        enter interactive mode after executing 'script'\n"
          "  -l mod    require library 'mod' into global 'mod'\n"
          "  -l g=mod  require library 'mod' into global 'g'\n"
          "  -v        show version information\n"
          "  -E        ignore environment variables\n"
          "  -W        turn warnings on\n"
          "  --        stop handling options\n"
          "  -         stop handling options and execute stdin\n",
          PROGRAM);
  fflush(stderr);
}

/* ---- options --------------------------------------------------------------- */

/* Looks at argv[i], an option, and returns the index of the last argument that
 * belongs to it, or -1 where it is malformed. */
static int read_option(char **argv, int i, options *out) {
  const char *text = argv[i];
  bool has_more = text[2] != '\0';
  switch (text[1]) {
  case 'E':
    out->no_env = true;
    return has_more ? -1 : i;
  case 'W':
    return has_more ? -1 : i;
  case 'i':
    out->interactive = true;
    out->version = true;
    return has_more ? -1 : i;
  case 'v':
    out->version = true;
    return has_more ? -1 : i;
  case 'e':
    out->execute = true;
    break;
  case 'l':
    break;
  default:
    return -1;
  }
  if (has_more) {
    return i; /* as in -lmod */
  }
  return argv[i + 1] == NULL || argv[i + 1][0] == '-' ? -1 : i + 1;
}

static options read_options(int argc, char **argv) {
  options out = {.script = argc};
  for (int i = 1; i < argc; i++) {
    if (argv[i][0] != '-' || argv[i][1] == '\0') {
      out.script = i;
      break;
    }
    if (strcmp(argv[i], "--") == 0) {
      out.script = i + 1;
      break;
    }
    int last = read_option(argv, i, &out);
    if (last < 0) {
      out.bad = i;
      break;
    }
    i = last;
  }
  return out;
}

/* The global `arg`: the script at 0, its arguments after, the options before. */
static void make_arg(lua_State *L, int argc, char **argv, int script) {
  if (script == argc) {
    script = 0; /* no script: the name of the program is at 0 */
  }
  lua_createtable(L, argc - script, script + 1);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i - script);
  }
  lua_setglobal(L, "arg");
}

/* ---- signals --------------------------------------------------------------- */

static void on_signal(int number) {
  int saved = errno;
  if (interrupt.rt == NULL) {
    signal(number, SIG_DFL); /* put back by a handler that was removed late */
    raise(number);
  } else if (!pthread_equal(pthread_self(), interrupt.thread)) {
    /* A thread of libuv's or of a C module's must not touch the Lua state. */
    pthread_kill(interrupt.thread, number);
  } else {
    signal(number, SIG_DFL); /* the second one ends the process */
    interrupt.number = number;
    if (interrupt.rt != NULL) {
      neap_interrupt(interrupt.rt, number, true);
    }
  }
  errno = saved;
}

/* SIGUSR1: what are the tasks doing? */
static void on_dump(int number) {
  int saved = errno;
  if (!pthread_equal(pthread_self(), interrupt.thread)) {
    pthread_kill(interrupt.thread, number);
  } else if (interrupt.rt != NULL) {
    neap_request_dump(interrupt.rt, true);
  }
  errno = saved;
}

/* With SA_RESTART: nothing of the program is to notice. */
static void catch_dump(host *h) {
  interrupt.rt = h->rt;
  interrupt.thread = pthread_self();
  struct sigaction action = {.sa_handler = on_dump, .sa_flags = SA_RESTART};
  struct sigaction old;
  sigemptyset(&action.sa_mask);
  if (sigaction(SIGUSR1, NULL, &old) == 0 && old.sa_handler == SIG_DFL) {
    sigaction(SIGUSR1, &action, NULL);
  }
}

/* Without SA_RESTART, so that a blocking read of io's gives way. A signal that our
 * parent had ignored (nohup does that) stays ignored. */
static void catch_signals(host *h) {
  interrupt.rt = h->rt;
  interrupt.thread = pthread_self();
  struct sigaction action = {.sa_handler = on_signal};
  sigemptyset(&action.sa_mask);
  for (int i = 0; i < SIGNALS; i++) {
    struct sigaction old;
    if (sigaction(interrupt_signals[i], NULL, &old) == 0 &&
        old.sa_handler == SIG_DFL) {
      sigaction(interrupt_signals[i], &action, NULL);
    }
  }
}

/* Only handlers of our own are taken away: Lua code may have asked for a signal. */
static void release_signals(void) {
  interrupt.rt = NULL;
  for (int i = 0; i < SIGNALS; i++) {
    struct sigaction old;
    if (sigaction(interrupt_signals[i], NULL, &old) == 0 &&
        old.sa_handler == on_signal) {
      signal(interrupt_signals[i], SIG_DFL);
    }
  }
}

/* A signal that comes too late finds no runtime; its handler may even be put back by
 * the end of a loop that had another. */
static void free_runtime(host *h) {
  neap_runtime *rt = h->rt;
  h->rt = NULL;
  interrupt.rt = NULL;
  neap_free(rt);
}

/* ---- running chunks -------------------------------------------------------- */

/* err -> err.name, for errors that have one. */
static int l_name(lua_State *L) {
  lua_getfield(L, 1, "name");
  return 1;
}

/* Whether the value on top of the stack is an error object of that name. */
static bool is_error(lua_State *L, const char *name) {
  if (lua_type(L, -1) != LUA_TTABLE && lua_type(L, -1) != LUA_TUSERDATA) {
    return false;
  }
  lua_pushcfunction(L, l_name);
  lua_pushvalue(L, -2);
  bool same = lua_pcall(L, 1, 1, 0) == LUA_OK &&
              lua_type(L, -1) == LUA_TSTRING &&
              strcmp(lua_tostring(L, -1), name) == 0;
  lua_pop(L, 1);
  return same;
}

/* Takes the error of a chunk off the stack, reports it with `prefix` (or without,
 * NULL) and notes the exit code. Returns true where the program is to end at once:
 * os.exit or SIGTERM. [-1, +0, m] */
static bool failed(host *h, const char *prefix) {
  lua_State *L = h->L;
  bool ends = is_error(L, "SystemExit");
  if (ends && h->exited) {
    /* os.exit has left its code */
  } else if (ends && interrupt.number == SIGTERM) {
    h->code = EXIT_BY_SIGNAL + SIGTERM;
  } else {
    h->code = is_error(L, "KeyboardInterrupt") ? EXIT_BY_SIGNAL + SIGINT
                                               : EXIT_FAILURE;
    message(prefix, neap_report(h->rt));
  }
  lua_pop(L, 1);
  return ends;
}

/* Calls the function below its arguments; false where it failed. */
static bool call(host *h, int nargs, int nresults) {
  if (neap_call(h->rt, nargs, nresults) == LUA_OK) {
    return true;
  }
  failed(h, PROGRAM);
  return false;
}

/* Calls what luaL_load* left, with the arguments of the script where `args`. A
 * chunk that did not compile has no traceback to show. */
static bool run_loaded(host *h, int status, bool args) {
  lua_State *L = h->L;
  if (status != LUA_OK) {
    message(PROGRAM, lua_tostring(L, -1));
    lua_pop(L, 1);
    h->code = EXIT_FAILURE;
    return false;
  }
  int count = 0;
  if (args) {
    if (lua_getglobal(L, "arg") != LUA_TTABLE) {
      luaL_error(L, "'arg' is not a table");
    }
    int table = lua_gettop(L);
    count = (int)luaL_len(L, table);
    luaL_checkstack(L, count + 3, "too many arguments to script");
    for (int i = 1; i <= count; i++) {
      lua_rawgeti(L, table, i);
    }
    lua_remove(L, table);
  }
  return call(h, count, 0);
}

static bool run_string(host *h, const char *text, const char *name) {
  return run_loaded(h, luaL_loadbuffer(h->L, text, strlen(text), name), false);
}

static bool run_init(host *h) {
  const char *name = "=LUA_INIT_5_4";
  const char *init = getenv(name + 1);
  if (init == NULL) {
    name = "=LUA_INIT";
    init = getenv(name + 1);
  }
  if (init == NULL) {
    return true;
  }
  if (init[0] == '@') {
    return run_loaded(h, luaL_loadfile(h->L, init + 1), false);
  }
  return run_string(h, init, name);
}

/* -l mod, -l global=mod */
static bool run_library(host *h, const char *spec) {
  lua_State *L = h->L;
  const char *equals = strchr(spec, '=');
  lua_getglobal(L, "require");
  lua_pushstring(L, equals ? equals + 1 : spec);
  if (!call(h, 1, 1)) {
    return false;
  }
  lua_pushglobaltable(L);
  lua_insert(L, -2);
  lua_pushlstring(L, spec, equals ? (size_t)(equals - spec) : strlen(spec));
  lua_insert(L, -2);
  lua_settable(L, -3);
  lua_pop(L, 1);
  return true;
}

/* The options that do something, in their order. */
static bool run_options(host *h) {
  for (int i = 1; i < h->options.script && h->argv[i][0] == '-'; i++) {
    const char *text = h->argv[i];
    char kind = text[1];
    if (kind == 'W') {
      lua_warning(h->L, "@on", 0);
    } else if (kind == 'e' || kind == 'l') {
      const char *value = text[2] != '\0' ? text + 2 : h->argv[++i];
      bool ok = kind == 'e' ? run_string(h, value, "=(command line)")
                            : run_library(h, value);
      if (!ok) {
        return false;
      }
    }
  }
  return true;
}

static bool run_script(host *h) {
  char **argv = h->argv + h->options.script;
  const char *path = argv[0];
  /* After `--` even a lone `-` is the name of a file. */
  if (strcmp(path, "-") == 0 && strcmp(argv[-1], "--") != 0) {
    path = NULL;
  }
  return run_loaded(h, luaL_loadfile(h->L, path), true);
}

/* ---- the prompt ------------------------------------------------------------ */

/* Line editing comes from a library that is looked for only here, so that the host
 * neither depends on one nor pays for one at start-up. */
static void load_editor(host *h) {
  static const char *const names[] = {"libreadline.so.8", "libreadline.so.7",
                                      "libedit.so.2"};
  if (!isatty(STDIN_FILENO)) {
    return; /* readline would echo what it reads */
  }
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
      continue;
    }
    void *read = dlsym(library, "readline");
    void *add = dlsym(library, "add_history");
    if (read != NULL && add != NULL) {
      /* C has no conversion from void * to a function pointer. */
      memcpy(&h->readline, &read, sizeof read);
      memcpy(&h->add_history, &add, sizeof add);
      return;
    }
    dlclose(library);
  }
}

/* Reads a line without its newline; false at the end of input. [-0, +(0|1), m] */
static bool read_line(host *h, bool first) {
  lua_State *L = h->L;
  const char *prompt = first ? "> " : ">> ";
  if (lua_getglobal(L, first ? "_PROMPT" : "_PROMPT2") != LUA_TNIL) {
    prompt = luaL_tolstring(L, -1, NULL);
    lua_remove(L, -2);
  }
  if (h->readline != NULL) {
    fflush(stdout);
    char *line = h->readline(prompt);
    lua_pop(L, 1);
    if (line == NULL) {
      return false;
    }
    lua_pushstring(L, line);
    free(line);
    return true;
  }
  fputs(prompt, stdout);
  fflush(stdout);
  lua_pop(L, 1);
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  char part[512];
  bool any = false;
  while (fgets(part, sizeof part, stdin) != NULL) {
    size_t length = strlen(part);
    any = true;
    if (length > 0 && part[length - 1] == '\n') {
      luaL_addlstring(&buffer, part, length - 1);
      break;
    }
    luaL_addlstring(&buffer, part, length);
  }
  luaL_pushresult(&buffer);
  if (!any) {
    lua_pop(L, 1);
  }
  return any;
}

/* Whether the message on top of the stack says that the chunk has not ended yet. */
static bool is_incomplete(lua_State *L, int status) {
  static const char mark[] = "<eof>";
  size_t length;
  const char *text = lua_tolstring(L, -1, &length);
  return status == LUA_ERRSYNTAX && length >= sizeof mark - 1 &&
         strcmp(text + length - (sizeof mark - 1), mark) == 0;
}

static int load_line(lua_State *L, const char *text) {
  return luaL_loadbuffer(L, text, strlen(text), "=stdin");
}

/* Reads until there is a whole chunk and compiles it. Returns its status with the
 * function or the message on the stack, or -1 at the end of input. */
static int read_chunk(host *h) {
  lua_State *L = h->L;
  lua_settop(L, 0);
  if (!read_line(h, true)) {
    return -1;
  }
  const char *line = lua_tostring(L, 1);
  if (line[0] == '=') { /* Lua 5.2 and before: =expr */
    lua_pushfstring(L, "return %s", line + 1);
    lua_replace(L, 1);
  }
  lua_pushfstring(L, "return %s", lua_tostring(L, 1));
  int status = load_line(L, lua_tostring(L, 2));
  if (status != LUA_OK) { /* not an expression: a statement, in lines */
    for (;;) {
      lua_settop(L, 1);
      status = load_line(L, lua_tostring(L, 1));
      if (!is_incomplete(L, status) || !read_line(h, false)) {
        break;
      }
      lua_pushfstring(L, "%s\n%s", lua_tostring(L, 1), lua_tostring(L, -1));
      lua_replace(L, 1);
    }
  }
  const char *text = lua_tostring(L, 1);
  if (h->add_history != NULL && text[0] != '\0') {
    h->add_history(text);
  }
  lua_replace(L, 1);
  lua_settop(L, 1);
  return status;
}

static void print_results(host *h) {
  lua_State *L = h->L;
  int count = lua_gettop(L);
  if (count == 0) {
    return;
  }
  luaL_checkstack(L, LUA_MINSTACK, "too many results to print");
  lua_getglobal(L, "print");
  lua_insert(L, 1);
  if (neap_call(h->rt, count, 0) != LUA_OK) {
    const char *text = lua_tostring(L, -1);
    message(NULL, lua_pushfstring(L, "error calling 'print' (%s)",
                                  text ? text : luaL_typename(L, -1)));
  }
}

/* Returns false where the program is to end at once. */
static bool run_prompt(host *h) {
  lua_State *L = h->L;
  load_editor(h);
  int status;
  for (;;) {
    release_signals(); /* Ctrl-C at the prompt ends the program, as in lua */
    status = read_chunk(h);
    if (status < 0) {
      break;
    }
    catch_signals(h);
    if (status == LUA_OK) {
      status = neap_call(h->rt, 0, LUA_MULTRET);
    } else {
      message(NULL, lua_tostring(L, -1));
      continue;
    }
    if (status == LUA_OK) {
      print_results(h);
    } else if (failed(h, NULL)) {
      return false;
    }
    fflush(stdout);
  }
  catch_signals(h);
  lua_settop(L, 0);
  fputc('\n', stdout);
  fflush(stdout);
  h->code = 0; /* an error at the prompt was dealt with there */
  return true;
}

/* ---- life cycle ------------------------------------------------------------ */

/* The script caught what os.exit in a task, or SIGTERM, raised in the main chunk. */
static void on_exit_caught(void *ud) {
  host *h = ud;
  release_signals();
  free_runtime(h);
  if (!h->exited) {
    h->code = EXIT_BY_SIGNAL + SIGTERM;
  }
  exit(h->code);
}

/* os.exit([code [, close]]): Lua's, after the shutdown of what runs. */
static int l_exit(lua_State *L) {
  host *h = lua_touserdata(L, lua_upvalueindex(1));
  int code = EXIT_SUCCESS;
  if (lua_isboolean(L, 1)) {
    code = lua_toboolean(L, 1) ? EXIT_SUCCESS : EXIT_FAILURE;
  } else {
    code = (int)luaL_optinteger(L, 1, EXIT_SUCCESS);
  }
  bool close = lua_toboolean(L, 2);
  h->code = code;
  if (h->rt != NULL) {
    h->exited = true;
    int results = neap_exit(L);
    if (results != UV_EINVAL) {
      return results;
    }
    release_signals();
    if (!close) {
      neap_shutdown(h->rt);
    }
  }
  if (close) {
    free_runtime(h);
  }
  exit(code);
}

static void make_state(host *h) {
  lua_State *L = h->L;
  make_arg(L, h->argc, h->argv, h->options.script);
  lua_gc(L, LUA_GCGEN, 0, 0); /* as in lua */
  lua_getglobal(L, "os");
  lua_pushlightuserdata(L, h);
  lua_pushcclosure(L, l_exit, 1);
  lua_setfield(L, -2, "exit");
  lua_pop(L, 1);
  catch_signals(h);
  catch_dump(h);
}

/* Returns false where the program is to end without running what is pending. */
static bool run_chunks(host *h) {
  options *o = &h->options;
  if ((!o->no_env && !run_init(h)) || !run_options(h)) {
    return false;
  }
  if (o->script < h->argc) {
    if (!run_script(h)) {
      return false;
    }
  } else if (!o->interactive && !o->execute && !o->version) {
    if (!isatty(STDIN_FILENO)) {
      return run_loaded(h, luaL_loadfile(h->L, NULL), false);
    }
    print_version();
    o->interactive = true;
  }
  return !o->interactive || run_prompt(h);
}

static void run_pending(host *h) {
  int status = neap_run(h->rt);
  if (status == UV_EINTR && h->exited) {
    return; /* os.exit has left its code */
  }
  if (status == UV_EINTR && interrupt.number != 0) {
    h->code = EXIT_BY_SIGNAL + interrupt.number;
  } else if (status < 0 && status != UV_EINTR) {
    h->code = EXIT_FAILURE;
  }
}

/* Everything that may raise, under one protected call. */
static int l_main(lua_State *L) {
  host *h = lua_touserdata(L, 1);
  luaL_checkversion(L);
  lua_settop(L, 0);
  if (h->options.version) {
    print_version();
  }
  make_state(h);
  if (run_chunks(h)) {
    run_pending(h);
  }
  return 0;
}

int main(int argc, char **argv) {
  host h = {.argc = argc, .argv = argv, .options = read_options(argc, argv)};
  if (h.options.bad != 0) {
    print_usage(argv[h.options.bad]);
    return EXIT_FAILURE;
  }
  neap_config config = {
      .size = sizeof config, .log = on_log, .exit = on_exit_caught, .ud = &h};
  if (h.options.no_env) {
    config.flags = NEAP_NO_ENV;
  }
  int error = 0;
  h.rt = neap_new(&config, &error);
  if (h.rt == NULL) {
    message(PROGRAM, uv_strerror(error));
    return EXIT_FAILURE;
  }
  h.L = neap_lua(h.rt);
  lua_pushcfunction(h.L, l_main);
  lua_pushlightuserdata(h.L, &h);
  if (lua_pcall(h.L, 1, 0, 0) != LUA_OK) {
    message(PROGRAM, lua_tostring(h.L, -1));
    h.code = EXIT_FAILURE;
  }
  if (h.rt != NULL) {
    release_signals();
    neap_shutdown(h.rt);
    if (h.code == 0 && !h.exited && neap_had_unhandled(h.rt)) {
      h.code = EXIT_FAILURE;
    }
    free_runtime(&h);
  }
  return h.code;
}
