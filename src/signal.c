/* SPDX-License-Identifier: MIT
 *
 * signal.c - signals of the process: loop:add_signal_handler, a callback of the loop
 * for a signal, and the ears of others (signals.c).
 *
 * The Handle of a handler is anchored for as long as it is there and queued for each
 * signal; it never runs inside the signal itself. What the process did about the
 * signal before (the host's Ctrl-C, say) is kept, and put back with the last handler.
 * libuv's handle does not keep the loop going, unless somebody waits: a handler may wake
 * anybody, so see neap__may_wake.
 */
#include "ear.h"

#include <signal.h>
#include <string.h>

/* A signal that a loop listens for. Freed when libuv has closed `uv`. */
struct neap__signal {
  uv_signal_t uv;
  neap__signal *next; /* of the loop */
  neap__loop *loop;
  neap__handle *handle; /* of the handler, or NULL */
  neap__ear *ears;
  unsigned holds;
  int number;
};

/* What a signal did before the first handler of the runtime, over all its loops. */
struct neap__disposition {
  neap__disposition *next;
  struct sigaction before;
  int number;
  unsigned handlers;
  bool restore;
};

static const struct {
  const char *name;
  int number;
} names[] = {
    {"SIGHUP", SIGHUP},       {"SIGINT", SIGINT},   {"SIGQUIT", SIGQUIT},
    {"SIGILL", SIGILL},       {"SIGTRAP", SIGTRAP}, {"SIGABRT", SIGABRT},
    {"SIGBUS", SIGBUS},       {"SIGFPE", SIGFPE},   {"SIGKILL", SIGKILL},
    {"SIGUSR1", SIGUSR1},     {"SIGSEGV", SIGSEGV}, {"SIGUSR2", SIGUSR2},
    {"SIGPIPE", SIGPIPE},     {"SIGALRM", SIGALRM}, {"SIGTERM", SIGTERM},
    {"SIGCHLD", SIGCHLD},     {"SIGCONT", SIGCONT}, {"SIGSTOP", SIGSTOP},
    {"SIGTSTP", SIGTSTP},     {"SIGTTIN", SIGTTIN}, {"SIGTTOU", SIGTTOU},
    {"SIGURG", SIGURG},       {"SIGXCPU", SIGXCPU}, {"SIGXFSZ", SIGXFSZ},
    {"SIGVTALRM", SIGVTALRM}, {"SIGPROF", SIGPROF}, {"SIGWINCH", SIGWINCH},
#ifdef SIGPOLL
    {"SIGIO", SIGPOLL},       {"SIGPOLL", SIGPOLL},
#endif
#ifdef SIGPWR
    {"SIGPWR", SIGPWR},
#endif
    {"SIGSYS", SIGSYS},
};

/* ---- what the process does about a signal ---------------------------------------- */

static neap__disposition **find(neap_runtime *rt, int number) {
  neap__disposition **at = &rt->dispositions;
  while (*at != NULL && (*at)->number != number)
    at = &(*at)->next;
  return at;
}

bool neap__signal_taken(neap_runtime *rt, int number) {
  return *find(rt, number) != NULL;
}

static void put_back(neap_runtime *rt, int number) {
  neap__disposition **at = find(rt, number), *old = *at;
  struct sigaction now;
  if (old == NULL || --old->handlers > 0) return;
  *at = old->next;
  /* Only what libuv left: others may have asked for the signal since. */
  if (number == SIGPIPE && rt->no_sigpipe && !old->restore) {
    old->restore = true; /* streams came meanwhile */
    old->before.sa_handler = SIG_IGN;
  }
  if (old->restore && sigaction(number, NULL, &now) == 0 &&
      now.sa_handler == SIG_DFL)
    sigaction(number, &old->before, NULL);
  neap__alloc(rt, old, sizeof *old, 0);
  if (number == SIGINT && rt->catch_sigint && rt->running != NULL)
    neap__sigint_catch(rt);
}

/* ---- what a loop listens for ---------------------------------------------------------------------- */

static void on_closed(uv_handle_t *uv) {
  neap__signal *s = uv->data;
  s->loop->open_handles--;
  neap__alloc(s->loop->rt, s, sizeof *s, 0);
}

static void on_signal(uv_signal_t *uv, int number) {
  neap__signal *s = uv->data;
  neap__handle *handle = s->handle;
  (void)number;
  for (neap__ear *ear = s->ears; ear != NULL; ear = ear->next)
    ear->heard(ear);
  if (handle != NULL && !handle->cancelled) {
    if (handle->item.queued) {
      handle->again++;
    } else {
      neap__ready(s->loop, &handle->item);
    }
  }
  neap__loop_rearm(s->loop);
}

