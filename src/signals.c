/* SPDX-License-Identifier: MIT
 *
 * signals.c - waiting for signals. The module "neap.core.signal".
 *
 * A listener hears from listen() to close(), whether somebody waits or not. It keeps
 * each of its signals once, with how often it came: there is nothing to overflow. What
 * came stands in the order in which it came first. `granted` counts the waits that
 * were woken for one and did not run yet.
 */
#include "ear.h"

#include "io.h"

#include <string.h>

typedef struct listener listener;

typedef struct sound {
  neap__ear ear;
  listener *owner;
  struct sound *next; /* of those that came */
  lua_Integer times;
} sound;

struct listener {
  const void *tag;
  neap__loop *loop; /* NULL: closed */
  neap__waitq waiting;
  sound *first, *last; /* that came */
  size_t npending, granted;
  int n;
  sound sounds[];
};

/* ---- what comes -------------------------------------------------------------------- */

/* Wakes as many as there are signals for. */
static void grant(listener *l) {
  while (l->npending > l->granted && l->waiting.head != NULL) {
    neap_wait *wait = neap__waitq_wake(&l->waiting, 0);
    neap__link_of(wait)->queue.prev = wait; /* the mark of one that is */
    l->granted++;
  }
}

static void heard(neap__ear *ear) {
  sound *s = neap__container_of(ear, sound, ear);
  listener *l = s->owner;
  if (s->times++ > 0) return;
  s->next = NULL;
  if (l->last != NULL) {
    l->last->next = s;
  } else {
    l->first = s;
  }
  l->last = s;
  l->npending++;
  grant(l);
}

static void hold(listener *l, bool hold) {
  for (int i = 0; i < l->n; i++)
    neap__signal_hold(&l->sounds[i].ear, hold);
}

/* Those who wait get to know; what came is forgotten. */
static void close_listener(listener *l) {
  if (l->loop == NULL) return;
  for (int i = 0; i < l->n; i++)
    neap__signal_unhear(&l->sounds[i].ear);
  l->loop = NULL;
  l->first = l->last = NULL;
  l->npending = l->granted = 0;
  while (l->waiting.head != NULL) {
    neap_wait *wait = neap__waitq_wake(&l->waiting, UV_EBADF);
    neap__link_of(wait)->queue.prev = NULL;
  }
}

static void closing(neap__ear *ear) {
  close_listener(neap__container_of(ear, sound, ear)->owner);
}

/* ---- waiting ------------------------------------------------------------------------- */

/* Takes the first that came: its name, or number where it has none, and how often.
 * [-0, +2, m] */
static int take(lua_State *L, listener *l) {
  sound *s = l->first;
  char buffer[32];
  const char *name = neap__signal_name(s->ear.number, buffer, sizeof buffer);
  if (name == buffer) {
    lua_pushinteger(L, s->ear.number);
  } else {
    lua_pushstring(L, name);
  }
  lua_pushinteger(L, s->times);
  l->first = s->next;
  if (l->first == NULL) l->last = NULL;
  s->times = 0;
  l->npending--;
  return 2;
}

static neap_aborted wait_abort(neap_wait *wait) {
  listener *l = neap__link_of(wait)->object;
  neap__waitq_remove(&l->waiting, wait);
  neap__link_of(wait)->queue.prev = NULL;
  return NEAP_ABORT_DONE;
}

/* 0, or why there is no signal. */
static int wait_end(neap_wait *wait) {
  listener *l = neap__link_of(wait)->object;
  int status = wait->status;
  if (l->loop != NULL) {
    hold(l, false);
    if (neap__link_of(wait)->queue.prev == wait) l->granted--;
    if (status == UV_ECANCELED) grant(l); /* it is another's */
  } else if (status == 0) {
    status = UV_EBADF; /* closed since it was woken */
  }
  return status;
}

static int refuse_closed(lua_State *L) {
  lua_pushnil(L);
  lua_pushliteral(L, "wait: the signal listener is closed");
  neap__error_new(L, NEAP__OSERROR);
  lua_pushliteral(L, "EBADF");
  lua_setfield(L, -2, "code");
  lua_pushliteral(L, "wait");
  lua_setfield(L, -2, "op");
  return 2;
}

static int wait_finish(lua_State *L, neap_wait *wait) {
  listener *l = neap__link_of(wait)->object;
  int status = wait_end(wait);
  if (L == NULL) return 0;
  if (status == UV_EBADF) return refuse_closed(L);
  if (status < 0) return neap_refuse(L, status, "wait");
  return take(L, l);
}

/* Of the iterator: a closed listener is its end. */
static int next_finish(lua_State *L, neap_wait *wait) {
  listener *l = neap__link_of(wait)->object;
  int status = wait_end(wait);
  if (L == NULL || status == UV_EBADF) return 0;
  if (status < 0) return neap_fail(L, status, "wait");
  return take(L, l);
}

static int wait_for(lua_State *L, listener *l, const char *name,
                    neap_finish finish) {
  neap_runtime *rt = neap__rt(L);
  neap__check_loop_here(L, rt, l->loop);
  if (l->npending > l->granted) {
    neap__check_again(rt, L, name);
    return take(L, l);
  }
  neap__check_park(rt, L, name);
  neap_wait *wait = neap__io_wait(rt, wait_abort, finish, name, l);
  neap__waitq_push(&l->waiting, wait);
  hold(l, true);
  return neap__park(rt, L, wait);
}

/* ---- the SignalListener of Lua ----------------------------------------------------------- */

static listener *self(lua_State *L) {
  return neap__check_tagged(L, neap__rt(L), 1, NEAP__K_SIGNALS,
                            "SignalListener");
}

