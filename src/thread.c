/* SPDX-License-Identifier: MIT
 *
 * thread.c - OS threads that run a loop in a runtime of their own.
 *
 * A thread belongs to the loop that started it, and ends with it. What two threads share
 * is the struct, guarded by its mutex, and the two mailboxes. The thread's last act is a
 * mail to the loop that started it, which joins it.
 */
#include "thread.h"

#include "io.h"
#include "job.h"

#include <stdlib.h>
#include <string.h>

#define INSIST_EVERY 20000000LL /* ns between two interrupts */
#define HEAR_FOR 1000000000LL   /* ns for code to come back to the loop */
#define INSIST_FOR 1000000000LL /* ns of that, before a thread is left alone */

/* ---- life -------------------------------------------------------------------- */

void neap__thread_ref(neap__thread *t) {
  atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
}

void neap__thread_unref(neap__thread *t) {
  if (atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1) return;
  if (t->drop != NULL) t->drop(t);
  neap__mailbox_unref(t->box);
  neap__mailbox_unref(t->home);
  neap__share_alloc(t->stuck_text, 0);
  neap__share_alloc(t->path, 0);
  neap__share_alloc(t->cpath, 0);
  uv_cond_destroy(&t->cond);
  uv_mutex_destroy(&t->mutex);
  neap__share_alloc(t, 0);
}

static char *copy(const char *text, bool *failed) {
  if (text == NULL) return NULL;
  size_t size = strlen(text) + 1;
  char *block = neap__share_alloc(NULL, size);
  if (block == NULL) {
    *failed = true;
    return NULL;
  }
  memcpy(block, text, size);
  return block;
}

/* ---- reports of the thread, for the runtime that started it -------------------- */

typedef struct report {
  neap__mail mail;
  size_t message; /* bytes with the 0; 0: a text for the log */
  size_t length;
  char thread[32]; /* its name */
  char text[];
} report;

static void free_report(neap__mail *mail) {
  neap__share_alloc(neap__container_of(mail, report, mail), 0);
}

/* report (light userdata): for the exception handler. */
static int l_show_report(lua_State *L) {
  const report *r = lua_touserdata(L, 1);
  lua_createtable(L, 0, 3);
  lua_pushstring(L, r->text);
  lua_setfield(L, -2, "message");
  lua_pushstring(L, r->thread);
  lua_setfield(L, -2, "thread");
  lua_pushfstring(L, "thread '%s': %s", r->thread, r->text + r->message);
  lua_setfield(L, -2, "report");
  neap__call_handler(L, neap_of(L)->running);
  return 0;
}

static void deliver_report(neap__mail *mail, neap__loop *loop, lua_State *L) {
  report *r = neap__container_of(mail, report, mail);
  if (r->message == 0) {
    neap__log_text(loop->rt, r->text, r->length);
  } else if (lua_checkstack(L, 2)) {
    lua_pushcfunction(L, l_show_report);
    lua_pushlightuserdata(L, r);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
      lua_pop(L, 1);
      neap__unhandled(loop->rt, r->text, r->text + r->message);
    }
  }
  free_report(mail);
}

static void send_report(neap__thread *t, const char *message, const char *text,
                        size_t length) {
  size_t before = message != NULL ? strlen(message) + 1 : 0;
  report *r = neap__share_alloc(NULL, sizeof *r + before + length + 1);
  if (r == NULL) return;
  r->mail = (neap__mail){NULL, deliver_report, free_report};
  r->message = before;
  r->length = length;
  memcpy(r->thread, t->name, sizeof r->thread);
  if (message != NULL) memcpy(r->text, message, before);
  memcpy(r->text + before, text, length);
  r->text[before + length] = '\0';
  neap__post(t->home, &r->mail);
}

static void on_log(void *ud, const char *text, size_t length) {
  send_report(ud, NULL, text, length);
}

static void on_unhandled(void *ud, const char *message, const char *text) {
  send_report(ud, message, text, strlen(text));
}

