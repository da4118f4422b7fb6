/* SPDX-License-Identifier: MIT
 *
 * signal.c - loop:add_signal_handler: a callback of the loop for a signal.
 *
 * The Handle of a handler is anchored for as long as it is there and queued for each
 * signal; it never runs inside the signal itself. What the process did about the
 * signal before (the host's Ctrl-C, say) is kept, and put back with the last handler.
 * libuv's handle does not keep the loop going: see neap__may_wake.
 */
#include "internal.h"

#include <signal.h>
#include <string.h>

/* One handler of a loop. Freed when libuv has closed `uv`. */
struct neap__signal {
  uv_signal_t uv;
  neap__signal *next; /* of the loop */
  neap__loop *loop;
  neap__handle *handle; /* NULL once removed */
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
  if (old->restore && sigaction(number, NULL, &now) == 0 &&
      now.sa_handler == SIG_DFL)
    sigaction(number, &old->before, NULL);
  neap__alloc(rt, old, sizeof *old, 0);
  if (number == SIGINT && rt->catch_sigint && rt->running != NULL)
    neap__sigint_catch(rt);
}

/* ---- handlers ---------------------------------------------------------------------- */

static void on_closed(uv_handle_t *uv) {
  neap__signal *s = uv->data;
  s->loop->open_handles--;
  neap__alloc(s->loop->rt, s, sizeof *s, 0);
}

static void on_signal(uv_signal_t *uv, int number) {
  neap__signal *s = uv->data;
  neap__handle *handle = s->handle;
  (void)number;
  if (handle == NULL || handle->cancelled) return;
  if (handle->item.queued) {
    handle->again++;
  } else {
    neap__ready(s->loop, &handle->item);
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

/* The handle is not to run for further signals; for those that came it will. */
static void release(lua_State *L, neap__handle *handle) {
  neap_runtime *rt = handle->rt;
  handle->keeps = 0;
  if (handle->item.queued || rt->callback == handle->slot) return;
  neap__unanchor(L, rt, handle->slot);
  handle->slot = 0;
}

/* Takes out the handler at `at`. */
static void stop(lua_State *L, neap__signal **at) {
  neap__signal *s = *at;
  *at = s->next;
  release(L, s->handle);
  s->handle = NULL;
  uv_close((uv_handle_t *)&s->uv, on_closed);
  put_back(s->loop->rt, s->number);
}

void neap__signals_close(neap__loop *loop, lua_State *L) {
  while (loop->signals != NULL)
    stop(L, &loop->signals);
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

static neap__signal **find_handler(neap__loop *loop, int number) {
  neap__signal **at = &loop->signals;
  while (*at != NULL && (*at)->number != number)
    at = &(*at)->next;
  return at;
}

static int refuse(lua_State *L, int status, int number) {
  char buffer[32];
  if (status != UV_EINVAL) return neap_fail(L, status, "add_signal_handler");
  return luaL_argerror(
      L, 2,
      lua_pushfstring(L, "%s cannot be caught",
                      neap__signal_name(number, buffer, sizeof buffer)));
}

/* loop:add_signal_handler(signal, fn, ...): the loop calls fn(...) for each. signal:
 * "SIGTERM", or a number. Takes the place of the loop's handler for it, if any. */
static int l_add(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__loop *loop = neap__check_loop(L, rt);
  int number = neap__check_signal(L, 2);
  neap__check_callback(L, 3);
  if (number == SIGKILL || number == SIGSTOP)
    return refuse(L, UV_EINVAL, number);
  neap__handle *handle = neap__handle_new(L, rt, loop, lua_gettop(L) - 3);
  handle->keeps = 1;
  handle->slot = neap__anchor(L, rt);
  neap__signal *s = *find_handler(loop, number);
  if (s != NULL) {
    release(L, s->handle);
    s->handle = handle;
    return 0;
  }
  int status = UV_ENOMEM;
  s = neap__alloc(rt, NULL, 0, sizeof *s);
  if (s != NULL) {
    memset(s, 0, sizeof *s);
    s->loop = loop;
    s->number = number;
    if ((status = uv_signal_init(loop->uv, &s->uv)) < 0) {
      neap__alloc(rt, s, sizeof *s, 0);
    } else {
      s->uv.data = s;
      loop->open_handles++;
      uv_unref((uv_handle_t *)&s->uv);
      if ((status = start(s)) < 0) uv_close((uv_handle_t *)&s->uv, on_closed);
    }
  }
  if (status < 0) {
    release(L, handle);
    return refuse(L, status, number);
  }
  s->handle = handle;
  s->next = loop->signals;
  loop->signals = s;
  neap__loop_rearm(loop);
  return 0;
}

/* loop:remove_signal_handler(signal) -> whether there was one. */
static int l_remove(lua_State *L) {
  neap__loop *loop = neap__check_loop(L, neap__rt(L));
  neap__signal **at = find_handler(loop, neap__check_signal(L, 2));
  lua_pushboolean(L, *at != NULL);
  if (*at != NULL) stop(L, at);
  neap__loop_rearm(loop);
  return 1;
}

/* ---- for tests ------------------------------------------------------------------------ */

/* The handler whose Handle is at 1. */
static neap__signal **find_by_handle(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  const neap__handle *handle = neap__check(L, rt, 1, NEAP__K_HANDLE, "Handle");
  for (neap__loop *loop = rt->loops; loop != NULL; loop = loop->next) {
    neap__signal **at = &loop->signals;
    while (*at != NULL && (*at)->handle != handle)
      at = &(*at)->next;
    if (*at != NULL) return at;
  }
  return NULL;
}

/* signal_of(handle) -> the name of the signal that it is the handler for, or nil. */
int neap__l_signal_of(lua_State *L) {
  char buffer[32];
  neap__signal **at = find_by_handle(L);
  if (at == NULL) return 0;
  lua_pushstring(L, neap__signal_name((*at)->number, buffer, sizeof buffer));
  return 1;
}

/* drop_signal(handle) -> whether it was the handler for a signal, and now is not. */
int neap__l_drop_signal(lua_State *L) {
  neap__signal **at = find_by_handle(L);
  if (at != NULL) {
    neap__loop *loop = (*at)->loop;
    stop(L, at);
    neap__loop_rearm(loop);
  }
  lua_pushboolean(L, at != NULL);
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
