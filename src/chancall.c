/* SPDX-License-Identifier: MIT
 *
 * chancall.c - the Channel of Lua.
 *
 * A call that can be served at once takes the channel's lock once and touches no loop.
 * Booleans and numbers are not packed.
 */
#include "channel.h"

#include <string.h>

static inline neap__channel *self_in(lua_State *L, neap_runtime *rt) {
  return neap__check_channel(L, rt, 1);
}

static neap__channel *self(lua_State *L) {
  return self_in(L, neap__rt(L));
}

/* ---- values and parcels ------------------------------------------------------------ */

#define PLAIN_AT 8

/* Writes the value at index 2 when it is a plain one. */
static inline bool write_plain(lua_State *L, neap__parcel *parcel) {
  unsigned char *to = parcel->packet.small;
  int type = lua_type(L, 2);
  if (type == LUA_TNUMBER) {
    if (lua_isinteger(L, 2)) {
      lua_Integer i = lua_tointeger(L, 2);
      memcpy(to + PLAIN_AT, &i, sizeof i);
      to[0] = LUA_TNIL; /* stands for integers */
    } else {
      lua_Number n = lua_tonumber(L, 2);
      memcpy(to + PLAIN_AT, &n, sizeof n);
      to[0] = LUA_TNUMBER;
    }
  } else if (type == LUA_TBOOLEAN) {
    to[0] = LUA_TBOOLEAN;
    to[PLAIN_AT] = (unsigned char)lua_toboolean(L, 2);
  } else {
    return false;
  }
  parcel->packet.size = parcel->packet.nrefs = 0;
  return true;
}

static inline void push_plain(lua_State *L, const neap__parcel *parcel) {
  const unsigned char *from = parcel->packet.small;
  if (from[0] == LUA_TNIL) {
    lua_Integer i;
    memcpy(&i, from + PLAIN_AT, sizeof i);
    lua_pushinteger(L, i);
  } else if (from[0] == LUA_TNUMBER) {
    lua_Number n;
    memcpy(&n, from + PLAIN_AT, sizeof n);
    lua_pushnumber(L, n);
  } else {
    lua_pushboolean(L, from[PLAIN_AT]);
  }
}

static inline bool is_plain(const neap__parcel *parcel) {
  return parcel->packet.size == 0;
}

/* Makes a parcel of the value at index 2. [-0, +0, v] */
static inline void write_value(lua_State *L, neap_runtime *rt,
                               neap__parcel *parcel) {
  if (NEAP__LIKELY(write_plain(L, parcel))) return;
  neap__pack(L, rt, 2, 1, 0, "value:", &parcel->packet);
}

typedef struct reading {
  neap_runtime *rt;
  neap__parcel *parcel;
} reading;

static int protected_read(lua_State *L) {
  reading *r = lua_touserdata(L, 1);
  lua_settop(L, 0);
  return neap__unpack(L, r->rt, &r->parcel->packet, 0);
}

/* There was no memory for the value: it goes back, if there is any to keep it in. */
static void put_back(neap_runtime *rt, neap__channel *ch, neap__parcel *parcel,
                     neap__parked *parked) {
  if (parked == NULL) {
    if (neap__channel_restore(ch, rt, parcel)) return;
    parked = neap__parked_hollow();
    if (parked == NULL) {
      neap__packet_free(&parcel->packet);
      return;
    }
    parked->parcel = *parcel;
  }
  neap__channel_give_back(ch, rt, parked);
  neap__parked_unref(parked);
}

static void read_value(lua_State *L, neap_runtime *rt, neap__channel *ch,
                       neap__parcel *parcel, neap__parked *parked) {
  reading r = {rt, parcel};
  if (!lua_checkstack(L, 4)) {
    put_back(rt, ch, parcel, parked);
    luaL_error(L, "stack overflow");
  }
  neap__shared_ref(&ch->shared); /* modules may be loaded, finalizers run */
  lua_pushcfunction(L, protected_read);
  lua_pushlightuserdata(L, &r);
  int status = lua_pcall(L, 1, 1, 0);
  if (status == LUA_ERRMEM) {
    put_back(rt, ch, parcel, parked);
  } else if (parked != NULL) {
    neap__parked_unref(parked);
  } else {
    neap__packet_free(&parcel->packet);
  }
  neap__shared_unref(&ch->shared);
  if (status != LUA_OK) lua_error(L);
}