/* ---- in the thread ------------------------------------------------------------- */

static void run(neap__thread *t, neap_runtime *rt) {
  lua_State *L = neap_lua(rt);
  lua_pushcfunction(L, neap__l_thread_set_up);
  bool failed = lua_pcall(L, 0, 0, 0) != LUA_OK;
  if (failed) lua_pop(L, 1);
  neap__loop *loop = failed ? NULL : neap__current_loop(rt);
  if (loop == NULL) return;
  neap__mailbox_attach(t->box, loop);
  neap__remote_hold(loop); /* until it is stopped */
  neap__loop_drive(loop, L, NULL, true);
  neap__remote_release(loop);
}

static void publish(neap__thread *t, neap_runtime *rt) {
  uv_mutex_lock(&t->mutex);
  t->rt = rt;
  uv_mutex_unlock(&t->mutex);
}

static void on_thread(void *arg) {
  neap__thread *t = arg;
  neap_config config = {
      .size = sizeof config,
      .memory_limit = t->memory_limit,
      .log = on_log,
      .unhandled = on_unhandled,
      .ud = t,
      .lua_path = t->path,
      .lua_cpath = t->cpath,
      .flags = t->no_env ? NEAP_NO_ENV : 0,
  };
#if defined(__linux__)
  char name[16];
  snprintf(name, sizeof name, "%.15s", t->name);
  pthread_setname_np(pthread_self(), name);
#endif
  int error = 0;
  neap_runtime *rt = neap_new(&config, &error);
  if (rt == NULL) {
    /* Of a pool's, who waits for its jobs is told. */
    if (t->gone == NULL)
      on_unhandled(t, "A thread could not start", uv_strerror(error));
  } else {
    rt->self = t;
    neap__interruptible(rt);
    publish(t, rt);
    run(t, rt);
    neap_shutdown(rt);
    publish(t, NULL);
    neap__interruptible(NULL);
    neap_free(rt);
  }
  neap__mailbox_close(t->box);
  uv_mutex_lock(&t->mutex);
  t->ended = true;
  uv_cond_broadcast(&t->cond);
  uv_mutex_unlock(&t->mutex);
  neap__post(t->home, &t->ended_mail);
}

void neap__push_thread_line(lua_State *L, neap_runtime *rt) {
  if (rt->self == NULL) return;
  const char *text = lua_tostring(L, -1);
  lua_pushfstring(L, "%s\n  in thread '%s'",
                  text != NULL ? text : "stack traceback:", rt->self->name);
  lua_remove(L, -2);
}

/* ---- where it was started -------------------------------------------------------- */

/* It has ended. Nobody else has it any more, but for those who wait. */
static void forget(neap_runtime *rt, neap__thread *t) {
  neap__thread **at = &rt->threads;
  while (*at != t)
    at = &(*at)->next;
  *at = t->next;
  neap__timer_disarm(t->home_loop, &t->press);
  while (neap__waitq_wake(&t->joiners, 0) != NULL) {
  }
  if (t->gone != NULL) t->gone(t, rt);
  neap__thread_unref(t);
}

static void join_now(neap__thread *t) {
  t->joined = true;
  uv_thread_join(&t->id);
}

static void deliver_ended(neap__mail *mail, neap__loop *loop, lua_State *L) {
  neap__thread *t = neap__container_of(mail, neap__thread, ended_mail);
  (void)L;
  if (!t->joined) {
    join_now(t);
    forget(loop->rt, t);
  }
  neap__thread_unref(t);
}

static void lose_ended(neap__mail *mail) {
  neap__thread_unref(neap__container_of(mail, neap__thread, ended_mail));
}

/* It says that nothing can wake its tasks: see stuck.c. */
static void deliver_stuck(neap__mail *mail, neap__loop *loop, lua_State *L) {
  neap__thread *t = neap__container_of(mail, neap__thread, stuck_mail);
  (void)L;
  uv_mutex_lock(&t->mutex);
  t->telling = false;
  uv_mutex_unlock(&t->mutex);
  t->stuck = true;
  loop->look_stuck = true;
  loop->looks = NEAP__LOOKS;
  neap__thread_unref(t);
}