/* Starts to listen; 0 or a UV_E* code, and then nothing is left of it. */
static int start(neap__signal *s) {
  neap_runtime *rt = s->loop->rt;
  neap__disposition **at = find(rt, s->number), *old = *at;
  struct sigaction now;
  if (old == NULL) {
    old = neap__alloc(rt, NULL, 0, sizeof *old);
    if (old == NULL) return UV_ENOMEM;
    *old = (neap__disposition){.number = s->number};
    if (s->number == SIGINT) neap__sigint_release(rt);
    if (sigaction(s->number, NULL, &old->before) < 0)
      old->before.sa_handler = SIG_DFL;
    *at = old;
  }
  old->handlers++;
  int status = uv_signal_start(&s->uv, on_signal, s->number);
  if (status < 0) {
    put_back(rt, s->number);
    return status;
  }
  /* libuv's own is there already when the embedder listens for it as well. */
  if (old->handlers == 1)
    old->restore = sigaction(s->number, NULL, &now) == 0 &&
                   now.sa_handler != old->before.sa_handler &&
                   old->before.sa_handler != SIG_DFL;
  return 0;
}

static neap__signal **find_signal(neap__loop *loop, int number) {
  neap__signal **at = &loop->signals;
  while (*at != NULL && (*at)->number != number)
    at = &(*at)->next;
  return at;
}

/* What the loop has for the signal, made if needed; NULL and a UV_E* code. */
static neap__signal *get(neap__loop *loop, int number, int *status) {
  neap__signal *s = *find_signal(loop, number);
  if (s != NULL) return s;
  *status = UV_ENOMEM;
  s = neap__alloc(loop->rt, NULL, 0, sizeof *s);
  if (s == NULL) return NULL;
  memset(s, 0, sizeof *s);
  s->loop = loop;
  s->number = number;
  if ((*status = uv_signal_init(loop->uv, &s->uv)) < 0) {
    neap__alloc(loop->rt, s, sizeof *s, 0);
    return NULL;
  }
  s->uv.data = s;
  loop->open_handles++;
  uv_unref((uv_handle_t *)&s->uv);
  if ((*status = start(s)) < 0) {
    uv_close((uv_handle_t *)&s->uv, on_closed);
    return NULL;
  }
  s->next = loop->signals;
  loop->signals = s;
  return s;
}

/* Lets go of it, if nobody wants it any more. */
static void put(neap__signal *s) {
  neap__signal **at = &s->loop->signals;
  if (s->handle != NULL || s->ears != NULL) return;
  while (*at != s)
    at = &(*at)->next;
  *at = s->next;
  uv_close((uv_handle_t *)&s->uv, on_closed);
  put_back(s->loop->rt, s->number);
}

int neap__signal_hear(neap__loop *loop, neap__ear *ear) {
  int status;
  neap__signal *s = get(loop, ear->number, &status);
  if (s == NULL) return status;
  neap__ear **at = &s->ears;
  while (*at != NULL)
    at = &(*at)->next;
  ear->next = NULL;
  *at = ear;
  ear->signal = s;
  return 0;
}

void neap__signal_unhear(neap__ear *ear) {
  neap__signal *s = ear->signal;
  if (s == NULL) return;
  neap__ear **at = &s->ears;
  while (*at != ear)
    at = &(*at)->next;
  *at = ear->next;
  while (ear->holds > 0)
    neap__signal_hold(ear, false);
  ear->signal = NULL;
  put(s);
}

void neap__signal_hold(neap__ear *ear, bool hold) {
  neap__signal *s = ear->signal;
  if (s == NULL) return;
  ear->holds += hold ? 1 : -1U;
  if (hold) {
    if (s->holds++ == 0) uv_ref((uv_handle_t *)&s->uv);
  } else if (--s->holds == 0) {
    uv_unref((uv_handle_t *)&s->uv);
  }
}

bool neap__signal_is_handler(const neap__loop *loop, const uv_handle_t *uv) {
  const neap__signal *s = loop->signals;
  while (s != NULL && (const uv_handle_t *)&s->uv != uv)
    s = s->next;
  return s != NULL && s->handle != NULL;
}

/* ---- handlers ---------------------------------------------------------------------- */

/* The handle is not to run for further signals; for those that came it will. */
static void release(lua_State *L, neap__handle *handle) {
  neap_runtime *rt = handle->rt;
  handle->keeps = 0;
  if (handle->item.queued || rt->callback == handle->slot) return;
  neap__unanchor(L, rt, handle->slot);
  handle->slot = 0;
}

/* Takes out the handler. */
static void stop(lua_State *L, neap__signal *s) {
  release(L, s->handle);
  s->handle = NULL;
  s->loop->nhandlers--;
  put(s);
}