void neap__channel_receive(lua_State *L, neap_runtime *rt, neap__channel *ch,
                           neap__parcel *parcel, neap__parked *parked) {
  if (NEAP__UNLIKELY(!is_plain(parcel))) {
    read_value(L, rt, ch, parcel, parked);
    return;
  }
  push_plain(L, parcel);
  if (parked != NULL) neap__parked_unref(parked);
}

/* A node to wait with, or NULL. */
static neap__parked *parked_for(neap_runtime *rt, neap__channel *ch) {
  neap__parked *parked = neap__parked_new(rt, 1);
  if (parked == NULL || neap__parked_place(parked, 0, ch)) return parked;
  neap__parked_unref(parked);
  return NULL;
}

/* ---- send ----------------------------------------------------------------------------- */

static void check_value(lua_State *L) {
  if (NEAP__UNLIKELY(lua_isnoneornil(L, 2)))
    luaL_argerror(L, 2, "a value other than nil expected");
  lua_settop(L, 2);
}

static int raise_closed(lua_State *L) {
  return neap__raise(L, NEAP__QUEUESHUTDOWN, NULL);
}

/* What did not get into the channel is freed, and that is raised. */
static int not_put(lua_State *L, enum neap__went went, neap__parcel *parcel) {
  neap__packet_free(&parcel->packet);
  if (went == NEAP__ENDED) return raise_closed(L);
  return luaL_error(L, "not enough memory");
}

static int send_finish(lua_State *L, neap_wait *wait) {
  neap__parked *parked = neap__link_of(wait)->object;
  bool cancelled = L == NULL || wait->status < 0;
  bool won = neap__parked_over(parked) == 0;
  bool shut = won && parked->ended == NEAP__SHUT;
  if (cancelled && won && !shut)
    neap__channel_withdraw(parked->places[0].channel, parked->rt,
                           parked->parcel.seq);
  neap__parked_unref(parked);
  if (L == NULL) return 0;
  if (cancelled) return neap__raise_cancelled(L, neap__rt(L));
  return shut ? raise_closed(L) : 0;
}

/* Whether neap__check_park certainly returns. */
static inline bool may_park(const neap_runtime *rt, lua_State *L) {
  const neap_task *task = rt->current;
  return task != NULL && L == task->co && !task->swallowed &&
         lua_isyieldable(L);
}

/* There was no place for the parcel. */
static int wait_to_send(lua_State *L, neap_runtime *rt, neap__parcel *parcel) {
  if (!may_park(rt, L)) {
    neap__packet_free(&parcel->packet);
    neap__check_park(rt, L, "Channel:send");
    write_value(L, rt, parcel);
  }
  neap__channel *ch = self_in(L, rt);
  neap__parked *parked = parked_for(rt, ch);
  if (parked == NULL) return not_put(L, NEAP__NO_MEMORY, parcel);
  parked->parcel = *parcel;
  neap_wait *wait = neap__parked_wait(parked, send_finish, "Channel:send");
  enum neap__went went = neap__channel_put(ch, rt, &parked->parcel, parked);
  if (went == NEAP__NOT_NOW) return neap__park(rt, L, wait);
  if (went == NEAP__DONE) parked->parcel.packet = (neap__packet){.size = 0};
  neap__parked_unref(parked); /* which frees the parcel */
  if (went == NEAP__DONE) return 0;
  return went == NEAP__ENDED ? raise_closed(L)
                             : luaL_error(L, "not enough memory");
}

/* channel:send(value): waits while there is no place. Raises QueueShutDown. */
static int l_send(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__parcel parcel = {.seq = 0};
  self_in(L, rt);
  check_value(L);
  neap__check_again(rt, L, "Channel:send");
  write_value(L, rt, &parcel);
  neap__channel *ch = self_in(L, rt); /* a finalizer may have run */
  enum neap__went went = neap__channel_put(ch, rt, &parcel, NULL);
  if (NEAP__LIKELY(went == NEAP__DONE)) return 0;
  if (went == NEAP__NOT_NOW) return wait_to_send(L, rt, &parcel);
  return not_put(L, went, &parcel);
}