static void lose_stuck(neap__mail *mail) {
  neap__thread_unref(neap__container_of(mail, neap__thread, stuck_mail));
}

void neap__thread_tell(neap__thread *t) {
  neap__thread_ref(t);
  neap__post(t->home, &t->stuck_mail);
}

static void deliver_end(neap__mail *mail, neap__loop *loop, lua_State *L);
static void lose_end(neap__mail *mail);

/* The string package[field], or NULL. Pushes it. */
static const char *package_path(lua_State *L, const char *field) {
  const char *text = NULL;
  if (lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE) == LUA_TTABLE &&
      lua_getfield(L, -1, "package") == LUA_TTABLE &&
      lua_getfield(L, -1, field) == LUA_TSTRING)
    text = lua_tostring(L, -1);
  return text;
}

/* One with these paths, or NULL. */
static neap__thread *new_thread(neap__loop *loop, const char *name,
                                const char *path, const char *cpath) {
  neap__thread *t = neap__share_alloc(NULL, sizeof *t);
  if (t == NULL) return NULL;
  *t = (neap__thread){.tag = neap__tag(loop->rt, NEAP__K_THREAD)};
  atomic_init(&t->refs, 1);
  if (uv_mutex_init(&t->mutex) < 0) return neap__share_alloc(t, 0);
  if (uv_cond_init(&t->cond) < 0) {
    uv_mutex_destroy(&t->mutex);
    return neap__share_alloc(t, 0);
  }
  t->ended_mail = (neap__mail){NULL, deliver_ended, lose_ended};
  t->stop_mail = (neap__mail){NULL, deliver_end, lose_end};
  t->stuck_mail = (neap__mail){NULL, deliver_stuck, lose_stuck};
  t->home_loop = loop;
  snprintf(t->name, sizeof t->name, "%s", name);
  bool failed = false;
  t->path = copy(path, &failed);
  t->cpath = copy(cpath, &failed);
  t->box = neap__mailbox_new();
  neap__mailbox *home = neap__mailbox_of(loop);
  if (home != NULL) t->home = neap__mailbox_ref(home);
  if (!failed && t->box != NULL && home != NULL) return t;
  neap__thread_unref(t);
  return NULL;
}

neap__thread *neap__thread_new(lua_State *L, neap__loop *loop,
                               const char *name) {
  luaL_checkstack(L, 8, NULL);
  int top = lua_gettop(L);
  const char *path = package_path(L, "path");
  const char *cpath = package_path(L, "cpath");
  lua_getfield(L, LUA_REGISTRYINDEX, "LUA_NOENV");
  neap__thread *t = new_thread(loop, name, path, cpath);
  if (t != NULL) t->no_env = lua_toboolean(L, -1);
  lua_settop(L, top);
  return t;
}

int neap__thread_start(neap__thread *t) {
  neap_runtime *rt = t->home_loop->rt;
  if (t->home_loop->ending) {
    neap__thread_unref(t);
    return UV_ECANCELED;
  }
  neap__thread_ref(t); /* for the mail at its end */
  int status = uv_thread_create(&t->id, on_thread, t);
  if (status < 0) {
    neap__thread_unref(t);
    neap__thread_unref(t);
    return status;
  }
  t->next = rt->threads;
  rt->threads = t;
  return 0;
}

neap__thread *neap__thread_of(const neap_runtime *rt,
                              const neap__mailbox *box) {
  neap__thread *t = rt->threads;
  while (t != NULL && t->box != box)
    t = t->next;
  return t;
}

void neap__thread_interrupt(neap__thread *t) {
  uv_mutex_lock(&t->mutex);
  if (t->rt !=
      NULL) { /* and so it lives, at least until the lock is given back */
    atomic_fetch_add(&t->rt->insisted, 1);
    neap_interrupt(t->rt, SIGTERM, false);
    neap__interrupt_thread(t->id);
  }
  uv_mutex_unlock(&t->mutex);
}

