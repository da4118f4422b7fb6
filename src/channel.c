/* SPDX-License-Identifier: MIT
 *
 * channel.c - channels between threads: a ring of packed values under a mutex, and two
 * lines of calls that wait.
 *
 * Who waits is served by those who come later: a value goes straight to the first
 * receiver in line, and when a place becomes free the value of the first sender in line
 * moves in. So receivers stand in line only while there is nothing to take, senders only
 * while there is no place. A task that was served but is cancelled before it runs gives
 * its value back, to the front; the numbers of the values keep them in order.
 *
 * No lock is taken while a channel's is held. Those who were served are collected and
 * woken after that: a task of the caller's own runtime at once, others by a mail.
 */
#include "channel.h"

#include <string.h>

#define FIRST_CAP 8
#define KEPT_CAP 1024 /* a ring that is not worth making smaller */

/* ---- nodes --------------------------------------------------------------------------- */

static void unref_channel(neap__channel *ch) {
  neap__shared_unref(&ch->shared);
}

void neap__parked_unref(neap__parked *parked) {
  if (atomic_fetch_sub_explicit(&parked->refs, 1, memory_order_acq_rel) != 1)
    return;
  neap__packet_free(&parked->parcel.packet);
  for (uint32_t i = 0; i < parked->n; i++)
    if (parked->places[i].channel != NULL)
      unref_channel(parked->places[i].channel);
  neap__share_alloc(parked, 0);
}

static void ref_parked(neap__parked *parked) {
  atomic_fetch_add_explicit(&parked->refs, 1, memory_order_relaxed);
}

/* Another thread has ended its wait. */
static void deliver(neap__mail *mail, neap__loop *loop, lua_State *L) {
  neap__parked *parked = neap__container_of(mail, neap__parked, mail);
  (void)loop, (void)L;
  if (parked->wait != NULL) neap_wake(parked->wait, 0);
  neap__parked_unref(parked);
}

static void lost(neap__mail *mail) {
  neap__parked_unref(neap__container_of(mail, neap__parked, mail));
}

static neap__parked *new_parked(uint32_t n) {
  size_t size = sizeof(neap__parked) + n * sizeof(neap__place);
  neap__parked *parked = neap__share_alloc(NULL, size);
  if (parked == NULL) return NULL;
  memset(parked, 0, size);
  atomic_init(&parked->refs, 1);
  atomic_init(&parked->winner, 0);
  parked->n = n;
  return parked;
}

neap__parked *neap__parked_hollow(void) {
  return new_parked(0);
}

neap__parked *neap__parked_new(neap_runtime *rt, uint32_t n) {
  neap__loop *loop = rt->current->future.loop;
  if (rt->current == &rt->root)
    loop = rt->running != NULL ? rt->running : rt->loop;
  neap__parked *parked = new_parked(n);
  if (parked == NULL) return NULL;
  parked->tag = neap__tag(rt, NEAP__K_CHANNEL);
  parked->rt = rt;
  parked->loop = loop;
  parked->mail = (neap__mail){.deliver = deliver, .lost = lost};
  return parked;
}

bool neap__parked_place(neap__parked *parked, uint32_t i, neap__channel *ch) {
  neap__shared_ref(&ch->shared);
  parked->places[i].who = parked;
  parked->places[i].channel = ch;
  /* Only the one runtime that knows it can make others know it. */
  if (ch->crossed && parked->box == NULL)
    parked->box = neap__mailbox_of(parked->loop);
  return !ch->crossed || parked->box != NULL;
}

/* ---- lines ---------------------------------------------------------------------------- */

static void join(neap__line *line, neap__place *place) {
  place->line = line;
  place->next = NULL;
  place->prev = line->tail;
  if (line->tail != NULL) {
    line->tail->next = place;
  } else {
    line->head = place;
  }
  line->tail = place;
}

static void leave(neap__place *place) {
  neap__line *line = place->line;
  if (line == NULL) return;
  if (place->prev != NULL) {
    place->prev->next = place->next;
  } else {
    line->head = place->next;
  }
  if (place->next != NULL) {
    place->next->prev = place->prev;
  } else {
    line->tail = place->prev;
  }
  place->line = NULL;
}

static bool win(neap__parked *parked, int winner) {
  int nobody = 0;
  return atomic_compare_exchange_strong(&parked->winner, &nobody, winner);
}

/* Takes it out of all lines; nobody ends its wait any more. Who waits in one line alone
 * leaves it in the moment in which it stops waiting. */
static void leave_all(neap__parked *parked) {
  for (uint32_t i = 0; i < parked->n; i++) {
    neap__channel *ch = parked->places[i].channel;
    if (ch == NULL) continue;
    neap__channel_lock(ch);
    win(parked, -1);
    leave(&parked->places[i]);
    neap__channel_unlock(ch);
  }
}