/* channel:try_send(value) -> true, or false when there is no place. Raises
 * QueueShutDown. */
static int l_try_send(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__parcel parcel = {.seq = 0};
  self_in(L, rt);
  check_value(L);
  write_value(L, rt, &parcel);
  enum neap__went went = neap__channel_put(self_in(L, rt), rt, &parcel, NULL);
  if (went == NEAP__NOT_NOW) {
    neap__packet_free(&parcel.packet);
  } else if (went != NEAP__DONE) {
    return not_put(L, went, &parcel);
  }
  lua_pushboolean(L, went == NEAP__DONE);
  return 1;
}

/* ---- recv ----------------------------------------------------------------------------- */

static int recv_finish(lua_State *L, neap_wait *wait) {
  neap__parked *parked = neap__link_of(wait)->object;
  neap__channel *ch = parked->places[0].channel;
  neap_runtime *rt = parked->rt;
  bool cancelled = L == NULL || wait->status < 0;
  bool won = neap__parked_over(parked) == 0;
  bool shut = won && parked->ended == NEAP__SHUT;
  if (cancelled) {
    if (won && !shut) neap__channel_give_back(ch, rt, parked);
    neap__parked_unref(parked);
    return L == NULL ? 0 : neap__raise_cancelled(L, rt);
  }
  /* Somebody may have given one back after the channel was closed. */
  if (shut &&
      neap__channel_take(ch, rt, &parked->parcel, NULL, 0) != NEAP__DONE) {
    neap__parked_unref(parked);
    lua_pushnil(L);
    return 1;
  }
  neap__channel_receive(L, rt, ch, &parked->parcel, parked);
  return 1;
}

static int wait_to_recv(lua_State *L, neap_runtime *rt, const char *name) {
  neap__check_park(rt, L, name);
  neap__channel *ch = self_in(L, rt);
  neap__parked *parked = parked_for(rt, ch);
  if (parked == NULL) return luaL_error(L, "not enough memory");
  neap_wait *wait = neap__parked_wait(parked, recv_finish, name);
  switch (neap__channel_take(ch, rt, &parked->parcel, parked, 0)) {
  case NEAP__DONE:
    neap__channel_receive(L, rt, ch, &parked->parcel, parked);
    return 1;
  case NEAP__NOT_NOW:
    return neap__park(rt, L, wait);
  default:
    neap__parked_unref(parked);
    lua_pushnil(L);
    return 1;
  }
}

static inline int receive(lua_State *L, neap_runtime *rt, const char *name) {
  neap__parcel parcel;
  neap__channel *ch = self_in(L, rt);
  switch (neap__channel_take(ch, rt, &parcel, NULL, 0)) {
  case NEAP__DONE:
    neap__channel_receive(L, rt, ch, &parcel, NULL);
    return 1;
  case NEAP__NOT_NOW:
    return wait_to_recv(L, rt, name);
  default:
    lua_pushnil(L);
    return 1;
  }
}

/* channel:recv() -> the next value; waits while there is none. nil once the channel is
 * closed and empty. */
static int l_recv(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  self_in(L, rt);
  lua_settop(L, 1);
  neap__check_again(rt, L, "Channel:recv");
  return receive(L, rt, "Channel:recv");
}

/* channel:try_recv() -> the next value; or nil, "empty"; or nil, "closed" when nothing
 * will come any more. */
static int l_try_recv(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__parcel parcel;
  neap__channel *ch = self_in(L, rt);
  lua_settop(L, 1);
  enum neap__went went = neap__channel_take(ch, rt, &parcel, NULL, 0);
  if (went == NEAP__DONE) {
    neap__channel_receive(L, rt, ch, &parcel, NULL);
    return 1;
  }
  lua_pushnil(L);
  lua_pushstring(L, went == NEAP__ENDED ? "closed" : "empty");
  return 2;
}

/* The iterator: its frame is the channel alone. */
static int l_next(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(2));
  neap__check_again(rt, L, "Channel:iter");
  return receive(L, rt, "Channel:iter");
}

