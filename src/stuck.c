/* SPDX-License-Identifier: MIT
 *
 * stuck.c - threads whose tasks wait for what can no longer happen, so that a program that
 * waits for such a thread is told of a deadlock.
 *
 * A thread's loop stays, since mails may come. Where nothing but a mail could wake its
 * tasks, it says so to the loop that started it, with the number of mails posted to it so
 * far. That loop believes it as long as no other was posted, and nobody else has a handle
 * of the thread's loop: then only this loop could post one. When all that this loop waits
 * for is done by such threads, nothing can happen any more.
 */
#include "job.h"
#include "thread.h"

#include <string.h>

/* ---- in any loop ---------------------------------------------------------------- */

/* How many others have the loop's mailbox to send answers to. */
static unsigned answers(const neap__loop *loop) {
  unsigned n = 0;
  for (const neap__job *job = loop->sent; job != NULL; job = job->home_next)
    n++;
  for (const neap__thread *t = loop->rt->threads; t != NULL; t = t->next)
    n += t->home == loop->mailbox;
  return n;
}

bool neap__has_handles(const neap__loop *loop) {
  return atomic_load(&loop->mailbox->shared.refs) > 1 + answers(loop);
}

/* How much of what keeps the loop is done by a thread: its jobs, those who join it. */
static size_t holds_of(const neap__loop *loop, const neap__thread *t,
                       unsigned *jobs) {
  size_t n = 0;
  *jobs = 0;
  for (const neap__job *job = loop->sent; job != NULL; job = job->home_next) {
    if (job->there != t->box) continue;
    ++*jobs;
    n += job->holds;
  }
  for (neap_wait *w = t->joiners.head; w != NULL;
       w = neap__link_of(w)->queue.next)
    n++;
  return n;
}

/* Whether the state has a handle of the thread's loop. */
static bool has_handle(const neap_runtime *rt, const neap__thread *t) {
  lua_State *L = rt->L;
  if (!lua_checkstack(L, 2)) return false;
  neap__reg_get(L, NEAP__R_SHARED);
  bool found = lua_istable(L, -1) &&
               lua_rawgetp(L, -1, &t->box->shared) == LUA_TUSERDATA;
  lua_settop(L, lua_gettop(L) - (lua_istable(L, -1) ? 1 : 2));
  return found;
}

/* Whether what the thread said of itself is still so. */
static bool is_stuck(const neap__loop *loop, neap__thread *t, unsigned jobs) {
  if (!t->stuck) return false;
  uv_mutex_lock(&t->box->mutex);
  uint64_t posted = t->box->posted;
  uv_mutex_unlock(&t->box->mutex);
  uv_mutex_lock(&t->mutex); /* has_handle runs nothing that takes it */
  bool same = t->stuck_at == posted;
  /* The thread's struct, its loop, its jobs, and a handle of ours. */
  unsigned known = 2 + t->stuck_refs + jobs + has_handle(loop->rt, t);
  uv_mutex_unlock(&t->mutex);
  return same && atomic_load(&t->box->shared.refs) == known;
}

static size_t stuck_holds(const neap__loop *loop) {
  size_t n = 0;
  for (neap__thread *t = loop->rt->threads; t != NULL; t = t->next) {
    unsigned jobs;
    if (t->home_loop != loop) continue;
    size_t holds = holds_of(loop, t, &jobs);
    if (holds > 0 && is_stuck(loop, t, jobs)) n += holds;
  }
  return n;
}

/* Whether something can happen on the loop but what stuck threads do. `own`: what else
 * keeps it and does nothing. */
static bool goes_on(neap__loop *loop, size_t own) {
  if (loop->nready > 0 || loop->settlers.head != NULL || loop->heap_len > 0 ||
      neap__posted(loop->rt) || loop->nshared > 0 || neap__may_hear(loop) ||
      loop->mail != NULL || loop->nremote < own ||
      loop->nremote - own != stuck_holds(loop))
    return true;
  uv_unref((uv_handle_t *)&loop->async); /* it stands for nremote alone */
  bool alive = uv_loop_alive(loop->uv);
  uv_ref((uv_handle_t *)&loop->async);
  return alive;
}

static bool is_threads_own(const neap__loop *loop) {
  const neap__thread *self = loop->rt->self;
  return self != NULL && loop->mailbox == self->box;
}

bool neap__all_stuck(neap__loop *loop) {
  return loop->nremote > 0 && !is_threads_own(loop) && !goes_on(loop, 0);
}

int64_t neap__stuck_wait(neap__loop *loop, int64_t wait) {
  if (neap__all_stuck(loop)) return 0;
  if (loop->looks == 0) return wait;
  loop->looks--;
  int64_t soon = INT64_C(1000000) << (NEAP__LOOKS - 1 - loop->looks);
  return wait < 0 || soon < wait ? soon : wait;
}

/* ---- in the thread ----------------------------------------------------------------- */

/* loop (light userdata) -> what its deadlock would say */
static int l_message(lua_State *L) {
  neap__push_deadlock(L, lua_touserdata(L, 1));
  lua_getfield(L, -1, "message");
  return 1;
}

/* A copy of that, or NULL. */
static char *message_of(neap__loop *loop, lua_State *L) {
  char *text = NULL;
  if (!lua_checkstack(L, 3)) return NULL;
  lua_pushcfunction(L, l_message);
  lua_pushlightuserdata(L, loop);
  if (lua_pcall(L, 1, 1, 0) == LUA_OK && lua_isstring(L, -1)) {
    size_t size = lua_rawlen(L, -1) + 1;
    text = neap__share_alloc(NULL, size);
    if (text != NULL) memcpy(text, lua_tostring(L, -1), size);
  }
  lua_pop(L, 1);
  return text;
}

void neap__stuck_look(neap__loop *loop, lua_State *L) {
  if (loop->ntasks == 0 || !is_threads_own(loop) || goes_on(loop, 1)) return;
  neap__thread *t = loop->rt->self;
  uv_mutex_lock(&t->box->mutex);
  uint64_t posted = t->box->head == NULL ? t->box->posted : 0;
  uv_mutex_unlock(&t->box->mutex);
  if (posted == 0 || posted == t->told_at) return;
  t->told_at = posted;
  char *text = message_of(loop, L);
  uv_mutex_lock(&t->mutex);
  char *old = t->stuck_text;
  bool first = !t->telling;
  t->stuck_text = text;
  t->stuck_at = posted;
  t->stuck_refs = answers(loop);
  t->telling = true;
  uv_mutex_unlock(&t->mutex);
  neap__share_alloc(old, 0);
  if (first) neap__thread_tell(t);
}

/* ---- the report --------------------------------------------------------------------- */

void neap__stuck_list(lua_State *L, luaL_Buffer *b, const neap__loop *loop) {
  for (neap__thread *t = loop->rt->threads; t != NULL; t = t->next) {
    unsigned jobs;
    if (t->home_loop != loop || holds_of(loop, t, &jobs) == 0 ||
        !is_stuck(loop, t, jobs))
      continue;
    uv_mutex_lock(&t->mutex);
    char *text = t->stuck_text; /* it is stuck, and does not make another */
    uv_mutex_unlock(&t->mutex);
    lua_pushfstring(L, "\nin thread '%s', %s", t->name,
                    text != NULL ? text : "nothing can wake its tasks");
    luaL_addvalue(b);
  }
}
