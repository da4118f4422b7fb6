/* SPDX-License-Identifier: MIT
 *
 * channel.h - what a channel between threads is made of.
 *
 * channel.c knows no Lua but for waking its own runtime's tasks; chancall.c has the calls
 * of Lua, select.c the wait for several channels.
 */
#ifndef NEAP_CHANNEL_H
#define NEAP_CHANNEL_H

#include "mailbox.h"
#include "packet.h"

typedef struct neap__channel neap__channel;
typedef struct neap__parked neap__parked;
typedef struct neap__place neap__place;

/* One value on its way. Where the packet's size is 0, it is a plain one (a boolean or
 * number): its type is in small[0], what it is from small[8] on. */
typedef struct neap__parcel {
  neap__packet packet;
  uint64_t seq; /* in which order the channel took them */
} neap__parcel;

/* Who waits, first come first served. */
typedef struct neap__line {
  neap__place *head, *tail;
} neap__line;

struct neap__place {
  neap__place *next, *prev;
  neap__parked *who;
  neap__channel *channel; /* with a reference */
  neap__line *line;       /* in which it stands, or NULL */
};

enum neap__ended { NEAP__PASSED, NEAP__SHUT };

/* One call that waits, in one line or (select) in several. Whoever takes it out of a line
 * to end its wait has to be the first to do so: `winner`. It is used up by its task,
 * perhaps before the mail arrives that another thread sends to wake it: so it is counted
 * who holds it. */
struct neap__parked {
  const void *tag; /* first: see neap__teller */
  neap_runtime *rt;
  neap__loop *loop;
  neap_wait *wait; /* for its own thread; NULL once it is over */
  neap__mailbox
      *box; /* of the loop; others hold it before they leave the line */
  neap__mail mail;
  neap__parked *next; /* of those that one call wakes */
  neap__parked *back; /* of what came back to a channel */
  neap__parcel parcel;
  neap__timer timer;
  atomic_uint refs;
  atomic_int winner;      /* 0: it waits; n: place n - 1; -1: its own task */
  enum neap__ended ended; /* how, when a place won; under that channel's lock */
  bool held;              /* it keeps its loop alive: others may end the wait */
  uint32_t n;
  neap__place places[];
};

struct neap__channel {
  neap__shared shared; /* first */
  pthread_mutex_t
      mutex;       /* guards what follows; nothing is locked inside of it */
  size_t capacity; /* SIZE_MAX: no limit */
  neap__parcel *ring;
  size_t head, count, cap; /* of the ring; cap is 0 or a power of 2 */
  neap__parked
      *back; /* older ones, whose receivers did not take them; by seq */
  size_t nback;
  uint64_t seq; /* of the latest */
  neap__line senders, receivers;
  neap__channel *dead; /* next of those to be freed */
  atomic_uint draws;   /* of select */
  bool closed;
  bool
      crossed; /* other threads may know it; before, no lock is needed to look */
};

extern const neap__shared_type neap__channel_type;

/* How putting and taking went. */
enum neap__went {
  NEAP__DONE,
  NEAP__NOT_NOW,
  NEAP__ENDED, /* it is closed (and empty) */
  NEAP__NO_MEMORY,
};

/* A new one, or NULL. */
neap__channel *neap__channel_new(size_t capacity);
/* Hands the parcel over, or keeps it: then its content is the channel's. When there is
 * no place, `parked` (may be NULL) gets in line with the parcel, NEAP__NOT_NOW. `rt` is
 * the caller's: its own tasks are woken at once. */
enum neap__went neap__channel_put(neap__channel *ch, neap_runtime *rt,
                                  neap__parcel *parcel, neap__parked *parked);
/* Takes the next one, or puts place `i` of `parked` (may be NULL) in line, unless
 * `parked` is ended already; NEAP__NOT_NOW. What is taken for one that stands in lines
 * ends its wait: winner is -1. */
enum neap__went neap__channel_take(neap__channel *ch, neap_runtime *rt,
                                   neap__parcel *out, neap__parked *parked,
                                   uint32_t i);
/* Nothing comes in any more; all who wait are woken. */
void neap__channel_close(neap__channel *ch, neap_runtime *rt);
/* The parcel of `parked`, which is not in line any more, goes back to where it came
 * from. */
void neap__channel_give_back(neap__channel *ch, neap_runtime *rt,
                             neap__parked *parked);
/* The same for a parcel that was just taken. False: its place is taken, too, and it needs
 * a node. */
bool neap__channel_restore(neap__channel *ch, neap_runtime *rt,
                           neap__parcel *parcel);
/* Takes the parcel with this number out again, if nobody has received it. */
void neap__channel_withdraw(neap__channel *ch, neap_runtime *rt, uint64_t seq);
/* At this moment: how many it keeps, whether it is closed. */
size_t neap__channel_count(neap__channel *ch, bool *closed);
/* Other threads may get to know it from now on. In the thread of the one runtime that
 * knows it so far. False when there is no memory for that. */
bool neap__channel_cross(neap__channel *ch);

/* ---- those who wait -------------------------------------------------------------- */

/* A node for a call of the running task that waits, for n channels, which the caller
 * fills in; NULL when there is no memory. */
neap__parked *neap__parked_new(neap_runtime *rt, uint32_t n);
/* One that nobody waits with, to keep a value in. */
neap__parked *neap__parked_hollow(void);
/* False when there is no memory. */
bool neap__parked_place(neap__parked *parked, uint32_t i, neap__channel *ch);
/* Makes it the wait of the running task. */
neap_wait *neap__parked_wait(neap__parked *parked, neap_finish finish,
                             const char *name);
/* Ends the wait without the others; false when one of them was faster. Does not wake. */
bool neap__parked_stop(neap__parked *parked);
/* In finish, first: out of all lines, and the loop is let go. Which place has won, from
 * 0, or -1. */
int neap__parked_over(neap__parked *parked);
void neap__parked_unref(neap__parked *parked);

static inline void neap__channel_lock(neap__channel *ch) {
  uv_mutex_lock(&ch->mutex);
}
static inline void neap__channel_unlock(neap__channel *ch) {
  uv_mutex_unlock(&ch->mutex);
}

/* ---- chancall.c, select.c --------------------------------------------------------- */

/* The channel at `index`. [-0, +0, v] */
static inline neap__channel *neap__check_channel(lua_State *L, neap_runtime *rt,
                                                 int index) {
  return (neap__channel *)(void *)neap__shared_check(L, rt, index,
                                                     &neap__channel_type);
}
/* Pushes the value. When there is no memory for that it goes back into the channel,
 * other errors lose it. `parked` (may be NULL) has the parcel and is let go of.
 * [-0, +1, v] */
void neap__channel_receive(lua_State *L, neap_runtime *rt, neap__channel *ch,
                           neap__parcel *parcel, neap__parked *parked);
/* Pushes "<Channel 3/10>". [-0, +1, m] */
void neap__channel_text(lua_State *L, neap__channel *ch);
/* select(channels, timeout) */
int neap__l_select(lua_State *L);
/* The class. [-0, +0, m] */
void neap__channel_open(lua_State *L, neap_runtime *rt);

#endif