/* channel:iter() -> an iterator over the values, which waits for each. Its loop ends
 * when the channel is closed and empty. */
static int l_iter(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  self_in(L, rt);
  neap__push_self(L, rt);
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, l_next, 2);
  return 1;
}

/* ---- the rest --------------------------------------------------------------------------- */

/* channel:close(): nothing can be sent any more; what is there can still be received. */
static int l_close(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__channel_close(self_in(L, rt), rt);
  return 0;
}

/* channel:is_closed() -> whether nothing can be sent any more. */
static int l_is_closed(lua_State *L) {
  bool closed;
  neap__channel_count(self(L), &closed);
  lua_pushboolean(L, closed);
  return 1;
}

/* #channel -> how many values it keeps at this moment. */
static int l_len(lua_State *L) {
  bool closed;
  lua_pushinteger(L, (lua_Integer)neap__channel_count(self(L), &closed));
  return 1;
}

/* channel:capacity() -> how many it may keep, or nil. */
static int l_capacity(lua_State *L) {
  neap__channel *ch = self(L);
  if (ch->capacity == SIZE_MAX) return 0;
  lua_pushinteger(L, (lua_Integer)ch->capacity);
  return 1;
}

void neap__channel_text(lua_State *L, neap__channel *ch) {
  bool closed;
  size_t n = neap__channel_count(ch, &closed);
  const char *end = closed ? " closed" : "";
  if (ch->capacity == SIZE_MAX) {
    lua_pushfstring(L, "<Channel %I%s>", (LUAI_UACINT)n, end);
  } else {
    lua_pushfstring(L, "<Channel %I/%I%s>", (LUAI_UACINT)n,
                    (LUAI_UACINT)ch->capacity, end);
  }
}

static int l_tostring(lua_State *L) {
  neap__channel_text(L, self(L));
  return 1;
}

/* For reports: the channels of a wait. */
static void push_awaited(lua_State *L, const void *object) {
  const neap__parked *parked = object;
  lua_pushliteral(L, "");
  for (uint32_t i = 0; i < parked->n; i++) {
    if (i == 3) {
      lua_pushfstring(L, " and %d more", (int)(parked->n - i));
      lua_concat(L, 2);
      return;
    }
    lua_pushstring(L, i > 0 ? ", " : "");
    neap__channel_text(L, parked->places[i].channel);
    lua_concat(L, 3);
  }
}

static neap__shared *make(const void *capacity) {
  neap__channel *ch = neap__channel_new(*(const size_t *)capacity);
  return ch != NULL ? &ch->shared : NULL;
}

/* Channel(capacity) -> a channel that keeps up to `capacity` values, as many as come
 * when it is nil; with 0 a sender waits until somebody takes its value. */
static int l_channel(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  size_t capacity = SIZE_MAX;
  if (!lua_isnoneornil(L, 1)) {
    lua_Integer n = luaL_checkinteger(L, 1);
    luaL_argcheck(L, n >= 0, 1, "expected 0 or more, or nil for no limit");
    capacity = (size_t)n;
  }
  neap__shared_make(L, rt, &neap__channel_type, make, &capacity);
  return 1;
}

void neap__channel_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {
      {"send", l_send},
      {"recv", l_recv},
      {"try_send", l_try_send},
      {"try_recv", l_try_recv},
      {"iter", l_iter},
      {"close", l_close},
      {"is_closed", l_is_closed},
      {"capacity", l_capacity},
      {"__len", l_len},
      {"__close", l_close},
      {"__gc", neap__l_shared_gc},
      {"__tostring", l_tostring},
      {NULL, NULL},
  };
  static const neap__teller teller = {.push = push_awaited};
  neap__set_teller(rt, NEAP__K_CHANNEL, &teller);
  neap__new_class(L, rt, NEAP__K_CHANNEL, "neap.Channel", methods);
  lua_pop(L, 1);
}

int neap__open_channel(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"Channel", l_channel},
      {"select", neap__l_select},
      {NULL, NULL},
  };
  lua_createtable(L, 0, 2);
  neap__set_funcs(L, neap_of(L), functions);
  return 1;
}