/* Takes out the first who still waits, to be woken by `wake`, which is a list; NULL when
 * there is none. The owner of a node has to get at the lock before he can free it. */
static neap__parked *serve(neap__line *line, neap_runtime *rt,
                           enum neap__ended ended, neap__parked **wake) {
  neap__place *place;
  while ((place = line->head) != NULL) {
    neap__parked *who = place->who;
    leave(place);
    if (!win(who, (int)(place - who->places) + 1)) continue;
    if (who->rt != rt) { /* it is to outlast its task until the mail is there */
      ref_parked(who);
      neap__mailbox_ref(who->box);
    }
    who->ended = ended;
    who->next = NULL;
    while (*wake != NULL)
      wake = &(*wake)->next;
    *wake = who;
    return who;
  }
  return NULL;
}

/* Without the lock. */
static inline void wake_all(neap__parked *list, neap_runtime *rt) {
  while (list != NULL) {
    neap__parked *who = list;
    list = who->next;
    if (who->rt == rt) {
      neap_wake(who->wait, 0);
    } else {
      neap__mailbox *box = who->box;
      neap__post(box, &who->mail);
      neap__mailbox_unref(box);
    }
  }
}

/* ---- the ring -------------------------------------------------------------------------- */

static bool resize(neap__channel *ch, size_t cap) {
  if (cap > SIZE_MAX / sizeof *ch->ring) return false;
  neap__parcel *ring = neap__share_alloc(NULL, cap * sizeof *ring);
  if (ring == NULL) return false;
  size_t first = ch->cap - ch->head; /* up to the end of the old one */
  if (first > ch->count) first = ch->count;
  if (ch->count > 0) {
    memcpy(ring, ch->ring + ch->head, first * sizeof *ring);
    memcpy(ring + first, ch->ring, (ch->count - first) * sizeof *ring);
  }
  neap__share_alloc(ch->ring, 0);
  ch->ring = ring;
  ch->head = 0;
  ch->cap = cap;
  return true;
}

static inline neap__parcel *slot(const neap__channel *ch, size_t i) {
  return &ch->ring[(ch->head + i) & (ch->cap - 1)];
}

/* False: there is no memory. */
static inline bool push(neap__channel *ch, const neap__parcel *parcel) {
  if (NEAP__UNLIKELY(ch->count == ch->cap) &&
      !resize(ch, ch->cap == 0 ? FIRST_CAP : 2 * ch->cap))
    return false;
  neap__parcel *to = slot(ch, ch->count);
  to->packet = parcel->packet;
  to->seq = ++ch->seq;
  ch->count++;
  return true;
}

static inline bool has_room(const neap__channel *ch) {
  return ch->count + ch->nback < ch->capacity;
}

/* There are free places: for those in line. */
static void admit(neap__channel *ch, neap_runtime *rt, neap__parked **wake) {
  while (ch->senders.head != NULL && has_room(ch)) {
    if (ch->count == ch->cap &&
        !resize(ch, ch->cap == 0 ? FIRST_CAP : 2 * ch->cap))
      return; /* its value will be taken out of the line */
    neap__parked *who = serve(&ch->senders, rt, NEAP__PASSED, wake);
    if (who == NULL) return;
    push(ch, &who->parcel);
    who->parcel.packet = (neap__packet){.size = 0};
    who->parcel.seq = ch->seq;
  }
}

/* Takes the oldest out; there is one in the channel. */
static inline void pop(neap__channel *ch, neap__parcel *out) {
  if (NEAP__UNLIKELY(ch->back != NULL)) {
    neap__parked *parked = ch->back;
    ch->back = parked->back;
    ch->nback--;
    *out = parked->parcel;
    parked->parcel.packet = (neap__packet){.size = 0};
    neap__parked_unref(parked); /* frees no channel: this one is the caller's */
    return;
  }
  *out = *slot(ch, 0);
  ch->head = (ch->head + 1) & (ch->cap - 1);
  ch->count--;
  if (NEAP__UNLIKELY(ch->cap > KEPT_CAP && ch->count < ch->cap / 8))
    resize(ch, ch->cap / 2);
}

/* ---- putting, taking -------------------------------------------------------------------- */

