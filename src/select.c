/* SPDX-License-Identifier: MIT
 *
 * select.c - the wait for the first of several channels that has something.
 *
 * One node stands in the lines of all of them; whoever serves it first wins. Where the
 * look at the channels begins is drawn anew each time, so that none is passed over for
 * ever. The channels are kept on the stack, from FIRST on.
 */
#include "channel.h"

#define FIRST 3

/* Pushes the channel of place i and the parcel's value. */
static int receive(lua_State *L, neap_runtime *rt, uint32_t i,
                   neap__channel *ch, neap__parcel *parcel,
                   neap__parked *parked) {
  lua_pushvalue(L, FIRST + (int)i);
  neap__channel_receive(L, rt, ch, parcel, parked);
  return 2;
}

static int ended(lua_State *L, uint32_t i) {
  lua_pushvalue(L, FIRST + (int)i);
  lua_pushnil(L);
  return 2;
}

static int select_finish(lua_State *L, neap_wait *wait) {
  neap__parked *parked = neap__link_of(wait)->object;
  neap_runtime *rt = parked->rt;
  bool cancelled = L == NULL || wait->status < 0;
  int won = neap__parked_over(parked);
  bool shut = won >= 0 && parked->ended == NEAP__SHUT;
  neap__channel *ch = won >= 0 ? parked->places[won].channel : NULL;
  if (cancelled) {
    if (ch != NULL && !shut) neap__channel_give_back(ch, rt, parked);
    neap__parked_unref(parked);
    return L == NULL ? 0 : neap__raise_cancelled(L, rt);
  }
  if (ch == NULL) { /* the time is over */
    neap__parked_unref(parked);
    lua_pushnil(L);
    return 1;
  }
  if (shut &&
      neap__channel_take(ch, rt, &parked->parcel, NULL, 0) != NEAP__DONE) {
    neap__parked_unref(parked);
    return ended(L, (uint32_t)won);
  }
  return receive(L, rt, (uint32_t)won, ch, &parked->parcel, parked);
}

static void on_due(neap__timer *timer) {
  neap__parked *parked = neap__container_of(timer, neap__parked, timer);
  if (neap__parked_stop(parked)) neap_wake(parked->wait, 0);
}

/* Checks the list at index 1 and pushes its channels. How many there are. */
static uint32_t push_channels(lua_State *L, neap_runtime *rt) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  lua_Integer n = luaL_len(L, 1);
  luaL_argcheck(L, n >= 1, 1, "a list of at least one channel expected");
  luaL_argcheck(L, n < 100000, 1, "too many channels");
  luaL_checkstack(L, (int)n + 8, "too many channels");
  for (lua_Integer i = 1; i <= n; i++) {
    lua_geti(L, 1, i);
    if (NEAP__LIKELY(neap__test(L, rt, -1, NEAP__K_CHANNEL) != NULL)) continue;
    lua_pushfstring(L, "item %I: Channel expected, got %s", (LUAI_UACINT)i,
                    luaL_typename(L, -1));
    luaL_argerror(L, 1, lua_tostring(L, -1));
  }
  return (uint32_t)n;
}

/* A number below n, another one each time. */
static uint32_t draw(neap__channel *ch, uint32_t n) {
  uint32_t x = atomic_fetch_add_explicit(&ch->draws, 1, memory_order_relaxed);
  x = (x + 1) * 0x9E3779B9u;
  x = (x ^ (x >> 16)) * 0x85EBCA6Bu;
  x ^= x >> 13;
  return (uint32_t)(((uint64_t)(x * 0xC2B2AE35u) * n) >> 32);
}

/* Waits in the lines of all, at most until `when`. */
static int wait_for_one(lua_State *L, neap_runtime *rt, uint32_t n,
                        uint32_t start, bool limited, lua_Number timeout) {
  neap__check_park(rt, L, "thread.select");
  if (limited) neap__timer_reserve(L, neap__the_loop(L, rt));
  for (uint32_t i = 0; i < n; i++)
    neap__check_channel(L, rt, FIRST + (int)i);
  neap__parked *parked = neap__parked_new(rt, n);
  if (parked == NULL) return luaL_error(L, "not enough memory");
  for (uint32_t i = 0; i < n; i++) {
    neap__channel *ch = neap__check_channel(L, rt, FIRST + (int)i);
    if (neap__parked_place(parked, i, ch)) continue;
    neap__parked_unref(parked);
    return luaL_error(L, "not enough memory");
  }
  neap_wait *wait = neap__parked_wait(parked, select_finish, "thread.select");
  for (uint32_t i = 0; i < n; i++) {
    uint32_t k = (start + i) % n;
    neap__channel *ch = parked->places[k].channel;
    enum neap__went went =
        neap__channel_take(ch, rt, &parked->parcel, parked, k);
    if (went == NEAP__NOT_NOW) continue;
    neap__parked_over(parked);
    if (went == NEAP__DONE)
      return receive(L, rt, k, ch, &parked->parcel, parked);
    neap__parked_unref(parked);
    return ended(L, k);
  }
  if (limited) {
    int64_t now = neap__now_near(rt);
    parked->timer.fire = on_due;
    neap__timer_arm(parked->loop, &parked->timer, neap__after(now, timeout),
                    now);
  }
  return neap__park(rt, L, wait);
}

/* select(channels, timeout) -> the first channel that has something, its value. A closed
 * and empty one: channel, nil. After `timeout` seconds (nil: no limit; 0: only looks):
 * nil. Waits. */
int neap__l_select(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  uint32_t n = push_channels(L, rt);
  lua_Number timeout = luaL_optnumber(L, 2, 0);
  luaL_argcheck(L, timeout == timeout, 2, "seconds expected, got NaN");
  bool limited = !lua_isnoneornil(L, 2);
  neap__check_again(rt, L, "thread.select");
  uint32_t start = n > 1 ? draw(neap__check_channel(L, rt, FIRST), n) : 0;
  for (uint32_t i = 0; i < n; i++) {
    uint32_t k = (start + i) % n;
    neap__parcel parcel;
    neap__channel *ch = neap__check_channel(L, rt, FIRST + (int)k);
    switch (neap__channel_take(ch, rt, &parcel, NULL, 0)) {
    case NEAP__DONE:
      return receive(L, rt, k, ch, &parcel, NULL);
    case NEAP__NOT_NOW:
      break;
    default:
      return ended(L, k);
    }
  }
  if (!limited || timeout > 0)
    return wait_for_one(L, rt, n, start, limited, timeout);
  lua_pushnil(L);
  return 1;
}