/* ---- stop ---------------------------------------------------------------------------- */

static void free_stop(neap__mail *mail) {
  neap__share_alloc(mail, 0);
}

static void deliver_stop(neap__mail *mail, neap__loop *loop, lua_State *L) {
  (void)L;
  loop->stopping = true;
  free_stop(mail);
}

void neap__loop_stop(lua_State *L, neap__mailbox *box) {
  neap__mail *mail = neap__share_alloc(NULL, sizeof *mail);
  if (mail == NULL) luaL_error(L, "not enough memory");
  *mail = (neap__mail){NULL, deliver_stop, free_stop};
  neap__post(box, mail);
}

static void deliver_end(neap__mail *mail, neap__loop *loop, lua_State *L) {
  neap__thread *t = neap__container_of(mail, neap__thread, stop_mail);
  (void)L;
  loop->stopping = true;
  uv_mutex_lock(&t->mutex);
  t->heard = true;
  uv_mutex_unlock(&t->mutex);
  neap__thread_unref(t);
}

static void lose_end(neap__mail *mail) {
  neap__thread_unref(neap__container_of(mail, neap__thread, stop_mail));
}

/* The mail is not on its way. */
static void ask(neap__thread *t) {
  neap__thread_ref(t);
  neap__post(t->box, &t->stop_mail);
}

void neap__thread_stop(neap__thread *t) {
  uv_mutex_lock(&t->mutex);
  bool first = !t->asked;
  t->asked = true;
  uv_mutex_unlock(&t->mutex);
  if (first) ask(t);
}

/* ---- join ---------------------------------------------------------------------------- */

static neap_aborted join_abort(neap_wait *wait) {
  neap__thread *t = neap__link_of(wait)->object;
  neap__waitq_remove(&t->joiners, wait);
  return NEAP_ABORT_DONE;
}

static int join_finish(lua_State *L, neap_wait *wait) {
  neap__thread *t = neap__link_of(wait)->object;
  neap__remote_release(t->home_loop);
  neap__thread_unref(t);
  if (L == NULL) return 0;
  neap_runtime *rt = neap_of(L);
  neap__check_stopped(L, rt);
  return wait->status == UV_ECANCELED ? neap__raise_cancelled(L, rt) : 0;
}

int neap__thread_join(lua_State *L, neap_runtime *rt, neap__thread *t,
                      bool at_end) {
  if (!at_end) neap__check_park(rt, L, "join");
  neap__check_place(rt, L, "join");
  neap__check_loop_here(L, rt, t->home_loop);
  neap_wait *wait = neap__io_wait(rt, join_abort, join_finish, "join", t);
  neap__thread_ref(t);
  neap__waitq_push(&t->joiners, wait);
  neap__remote_hold(t->home_loop);
  return neap__park(rt, L, wait);
}

/* ---- close --------------------------------------------------------------------------- */

/* Whether it has shown since it was last looked at that it is about to end. */
static bool has_heard(neap__thread *t) {
  uv_mutex_lock(&t->mutex);
  bool heard = t->heard, alive = heard || t->ending;
  t->heard = t->ending = false;
  uv_mutex_unlock(&t->mutex);
  if (heard) ask(t); /* once more */
  return alive;
}

/* Looks are counted, not time: the machine may have stood still. Where nobody waits for it
 * any more, the thread is left to the end of its loop. */
static void on_press(neap__timer *timer) {
  neap__thread *t = neap__container_of(timer, neap__thread, press);
  if (t->joiners.head == NULL) return;
  t->deaf = has_heard(t) ? 0 : t->deaf + 1;
  if (t->deaf > HEAR_FOR / INSIST_EVERY) neap__thread_interrupt(t);
  int64_t now = neap__now(t->home_loop->rt);
  neap__timer_arm(t->home_loop, timer, now + INSIST_EVERY, now);
}