enum neap__went neap__channel_put(neap__channel *ch, neap_runtime *rt,
                                  neap__parcel *parcel, neap__parked *parked) {
  enum neap__went went = NEAP__DONE;
  neap__parked *wake = NULL, *who;
  neap__channel_lock(ch);
  if (NEAP__UNLIKELY(ch->closed)) {
    went = NEAP__ENDED;
  } else if (NEAP__UNLIKELY(ch->receivers.head != NULL) &&
             (who = serve(&ch->receivers, rt, NEAP__PASSED, &wake)) != NULL) {
    who->parcel.packet = parcel->packet;
    who->parcel.seq = parcel->seq = ++ch->seq;
  } else if (has_room(ch) && ch->senders.head == NULL) {
    if (!push(ch, parcel)) went = NEAP__NO_MEMORY;
  } else {
    went = NEAP__NOT_NOW;
    if (parked != NULL) {
      parked->parcel.packet = parcel->packet;
      parked->held = ch->crossed;
      join(&ch->senders, &parked->places[0]);
    }
  }
  neap__channel_unlock(ch);
  if (wake != NULL) wake_all(wake, rt);
  if (parked != NULL && parked->held) neap__remote_hold(parked->loop);
  return went;
}

enum neap__went neap__channel_take(neap__channel *ch, neap_runtime *rt,
                                   neap__parcel *out, neap__parked *parked,
                                   uint32_t i) {
  enum neap__went went = NEAP__DONE;
  neap__parked *wake = NULL, *who;
  bool hold = false;
  neap__channel_lock(ch);
  bool any = ch->count > 0 || ch->nback > 0;
  if ((any || ch->senders.head != NULL || ch->closed) && parked != NULL &&
      !win(parked, -1)) {
    went = NEAP__NOT_NOW; /* another channel has something for it already */
  } else if (NEAP__LIKELY(any)) {
    pop(ch, out);
    if (NEAP__UNLIKELY(ch->senders.head != NULL)) admit(ch, rt, &wake);
  } else if (ch->senders.head != NULL &&
             (who = serve(&ch->senders, rt, NEAP__PASSED, &wake)) != NULL) {
    *out = who->parcel;
    out->seq = who->parcel.seq = ++ch->seq;
    who->parcel.packet = (neap__packet){.size = 0};
  } else if (ch->closed) {
    went = NEAP__ENDED;
  } else {
    went = NEAP__NOT_NOW;
    if (parked != NULL) {
      hold = ch->crossed && !parked->held;
      parked->held = parked->held || hold;
      join(&ch->receivers, &parked->places[i]);
    }
  }
  neap__channel_unlock(ch);
  if (wake != NULL) wake_all(wake, rt);
  if (hold) neap__remote_hold(parked->loop);
  return went;
}

void neap__channel_close(neap__channel *ch, neap_runtime *rt) {
  neap__parked *wake = NULL, **end = &wake;
  neap__channel_lock(ch);
  ch->closed = true;
  neap__line *lines[] = {&ch->receivers, &ch->senders};
  for (size_t i = 0; i < 2; i++)
    while (serve(lines[i], rt, NEAP__SHUT, end) != NULL)
      end = &(*end)->next;
  neap__channel_unlock(ch);
  wake_all(wake, rt);
}

/* ---- taking back -------------------------------------------------------------------------- */

void neap__channel_give_back(neap__channel *ch, neap_runtime *rt,
                             neap__parked *parked) {
  neap__parked *wake = NULL, *who;
  neap__shared_ref(&ch->shared);
  for (uint32_t i = 0; i < parked->n;
       i++) { /* a channel is not to hold itself */
    if (parked->places[i].channel != NULL)
      unref_channel(parked->places[i].channel);
    parked->places[i].channel = NULL;
  }
  neap__channel_lock(ch);
  who = serve(&ch->receivers, rt, NEAP__PASSED, &wake);
  if (who != NULL) {
    who->parcel = parked->parcel;
    parked->parcel.packet = (neap__packet){.size = 0};
  } else {
    neap__parked **at = &ch->back;
    while (*at != NULL && (*at)->parcel.seq < parked->parcel.seq)
      at = &(*at)->back;
    parked->back = *at;
    *at = parked;
    ch->nback++;
    ref_parked(parked);
  }
  neap__channel_unlock(ch);
  wake_all(wake, rt);
  unref_channel(ch);
}

bool neap__channel_restore(neap__channel *ch, neap_runtime *rt,
                           neap__parcel *parcel) {
  neap__parked *wake = NULL, *who;
  bool back = true;
  neap__channel_lock(ch);
  if ((who = serve(&ch->receivers, rt, NEAP__PASSED, &wake)) != NULL) {
    who->parcel = *parcel;
  } else if (ch->back == NULL && ch->count < ch->cap) {
    ch->head = (ch->head - 1) & (ch->cap - 1);
    ch->count++;
    *slot(ch, 0) = *parcel;
  } else {
    back = false;
  }
  neap__channel_unlock(ch);
  wake_all(wake, rt);
  return back;
}

