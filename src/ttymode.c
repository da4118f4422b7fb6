/* SPDX-License-Identifier: MIT
 *
 * ttymode.c - modes of terminals, and putting them back.
 *
 * A terminal has its mode for all processes that use it, so it must be as it was when
 * we go. Each terminal that was changed has a record here, with how it was before the
 * first change and the changes that are in force; the latest one counts. Guards are
 * changes that Lua objects own: the end of the Lua state takes them back. For a process
 * that ends without that there are atexit() and signals, which are given no argument: hence
 * the one list for all runtimes, under a mutex.
 */
#include "tty.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

enum mode { NORMAL, NOECHO, CBREAK, RAW };
static const char *const modes[] = {"normal", "noecho", "cbreak", "raw", NULL};

typedef struct terminal terminal;

typedef struct guard {
  terminal *terminal; /* NULL: taken back */
  struct guard *next; /* the one before it */
  const neap_runtime *rt;
  enum mode mode;
} guard;

struct terminal {
  terminal *next;
  dev_t dev;
  pid_t pid; /* a child by fork() is not to put back its parent's */
  int fd;    /* of our own */
  struct termios before;
  guard *guards; /* latest first */
};

static terminal *terminals;                               /* NOLINT */
static bool registered;                                   /* NOLINT */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* NOLINT */

/* ---- the terminal ------------------------------------------------------------------- */

/* Also from the background, where the system would stop us for it. */
static int set(int fd, const struct termios *want) {
  sigset_t block, old;
  int status;
  sigemptyset(&block);
  sigaddset(&block, SIGTTOU);
  pthread_sigmask(SIG_BLOCK, &block, &old);
  do
    status = tcsetattr(fd, TCSANOW, want);
  while (status < 0 && errno == EINTR);
  status = status < 0 ? uv_translate_sys_error(errno) : 0;
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return status;
}

static int apply(const terminal *t, enum mode mode) {
  struct termios want = t->before;
  if (mode != NORMAL) want.c_lflag &= ~(tcflag_t)(ECHO);
  if (mode == CBREAK || mode == RAW) {
    want.c_lflag &= ~(tcflag_t)(ICANON);
    want.c_cc[VMIN] = 1;
    want.c_cc[VTIME] = 0;
  }
  if (mode == RAW) {
    want.c_iflag &= ~(tcflag_t)(BRKINT | ICRNL | INPCK | ISTRIP | IXON);
    want.c_lflag &= ~(tcflag_t)(IEXTEN | ISIG);
  }
  return set(t->fd, &want);
}

static void on_exit_restore(void) {
  if (pthread_mutex_trylock(&mutex) != 0) return;
  for (const terminal *t = terminals; t != NULL; t = t->next)
    if (t->pid == getpid()) set(t->fd, &t->before);
  pthread_mutex_unlock(&mutex);
}

/* Signals that end a process of which nobody heard them: the terminals first. All that
 * this calls may be called inside of a signal, or is a lock that is only tried. */
static const int deaths[] = {SIGHUP,  SIGQUIT, SIGTERM, SIGABRT,
                             SIGSEGV, SIGBUS,  SIGFPE,  SIGILL};

static void on_death(int number) {
  on_exit_restore();
  raise(number); /* when this is over, as if nobody had caught it */
}

/* While a terminal is changed; what others do about a signal is left to them. */
static void watch_deaths(bool watch) {
  struct sigaction action = {.sa_handler = watch ? on_death : SIG_DFL}, now;
  sigemptyset(&action.sa_mask);
  action.sa_flags = watch ? (int)SA_RESETHAND : 0;
  for (size_t i = 0; i < sizeof deaths / sizeof *deaths; i++) {
    if (sigaction(deaths[i], NULL, &now) == 0 &&
        now.sa_handler == (watch ? SIG_DFL : on_death))
      sigaction(deaths[i], &action, NULL);
  }
}

/* The record of a terminal, made if needed; NULL and a UV_E* code. */
static terminal *get(int fd, int *status) {
  struct stat st;
  struct termios now;
  *status = UV_ENOTTY;
  if (fstat(fd, &st) < 0 || tcgetattr(fd, &now) < 0) {
    *status = uv_translate_sys_error(errno);
    return NULL;
  }
  for (terminal *t = terminals; t != NULL; t = t->next)
    if (t->dev == st.st_rdev) return t;
  terminal *t = calloc(1, sizeof *t);
  *status = UV_ENOMEM;
  if (t == NULL) return NULL;
  t->dev = st.st_rdev;
  t->pid = getpid();
  t->before = now;
  t->fd = neap__tty_dup(fd);
  if (t->fd < 0) {
    *status = uv_translate_sys_error(errno);
    free(t);
    return NULL;
  }
  if (!registered) registered = atexit(on_exit_restore) == 0;
  if (terminals == NULL) watch_deaths(true);
  t->next = terminals;
  terminals = t;
  return t;
}