void neap__thread_press(lua_State *L, neap__thread *t) {
  neap__loop *loop = t->home_loop;
  if (t->press.index == 0) {
    neap__timer_reserve(L, loop);
    int64_t now = neap__now(loop->rt);
    t->press.fire = on_press;
    t->deaf = 0;
    neap__timer_arm(loop, &t->press, now + INSIST_EVERY, now);
  }
  neap__thread_stop(t);
}

/* ---- the end of those who have started threads --------------------------------------- */

/* Whether it has ended, after `ns` at most. */
static bool wait_for_end(neap__thread *t, int64_t ns) {
  int64_t end = (int64_t)uv_hrtime() + ns;
  uv_mutex_lock(&t->mutex);
  while (!t->ended) {
    int64_t left = end - (int64_t)uv_hrtime();
    if (left <= 0 || uv_cond_timedwait(&t->cond, &t->mutex, (uint64_t)left) < 0)
      break;
  }
  bool ended = t->ended;
  uv_mutex_unlock(&t->mutex);
  return ended;
}

/* This thread, if it is one of ours, waits for the end of its own. */
static void show_life(const neap_runtime *rt) {
  if (rt->self == NULL) return;
  uv_mutex_lock(&rt->self->mutex);
  rt->self->ending = true;
  uv_mutex_unlock(&rt->self->mutex);
}

static void leave_alone(neap_runtime *rt, neap__thread *t) {
  char text[128];
  int n = snprintf(text, sizeof text,
                   "thread '%s' is inside a call that does not end; it is left "
                   "behind\n",
                   t->name);
  neap__log_text(rt, text, (size_t)n);
#if !defined(_WIN32)
  pthread_detach(t->id);
#endif
}

/* Looks at one that was asked. What it runs has until `until` to end; but where it does not
 * come back to its loop for as long as `hear`, that is for nothing: it is asked again and
 * again. Then it is interrupted, for a while. Whether there is still hope. */
static bool press(const neap_runtime *rt, neap__thread *t, int64_t until,
                  int64_t hear) {
  int64_t now = (int64_t)uv_hrtime();
  if (t->insist_until == 0) {
    if (has_heard(t)) t->hear_until = now + hear;
    /* Somebody may want this runtime to end at once. */
    if (now < until && now < t->hear_until && atomic_load(&rt->interrupt) == 0)
      return true;
    t->insist_until = now + INSIST_FOR;
  }
  if (now >= t->insist_until) return false;
  neap__thread_interrupt(t);
  return true;
}

/* Those that have ended, or are hopeless, are let go; the first of the others, or NULL. */
static neap__thread *sift(neap__loop *loop, int64_t until, int64_t hear) {
  neap_runtime *rt = loop->rt;
  neap__thread *first = NULL;
  for (neap__thread *t = rt->threads, *next; t != NULL; t = next) {
    next = t->next;
    if (t->home_loop != loop) continue;
    if (wait_for_end(t, 0)) {
      join_now(t);
    } else if (press(rt, t, until, hear)) {
      if (first == NULL) first = t;
      continue;
    } else {
      t->joined = true;
      leave_alone(rt, t);
    }
    forget(rt, t);
  }
  return first;
}

void neap__threads_end(neap__loop *loop) {
  neap_runtime *rt = loop->rt;
  neap__thread *first;
  int64_t now = (int64_t)uv_hrtime(), grace = neap__to_ns(rt->grace);
  int64_t hear = grace < HEAR_FOR ? grace : HEAR_FOR;
  loop->ending = true;
  neap__mailbox_end(loop); /* nobody is to wait for what it will not do */
  for (neap__thread *t = rt->threads; t != NULL; t = t->next) {
    if (t->home_loop != loop) continue;
    t->hear_until = now + hear;
    neap__thread_stop(t);
  }
  while ((first = sift(loop, now + grace, hear)) != NULL) {
    show_life(rt);
    wait_for_end(first, INSIST_EVERY);
  }
}
