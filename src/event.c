/* SPDX-License-Identifier: MIT
 *
 * event.c - Event: a flag to wait for. A task that was woken by set() goes on even if
 * clear() comes before its turn.
 */
#include "internal.h"

typedef struct event {
  const void *tag;
  neap__waitq queue;
  bool set;
} event;

static event *self(lua_State *L) {
  return neap__check_tagged(L, neap__rt(L), 1, NEAP__K_EVENT, "Event");
}

static neap_aborted event_abort(neap_wait *wait) {
  event *ev = neap__link_of(wait)->object;
  neap__waitq_remove(&ev->queue, wait);
  return NEAP_ABORT_DONE;
}

static int event_finish(lua_State *L, neap_wait *wait) {
  if (L == NULL) return 0;
  if (wait->status < 0) return neap__raise_cancelled(L, neap__rt(L));
  lua_pushboolean(L, 1);
  return 1;
}

/* event:wait() -> true, once the flag is set. Waits. */
static int l_wait(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  event *ev = self(L);
  if (ev->set) {
    neap__check_again(rt, L, "Event:wait");
    lua_pushboolean(L, 1);
    return 1;
  }
  neap__check_park(rt, L, "Event:wait");
  neap_wait *wait = neap__own_wait(rt, event_abort, event_finish, "Event:wait");
  neap__link_of(wait)->object = ev;
  neap__waitq_push(&ev->queue, wait);
  return neap__park(rt, L, wait);
}

/* event:set(): raises the flag and wakes all who wait. */
static int l_set(lua_State *L) {
  event *ev = self(L);
  ev->set = true;
  while (neap__waitq_wake(&ev->queue, 0) != NULL) {
  }
  return 0;
}

/* event:clear(): lowers the flag. */
static int l_clear(lua_State *L) {
  self(L)->set = false;
  return 0;
}

/* event:is_set() -> the flag. */
static int l_is_set(lua_State *L) {
  lua_pushboolean(L, self(L)->set);
  return 1;
}

static void push_text(lua_State *L, const void *object) {
  lua_pushfstring(L, "<Event %s>",
                  ((const event *)object)->set ? "set" : "unset");
}

static int l_tostring(lua_State *L) {
  push_text(L, self(L));
  return 1;
}

/* Event() -> an event that is not set. */
static int l_new(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  event *ev = lua_newuserdatauv(L, sizeof *ev, 0);
  *ev = (event){.tag = neap__tag(rt, NEAP__K_EVENT)};
  neap__push_class(L, rt, NEAP__K_EVENT);
  lua_setmetatable(L, -2);
  return 1;
}

void neap__event_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {
      {"wait", l_wait},           {"set", l_set},
      {"clear", l_clear},         {"is_set", l_is_set},
      {"__tostring", l_tostring}, {NULL, NULL},
  };
  static const luaL_Reg functions[] = {{"Event", l_new}, {NULL, NULL}};
  static const neap__teller teller = {.push = push_text};
  neap__new_class(L, rt, NEAP__K_EVENT, "neap.Event", methods);
  lua_pop(L, 1);
  neap__set_teller(rt, NEAP__K_EVENT, &teller);
  neap__set_funcs(L, rt, functions);
}