/* Forgets a terminal that nothing is changed of. */
static void put(terminal *t) {
  terminal **at = &terminals;
  if (t->guards != NULL) return;
  while (*at != t)
    at = &(*at)->next;
  *at = t->next;
  close(t->fd);
  free(t);
  if (terminals == NULL) watch_deaths(false);
}

/* Makes the mode the latest change. */
static int push(guard *g, int fd, enum mode mode) {
  int status;
  pthread_mutex_lock(&mutex);
  terminal *t = get(fd, &status);
  if (t != NULL) {
    status = apply(t, mode);
    if (status == 0) {
      g->terminal = t;
      g->next = t->guards;
      g->mode = mode;
      t->guards = g;
    } else {
      put(t);
    }
  }
  pthread_mutex_unlock(&mutex);
  return status;
}

/* Takes the change back. */
static void take_back(guard *g) {
  pthread_mutex_lock(&mutex);
  terminal *t = g->terminal;
  if (t != NULL) {
    guard **at = &t->guards;
    while (*at != g)
      at = &(*at)->next;
    *at = g->next;
    g->terminal = NULL;
    if (t->pid == getpid())
      apply(t, t->guards != NULL ? t->guards->mode : NORMAL);
    put(t);
  }
  pthread_mutex_unlock(&mutex);
}

static guard *find(const neap_runtime *rt) {
  guard *g = NULL;
  pthread_mutex_lock(&mutex);
  for (const terminal *t = terminals; t != NULL && g == NULL; t = t->next)
    for (g = t->guards; g != NULL && g->rt != rt;)
      g = g->next;
  pthread_mutex_unlock(&mutex);
  return g;
}

void neap__tty_restore(const neap_runtime *rt) {
  guard *g;
  while ((g = find(rt)) != NULL)
    take_back(g);
}

/* ---- functions --------------------------------------------------------------------- */

static int not_a_terminal(lua_State *L, int status, const char *op) {
  return neap_refuse(
      L, status == UV_ENOTTY || status == UV_EINVAL ? UV_ENOTTY : status, op);
}

/* mode(mode, terminal) -> a guard, until whose close it is in force; nil, err. */
static int l_mode(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  enum mode mode = (enum mode)luaL_checkoption(L, 1, NULL, modes);
  int fd = neap__tty_fd(L, 2);
  if (fd < 0) return not_a_terminal(L, UV_ENOTTY, "tcgetattr");
  guard *g = lua_newuserdatauv(L, sizeof *g, 0);
  *g = (guard){.rt = rt};
  neap__push_class(L, rt, NEAP__K_TTYMODE);
  lua_setmetatable(L, -2);
  int status = push(g, fd, mode);
  return status < 0 ? not_a_terminal(L, status, "tcsetattr") : 1;
}

static guard *self(lua_State *L) {
  return neap__check(L, neap__rt(L), 1, NEAP__K_TTYMODE, "TerminalMode");
}

/* guard:close(): takes it back. A second call does nothing. */
static int l_close(lua_State *L) {
  take_back(self(L));
  return 0;
}

static int l_tostring(lua_State *L) {
  const guard *g = self(L);
  lua_pushfstring(L, "<TerminalMode %s%s>", modes[g->mode],
                  g->terminal == NULL ? " closed" : "");
  return 1;
}

/* suspend(): stops the process, as Ctrl-Z does, with all terminals as they were, and
 * puts them into their modes when it goes on. */
static int l_suspend(lua_State *L) {
  (void)L;
  pthread_mutex_lock(&mutex);
  for (const terminal *t = terminals; t != NULL; t = t->next)
    set(t->fd, &t->before);
  pthread_mutex_unlock(&mutex);
  kill(0, SIGSTOP);
  pthread_mutex_lock(&mutex);
  for (const terminal *t = terminals; t != NULL; t = t->next)
    apply(t, t->guards->mode);
  pthread_mutex_unlock(&mutex);
  return 0;
}

const luaL_Reg neap__tty_mode_functions[] = {
    {"mode", l_mode}, {"suspend", l_suspend}, {NULL, NULL}};

void neap__tty_mode_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {
      {"close", l_close},         {"__close", l_close}, {"__gc", l_close},
      {"__tostring", l_tostring}, {NULL, NULL},
  };
  if (rt->mt[NEAP__K_TTYMODE] != NULL) return;
  neap__new_class(L, rt, NEAP__K_TTYMODE, "neap.tty.Mode", methods);
  lua_pop(L, 1);
}