void neap__channel_withdraw(neap__channel *ch, neap_runtime *rt, uint64_t seq) {
  neap__parked *wake = NULL, *back = NULL;
  neap__packet packet = {.size = 0};
  neap__channel_lock(ch);
  neap__parked **at = &ch->back;
  while (*at != NULL && (*at)->parcel.seq < seq)
    at = &(*at)->back;
  if (*at != NULL && (*at)->parcel.seq == seq) {
    back = *at;
    *at = back->back;
    ch->nback--;
  }
  for (size_t i = 0; back == NULL && i < ch->count; i++) {
    if (slot(ch, i)->seq != seq) continue;
    packet = slot(ch, i)->packet;
    for (ch->count--; i < ch->count; i++)
      *slot(ch, i) = *slot(ch, i + 1);
  }
  admit(ch, rt, &wake);
  neap__channel_unlock(ch);
  wake_all(wake, rt);
  if (back != NULL) neap__parked_unref(back);
  neap__packet_free(&packet);
}

/* ---- waiting ------------------------------------------------------------------------------- */

bool neap__parked_stop(neap__parked *parked) {
  leave_all(parked);
  return atomic_load(&parked->winner) == -1;
}

/* Nobody ends the wait any more, or somebody did and the mail is on its way: then finish
 * undoes it. */
static neap_aborted parked_abort(neap_wait *wait) {
  leave_all(neap__link_of(wait)->object);
  return NEAP_ABORT_DONE;
}

int neap__parked_over(neap__parked *parked) {
  /* The mail has told all that there is to know, unless it is still on its way. */
  bool told = parked->wait != NULL && parked->wait->status >= 0;
  parked->wait = NULL;
  if (parked->timer.index != 0)
    neap__timer_disarm(parked->loop, &parked->timer);
  if (parked->held) neap__remote_release(parked->loop);
  parked->held = false;
  if (!told || parked->n > 1) leave_all(parked);
  int winner = atomic_load(&parked->winner);
  return winner > 0 ? winner - 1 : -1;
}

neap_wait *neap__parked_wait(neap__parked *parked, neap_finish finish,
                             const char *name) {
  parked->wait = neap__own_wait(parked->rt, parked_abort, finish, name);
  neap__link_of(parked->wait)->object = parked;
  return parked->wait;
}

/* ---- life ----------------------------------------------------------------------------------- */

static bool hold_line(const neap__line *line) {
  for (neap__place *place = line->head; place != NULL; place = place->next) {
    neap__parked *who = place->who;
    if (who->held) continue;
    if (who->box == NULL) who->box = neap__mailbox_of(who->loop);
    if (who->box == NULL) return false;
    who->held = true;
    neap__remote_hold(who->loop);
  }
  return true;
}

bool neap__channel_cross(neap__channel *ch) {
  if (!ch->crossed) {
    if (!hold_line(&ch->senders) || !hold_line(&ch->receivers)) return false;
    ch->crossed = true;
  }
  return true;
}

size_t neap__channel_count(neap__channel *ch, bool *closed) {
  neap__channel_lock(ch);
  size_t n = ch->count + ch->nback;
  *closed = ch->closed;
  neap__channel_unlock(ch);
  return n;
}

neap__channel *neap__channel_new(size_t capacity) {
  neap__channel *ch = neap__share_alloc(NULL, sizeof *ch);
  if (ch == NULL) return NULL;
  *ch = (neap__channel){.capacity = capacity};
  neap__shared_init(&ch->shared, &neap__channel_type);
  return uv_mutex_init(&ch->mutex) == 0 ? ch : neap__share_alloc(ch, 0);
}

/* A packet goes. Channels for which that was the last reference join the list: they may
 * be in each other by the million. */
static void free_packet(neap__packet *packet, neap__channel **dead) {
  for (uint32_t i = 0; i < packet->nrefs; i++) {
    neap__shared *ref = packet->big.refs[i];
    if (ref == NULL || ref->type != &neap__channel_type) continue;
    packet->big.refs[i] = NULL;
    if (atomic_fetch_sub_explicit(&ref->refs, 1, memory_order_acq_rel) != 1)
      continue;
    neap__channel *ch = (neap__channel *)(void *)ref;
    ch->dead = *dead;
    *dead = ch;
  }
  neap__packet_free(packet);
}

/* Nobody waits: those who do hold it. */
static void destroy(neap__shared *shared) {
  neap__channel *list = (neap__channel *)(void *)shared;
  list->dead = NULL;
  while (list != NULL) {
    neap__channel *ch = list;
    list = ch->dead;
    while (ch->back != NULL) {
      neap__parked *parked = ch->back;
      ch->back = parked->back;
      free_packet(&parked->parcel.packet, &list);
      neap__parked_unref(parked);
    }
    for (size_t i = 0; i < ch->count; i++)
      free_packet(&slot(ch, i)->packet, &list);
    neap__share_alloc(ch->ring, 0);
    uv_mutex_destroy(&ch->mutex);
    neap__share_alloc(ch, 0);
  }
}

const neap__shared_type neap__channel_type = {NEAP__K_CHANNEL, "Channel",
                                              neap__channel_open, destroy};