void neap__signals_close(neap__loop *loop, lua_State *L) {
  while (loop->signals != NULL) {
    neap__signal *s = loop->signals;
    if (s->handle == NULL) {
      s->ears->closing(s->ears);
    } else {
      stop(L, s);
    }
  }
}

/* ---- Lua functions ------------------------------------------------------------------- */

const char *neap__signal_name(int number, char *buffer, size_t size) {
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (names[i].number == number) return names[i].name;
  snprintf(buffer, size, "signal %d", number);
  return buffer;
}

int neap__check_signal(lua_State *L, int arg) {
  if (lua_type(L, arg) == LUA_TNUMBER) {
    lua_Integer number = luaL_checkinteger(L, arg);
    luaL_argcheck(L, number >= 1 && number < NSIG, arg,
                  "number of a signal expected");
    return (int)number;
  }
  if (lua_type(L, arg) != LUA_TSTRING)
    return luaL_typeerror(L, arg, "name or number of a signal");
  const char *name = lua_tostring(L, arg);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(names[i].name, name) == 0) return names[i].number;
  return luaL_argerror(L, arg, lua_pushfstring(L, "unknown signal '%s'", name));
}

int neap__signal_uncatchable(lua_State *L, int arg, int number) {
  char buffer[32];
  return luaL_argerror(
      L, arg,
      lua_pushfstring(L, "%s cannot be caught",
                      neap__signal_name(number, buffer, sizeof buffer)));
}

void neap__signal_set_numbers(lua_State *L) {
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    lua_pushinteger(L, names[i].number);
    lua_setfield(L, -2, names[i].name);
  }
}

/* loop:add_signal_handler(signal, fn, ...): the loop calls fn(...) for each. signal:
 * "SIGTERM", or a number. Takes the place of the loop's handler for it, if any. */
static int l_add(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__loop *loop = neap__check_loop(L, rt);
  int number = neap__check_signal(L, 2);
  neap__check_callback(L, 3);
  if (number == SIGKILL || number == SIGSTOP)
    return neap__signal_uncatchable(L, 2, number);
  neap__handle *handle = neap__handle_new(L, rt, loop, lua_gettop(L) - 3);
  handle->keeps = 1;
  handle->slot = neap__anchor(L, rt);
  int status;
  neap__signal *s = get(loop, number, &status);
  if (s == NULL) {
    release(L, handle);
    if (status == UV_EINVAL) return neap__signal_uncatchable(L, 2, number);
    return neap_fail(L, status, "add_signal_handler");
  }
  if (s->handle != NULL) {
    release(L, s->handle);
  } else {
    loop->nhandlers++;
  }
  s->handle = handle;
  neap__loop_rearm(loop);
  return 0;
}

/* loop:remove_signal_handler(signal) -> whether there was one. */
static int l_remove(lua_State *L) {
  neap__loop *loop = neap__check_loop(L, neap__rt(L));
  neap__signal *s = *find_signal(loop, neap__check_signal(L, 2));
  bool found = s != NULL && s->handle != NULL;
  if (found) stop(L, s);
  lua_pushboolean(L, found);
  neap__loop_rearm(loop);
  return 1;
}

/* ---- for tests ------------------------------------------------------------------------ */

/* The handler whose Handle is at 1. */
static neap__signal *find_by_handle(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  const neap__handle *handle = neap__check(L, rt, 1, NEAP__K_HANDLE, "Handle");
  for (neap__loop *loop = rt->loops; loop != NULL; loop = loop->next) {
    for (neap__signal *s = loop->signals; s != NULL; s = s->next)
      if (s->handle == handle) return s;
  }
  return NULL;
}

/* signal_of(handle) -> the name of the signal that it is the handler for, or nil. */
int neap__l_signal_of(lua_State *L) {
  char buffer[32];
  const neap__signal *s = find_by_handle(L);
  if (s == NULL) return 0;
  lua_pushstring(L, neap__signal_name(s->number, buffer, sizeof buffer));
  return 1;
}

/* drop_signal(handle) -> whether it was the handler for a signal, and now is not. */
int neap__l_drop_signal(lua_State *L) {
  neap__signal *s = find_by_handle(L);
  if (s != NULL) {
    neap__loop *loop = s->loop;
    stop(L, s);
    neap__loop_rearm(loop);
  }
  lua_pushboolean(L, s != NULL);
  return 1;
}

void neap__signal_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {
      {"add_signal_handler", l_add},
      {"remove_signal_handler", l_remove},
      {NULL, NULL},
  };
  neap__push_class(L, rt, NEAP__K_LOOP);
  neap__set_funcs(L, rt, methods);
  lua_pop(L, 1);
}