/* listener:wait() -> the name of a signal that came, and how often. Waits. */
static int l_wait(lua_State *L) {
  listener *l = self(L);
  if (l->loop == NULL) luaL_error(L, "attempt to use a closed signal listener");
  return wait_for(L, l, "SignalListener:wait", wait_finish);
}

/* The same for neap.signal.wait(...), whose listener it is. */
static int l_wait_once(lua_State *L) {
  return wait_for(L, self(L), "neap.signal.wait", wait_finish);
}

/* for name, times in listener: ends when it is closed. */
static int l_call(lua_State *L) {
  listener *l = self(L);
  if (l->loop == NULL) return 0;
  return wait_for(L, l, "SignalListener:wait", next_finish);
}

/* listener:close(): who waits gets nil, err. A second call does nothing. */
static int l_close(lua_State *L) {
  listener *l = self(L);
  neap__loop *loop = l->loop;
  close_listener(l);
  if (loop != NULL) neap__loop_rearm(loop);
  return 0;
}

static int l_is_closed(lua_State *L) {
  lua_pushboolean(L, self(L)->loop == NULL);
  return 1;
}

static void push_listener(lua_State *L, const void *object) {
  const listener *l = object;
  char buffer[32];
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  luaL_addstring(&b, "<SignalListener");
  if (l->loop == NULL) luaL_addstring(&b, " closed");
  for (int i = 0; i < l->n && l->loop != NULL; i++) {
    luaL_addchar(&b, ' ');
    luaL_addstring(
        &b, neap__signal_name(l->sounds[i].ear.number, buffer, sizeof buffer));
  }
  luaL_addchar(&b, '>');
  luaL_pushresult(&b);
}

static int l_tostring(lua_State *L) {
  push_listener(L, self(L));
  return 1;
}

/* ---- functions ------------------------------------------------------------------------- */

/* listen(signal, ...) -> a listener. */
static int l_listen(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  int n = lua_gettop(L);
  if (n == 0) neap__check_signal(L, 1); /* raises */
  for (int i = 1; i <= n; i++) {
    int number = neap__check_signal(L, i);
    if (number == SIGKILL || number == SIGSTOP)
      neap__signal_uncatchable(L, i, number);
  }
  neap__loop *loop = neap__the_loop(L, rt);
  listener *l = lua_newuserdatauv(L, sizeof *l + (size_t)n * sizeof(sound), 0);
  memset(l, 0, sizeof *l + (size_t)n * sizeof(sound));
  l->tag = neap__tag(rt, NEAP__K_SIGNALS);
  neap__push_class(L, rt, NEAP__K_SIGNALS);
  lua_setmetatable(L, -2);
  l->loop = loop;
  for (int i = 1; i <= n; i++) {
    int number = neap__check_signal(L, i), seen = 0;
    while (seen < l->n && l->sounds[seen].ear.number != number)
      seen++;
    if (seen < l->n) continue; /* said twice */
    sound *s = &l->sounds[l->n];
    s->owner = l;
    s->ear = (neap__ear){.number = number, .heard = heard, .closing = closing};
    int status = neap__signal_hear(loop, &s->ear);
    if (status < 0) {
      close_listener(l);
      if (status == UV_EINVAL) return neap__signal_uncatchable(L, i, number);
      return neap_fail(L, status, "listen");
    }
    l->n++;
  }
  return 1;
}

/* send(pid, signal) -> true; nil, err. */
static int l_send(lua_State *L) {
  lua_Integer pid = luaL_checkinteger(L, 1);
  int number = lua_isinteger(L, 2) && lua_tointeger(L, 2) == 0
                   ? 0
                   : neap__check_signal(L, 2);
  luaL_argcheck(L, pid >= -INT32_MAX && pid <= INT32_MAX, 1,
                "number of a process expected");
  int status = uv_kill((int)pid, number);
  if (status < 0) return neap_refuse(L, status, "kill");
  lua_pushboolean(L, 1);
  return 1;
}

/* raise(signal): to this very process. */
static int l_raise(lua_State *L) {
  raise(neap__check_signal(L, 1));
  return 0;
}

/* name(number) -> "SIGTERM", or nil. */
static int l_name(lua_State *L) {
  char buffer[32];
  const char *name =
      neap__signal_name(neap__check_signal(L, 1), buffer, sizeof buffer);
  if (name == buffer) return 0;
  lua_pushstring(L, name);
  return 1;
}

/* number(name) -> 15 */
static int l_number(lua_State *L) {
  lua_pushinteger(L, neap__check_signal(L, 1));
  return 1;
}

int neap__open_signals(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"wait", l_wait},           {"close", l_close},
      {"is_closed", l_is_closed}, {"__call", l_call},
      {"__close", l_close},       {"__gc", l_close},
      {"__tostring", l_tostring}, {NULL, NULL},
  };
  static const luaL_Reg functions[] = {
      {"listen", l_listen}, {"send", l_send},     {"raise", l_raise},
      {"name", l_name},     {"number", l_number}, {"wait_once", l_wait_once},
      {NULL, NULL},
  };
  static const neap__teller teller = {.push = push_listener};
  neap_runtime *rt = neap_of(L);
  if (rt->mt[NEAP__K_SIGNALS] == NULL) {
    neap__new_class(L, rt, NEAP__K_SIGNALS, "neap.SignalListener", methods);
    lua_pop(L, 1);
    neap__set_teller(rt, NEAP__K_SIGNALS, &teller);
  }
  lua_createtable(L, 0, 40);
  neap__set_funcs(L, rt, functions);
  neap__signal_set_numbers(L);
  return 1;
}
