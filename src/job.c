/* SPDX-License-Identifier: MIT
 *
 * job.c - a function that another loop runs, and the Future of its outcome.
 *
 * A job has an owner at any time: it is at home, being made; in the mailbox of the loop
 * that is to run it, or in a queue; over there, as a task; and on its way back. Each of
 * these hands it on, with one reference, and in the end `reply` comes home, once. The
 * Future's side has a second reference, a cancellation under way a third.
 *
 * Fields of `home` are only touched in the home loop's thread, those of `there` in the
 * thread that runs it. Packet and outcome belong to whoever owns the job.
 */
#include "job.h"

#include <string.h>

/* ---- references -------------------------------------------------------------- */

neap__job *neap__job_ref(neap__job *job) {
  atomic_fetch_add_explicit(&job->refs, 1, memory_order_relaxed);
  return job;
}

void neap__job_unref(neap__job *job) {
  if (atomic_fetch_sub_explicit(&job->refs, 1, memory_order_acq_rel) != 1)
    return;
  neap__packet_free(&job->packet);
  neap__mailbox_unref(job->home);
  neap__mailbox_unref(job->there);
  if (job->code != NULL) neap__shared_unref(&job->code->shared);
  neap__shared_unref(job->pool);
  neap__share_alloc(job->message, 0);
  neap__share_alloc(job, 0);
}

/* ---- rings of a loop ----------------------------------------------------------- */

static void enter_home(neap__loop *loop, neap__job *job) {
  job->home_loop = loop;
  job->home_prev = NULL;
  job->home_next = loop->sent;
  if (loop->sent != NULL) loop->sent->home_prev = job;
  loop->sent = job;
  neap__remote_hold(loop);
  job->holds = true;
}

/* Its Future does not keep the loop any more. */
static void let_go(neap__job *job) {
  if (!job->holds) return;
  job->holds = false;
  neap__remote_release(job->home_loop);
}

static void leave_home(neap__job *job) {
  neap__loop *loop = job->home_loop;
  if (loop == NULL) return;
  let_go(job);
  if (job->home_prev != NULL) {
    job->home_prev->home_next = job->home_next;
  } else {
    loop->sent = job->home_next;
  }
  if (job->home_next != NULL) job->home_next->home_prev = job->home_prev;
  job->home_loop = NULL;
}

static void enter_there(neap__loop *loop, neap__job *job) {
  job->there_loop = loop;
  job->there_prev = NULL;
  job->there_next = loop->running_jobs;
  if (loop->running_jobs != NULL) loop->running_jobs->there_prev = job;
  loop->running_jobs = job;
}

static void leave_there(neap__job *job) {
  neap__loop *loop = job->there_loop;
  if (loop == NULL) return;
  if (job->there_prev != NULL) {
    job->there_prev->there_next = job->there_next;
  } else {
    loop->running_jobs = job->there_next;
  }
  if (job->there_next != NULL) job->there_next->there_prev = job->there_prev;
  job->there_loop = NULL;
}

/* ---- at home ------------------------------------------------------------------- */

/* Pushes what anchors the job's Future, and it. [-0, +2, -] */
static neap__future *push_future(lua_State *L, const neap__job *job) {
  neap__reg_get(L, NEAP__R_THREADS);
  lua_rawgeti(L, -1, job->slot);
  return lua_touserdata(L, -1);
}

/* Keeps the message of the Future's cancellation, if any, and if there is memory. */
static void take_message(neap__job *job, lua_State *L) {
  if (!lua_checkstack(L, 3)) return;
  push_future(L, job);
  if (lua_getiuservalue(L, -1, NEAP__OUTCOME) == LUA_TSTRING) {
    size_t size = lua_rawlen(L, -1) + 1;
    job->message = neap__share_alloc(NULL, size);
    if (job->message != NULL) memcpy(job->message, lua_tostring(L, -1), size);
  }
  lua_pop(L, 3);
}

/* It is cancelled there, once. */
static void ask_to_end(neap__job *job) {
  if (job->asked) return;
  job->asked = true;
  neap__job_ref(job);
  neap__post(job->there, &job->cancel);
}

/* The Future has its outcome: from us, or it was cancelled. */
static void on_future_done(neap__watcher *watcher, neap__future *future) {
  neap__job *job = neap__container_of(watcher, neap__job, watcher);
  let_go(job);
  if (job->concluded || future->state != NEAP__CANCELLED) return;
  if (job->withdraw != NULL && job->withdraw(job)) {
    job->outcome = NEAP__JOB_CANCELLED; /* nobody will run it */
    neap__post(job->home, &job->reply);
    return;
  }
  if (job->there == NULL || job->asked) return;
  take_message(job, future->loop->rt->L);
  ask_to_end(job);
}

bool neap__job_end(lua_State *L, neap__future *future) {
  luaL_checkstack(L, 2, NULL);
  bool found = false;
  for (neap__job *job = future->loop != NULL ? future->loop->sent : NULL;
       job != NULL && !found; job = job->home_next) {
    found = push_future(L, job) == future;
    lua_pop(L, 2);
    if (found && !job->concluded && job->there != NULL) ask_to_end(job);
  }
  return found;
}

/* job, Future: the packet's values are the outcome, unless a finalizer brought another. */
static int l_settle(lua_State *L) {
  neap__job *job = lua_touserdata(L, 1);
  neap__future *future = lua_touserdata(L, 2);
  neap_runtime *rt = neap_of(L);
  int n;
  switch (job->outcome) {
  case NEAP__JOB_RETURNED:
    n = neap__unpack(L, rt, &job->packet, 0);
    if (n > 1) {
      lua_createtable(L, n, 0);
      lua_insert(L, 3);
      for (int i = n; i >= 1; i--)
        lua_rawseti(L, 3, i);
    }
    if (future->state != NEAP__PENDING) break;
    if (n > 0) lua_setiuservalue(L, 2, NEAP__OUTCOME);
    future->nresults = n;
    neap__complete(future, NEAP__RETURNED);
    break;
  case NEAP__JOB_CANCELLED:
    neap__unpack(L, rt, &job->packet, 0);
    if (future->state != NEAP__PENDING) break;
    lua_settop(L, 3);
    lua_setiuservalue(L, 2, NEAP__OUTCOME);
    neap__complete(future, NEAP__CANCELLED);
    break;
  case NEAP__JOB_RAISED:
    neap__unpack(L, rt, &job->packet, 0);
    lua_settop(L, 4);
    neap__fail_future(L, rt, 2);
    break;
  default:
    if (future->loop
            ->ending) { /* nobody is told of what had to be broken off */
      neap__complete(future, NEAP__CANCELLED);
      break;
    }
    lua_pushstring(L, job->reason);
    neap__error_new(L, NEAP__BROKENEXECUTOR);
    lua_pushnil(L);
    neap__fail_future(L, rt, 2);
  }
  return 0;
}

static bool is_interrupt(lua_State *L, int index) {
  return neap__error_is(L, index, NEAP__SYSTEMEXIT) ||
         neap__error_is(L, index, NEAP__KEYBOARDINTERRUPT);
}

/* Future, error: what went wrong on the way is its outcome. */
static int l_settle_error(lua_State *L) {
  lua_settop(L, 2);
  if (is_interrupt(L, 2)) { /* of this thread, which is to end */
    neap__complete(lua_touserdata(L, 1), NEAP__CANCELLED);
    return 0;
  }
  lua_pushnil(L);
  neap__fail_future(L, neap_of(L), 1);
  return 0;
}

void neap__fail_future(lua_State *L, neap_runtime *rt, int index) {
  neap__future *future = lua_touserdata(L, index);
  index = lua_absindex(L, index);
  if (lua_isstring(L, -1)) {
    neap__push_extra(L, index);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "traceback");
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  if (future->state != NEAP__PENDING) { /* a finalizer was faster */
    lua_pop(L, 1);
    return;
  }
  lua_setiuservalue(L, index, NEAP__OUTCOME);
  neap__complete(future, NEAP__RAISED);
  lua_pushvalue(L, index);
  neap__track_lost(L, rt, future);
  lua_pop(L, 1);
}

/* The outcome has come. */
static void deliver_reply(neap__mail *mail, neap__loop *loop, lua_State *L) {
  neap__job *job = neap__container_of(mail, neap__job, reply);
  int top = lua_gettop(L);
  job->concluded = true;
  if (job->home_loop != NULL && lua_checkstack(L, 8)) {
    neap__future *future = push_future(L, job);
    if (future->state == NEAP__PENDING) {
      lua_pushcfunction(L, l_settle);
      lua_pushlightuserdata(L, job);
      lua_pushvalue(L, -3);
      if (lua_pcall(L, 2, 0, 0) != LUA_OK && future->state == NEAP__PENDING) {
        lua_pushcfunction(L, l_settle_error);
        lua_pushvalue(L, top + 2);
        lua_pushvalue(L, -3);
        if (lua_pcall(L, 2, 0, 0) != LUA_OK && future->state == NEAP__PENDING)
          neap__complete(future, NEAP__CANCELLED); /* no memory for anything */
      }
    }
    lua_settop(L, top);
    neap__unanchor(L, loop->rt, job->slot);
    leave_home(job);
    neap__job_unref(job); /* the Future's */
  }
  neap__job_unref(job);
}

static void lose_reply(neap__mail *mail) {
  neap__job_unref(neap__container_of(mail, neap__job, reply));
}

/* ---- there ------------------------------------------------------------------------ */

/* Sends the outcome home, with the owner's reference. */
static void send_home(neap__job *job, neap__loop *loop) {
  void (*finished)(neap__job *, neap__loop *) =
      loop->closed ? NULL : job->finished;
  leave_there(job);
  if (finished != NULL) neap__job_ref(job);
  neap__post(job->home, &job->reply);
  if (finished != NULL) {
    finished(job, loop);
    neap__job_unref(job);
  }
}

void neap__job_break(neap__job *job, const char *reason) {
  neap__packet_free(&job->packet);
  job->outcome = NEAP__JOB_BROKEN;
  job->reason = reason;
  leave_there(job);
  neap__post(job->home, &job->reply);
}

void neap__job_cancel(neap__job *job, lua_State *L) {
  if (!lua_checkstack(L, 2)) return;
  neap__future *future = push_future(L, job);
  if (future->state == NEAP__PENDING) neap__complete(future, NEAP__CANCELLED);
  lua_pop(L, 2);
}

/* job (light userdata), Task, which is done: its outcome becomes the packet. */
static int l_pack_outcome(lua_State *L) {
  neap__job *job = lua_touserdata(L, 1);
  neap__future *future = lua_touserdata(L, 2);
  neap_runtime *rt = neap_of(L);
  switch (future->state) {
  case NEAP__RETURNED: {
    int n = neap__take(L, rt, 2);
    neap__pack(L, rt, lua_gettop(L) - n + 1, n, 0, "result", &job->packet);
    job->outcome = NEAP__JOB_RETURNED;
    break;
  }
  case NEAP__CANCELLED:
    neap__push_cancelled(L, 2);
    lua_getfield(L, -1, "message");
    if (lua_type(L, -1) != LUA_TSTRING) lua_pushnil(L);
    neap__pack(L, rt, lua_gettop(L), 1, 0, "message:", &job->packet);
    job->outcome = NEAP__JOB_CANCELLED;
    break;
  default:
    neap__seen(future);
    lua_settop(L, 2);
    lua_getiuservalue(L, 2, NEAP__OUTCOME);
    if (is_interrupt(L, 3)) {
      job->outcome = NEAP__JOB_BROKEN; /* it was not its own */
      job->reason = "the thread was interrupted while it ran this";
      break;
    }
    neap__push_extra(L, 2);
    lua_getfield(L, -1, "traceback");
    neap__push_thread_line(L, rt); /* nil or text -> nil or more text */
    neap__pack_error(L, rt, 3, lua_gettop(L), 0, &job->packet);
    job->outcome = NEAP__JOB_RAISED;
  }
  return 0;
}

/* job (light userdata), error without a traceback. */
static int l_pack_error(lua_State *L) {
  neap__job *job = lua_touserdata(L, 1);
  lua_settop(L, 2);
  lua_pushnil(L);
  neap__pack_error(L, neap_of(L), 2, 3, 0, &job->packet);
  job->outcome = NEAP__JOB_RAISED;
  return 0;
}

/* Pops the error, which becomes the job's. */
static void fail_with(neap__job *job, lua_State *L) {
  neap__packet_free(&job->packet);
  if (lua_checkstack(L, 3)) {
    lua_pushcfunction(L, l_pack_error);
    lua_pushlightuserdata(L, job);
    lua_pushvalue(L, -3);
    if (lua_pcall(L, 2, 0, 0) == LUA_OK) {
      lua_pop(L, 1);
      return;
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  neap__packet_free(&job->packet);
  job->outcome = NEAP__JOB_BROKEN;
  job->reason = "not enough memory for the outcome";
}

/* Its task is done. */
static void conclude(neap__job *job, neap__loop *loop, lua_State *L) {
  neap_task *task = job->task;
  job->task = NULL;
  neap__packet_free(&job->packet);
  if (lua_checkstack(L, 4)) {
    lua_pushcfunction(L, l_pack_outcome);
    lua_pushlightuserdata(L, job);
    neap_push_task(L, task);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK) fail_with(job, L);
  } else {
    job->outcome = NEAP__JOB_BROKEN;
    job->reason = "not enough memory for the outcome";
  }
  neap_release(task);
  send_home(job, loop);
}

static void on_task_done(neap_task *task, lua_State *L, neap_outcome outcome,
                         int nresults, void *ud) {
  neap__job *job = ud;
  (void)outcome;
  (void)nresults;
  /* Otherwise its loop is closed, and the job gone. */
  if (job->task == task) conclude(job, task->future.loop, L);
}

/* job (light userdata): its task is made. */
static int l_start(lua_State *L) {
  neap__job *job = lua_touserdata(L, 1);
  neap_runtime *rt = neap_of(L);
  if (job->code != NULL) neap__push_code(L, rt, job->code);
  int n = neap__unpack(L, rt, &job->packet, 0) + (job->code != NULL);
  if (job->gap && n > 1) {
    lua_remove(L, 3);
    n--;
  }
  neap__check_awaitable(L, rt, 2, 1);
  job->task = neap_spawn(rt, L, n - 1, on_task_done, job);
  if (job->task == NULL) luaL_error(L, "not enough memory");
  return 0;
}

void neap__job_run(neap__job *job, neap__loop *loop, lua_State *L) {
  if (job->cancelled) {
    neap__packet_free(&job->packet);
    job->outcome = NEAP__JOB_CANCELLED;
    send_home(job, loop);
    return;
  }
  int top = lua_gettop(L);
  enter_there(loop, job);
  if (!lua_checkstack(L, 4)) {
    job->outcome = NEAP__JOB_BROKEN;
    job->reason = "not enough memory";
    send_home(job, loop);
    return;
  }
  lua_pushcfunction(L, l_start);
  lua_pushlightuserdata(L, job);
  if (lua_pcall(L, 1, 0, 0) == LUA_OK) {
    neap__packet_free(&job->packet);
  } else {
    fail_with(job, L);
    send_home(job, loop);
  }
  lua_settop(L, top);
}

static void lose_request(neap__mail *mail) {
  neap__job *job = neap__container_of(mail, neap__job, request);
  neap__job_break(job, "the event loop is closed");
}

static void deliver_request(neap__mail *mail, neap__loop *loop, lua_State *L) {
  if (loop->ending ||
      loop->rt->finishing) { /* its tasks are cancelled: no more begin */
    lose_request(mail);
  } else {
    neap__job_run(neap__container_of(mail, neap__job, request), loop, L);
  }
}

static void deliver_cancel(neap__mail *mail, neap__loop *loop, lua_State *L) {
  neap__job *job = neap__container_of(mail, neap__job, cancel);
  (void)L;
  job->cancelled = true;
  /* A loop that ends has cancelled all: a second time would cut cleaning up short. */
  if (job->task != NULL && !loop->rt->finishing) {
    job->task->told = true;
    neap_cancel(job->task, job->message);
  }
  neap__job_unref(job);
}

static void lose_cancel(neap__mail *mail) {
  neap__job_unref(neap__container_of(mail, neap__job, cancel));
}

/* ---- making and sending ------------------------------------------------------------- */

int neap__raise_here(lua_State *L) {
  if (lua_type(L, -1) == LUA_TSTRING) {
    const neap__site *site = neap__site_at(L, neap_of(L), 1);
    if (site != NULL) {
      lua_pushfstring(L, "%s:%d: ", site->source, site->line);
      lua_insert(L, -2);
      lua_concat(L, 2);
    }
  }
  return lua_error(L);
}

/* job (light userdata), Future, function, arguments */
static int l_fill(lua_State *L) {
  neap__job *job = lua_touserdata(L, 1);
  neap_runtime *rt = neap_of(L);
  neap__pack(L, rt, 3, lua_gettop(L) - 2, 0, "argument", &job->packet);
  lua_pushvalue(L, 2);
  job->slot = neap__anchor(L, rt);
  return 0;
}

neap__job *neap__job_of(lua_State *L, neap_runtime *rt, neap__code *code,
                        int first, int n) {
  luaL_checkstack(L, n + 8, "too many arguments");
  neap__loop *loop = neap__the_loop(L, rt);
  neap__mailbox *home = neap__mailbox_of(loop);
  if (home == NULL) luaL_error(L, "not enough memory");
  neap__future *future = neap__future_new(L, rt, loop);
  int index = lua_gettop(L);
  neap__job *job = neap__share_alloc(NULL, sizeof *job);
  if (job == NULL) luaL_error(L, "not enough memory");
  memset(job, 0, sizeof *job);
  atomic_init(&job->refs, 1);
  job->home = neap__mailbox_ref(home);
  job->request = (neap__mail){NULL, deliver_request, lose_request};
  job->reply = (neap__mail){NULL, deliver_reply, lose_reply};
  job->cancel = (neap__mail){NULL, deliver_cancel, lose_cancel};
  job->watcher.notify = on_future_done;
  if (code != NULL) {
    neap__shared_ref(&code->shared);
    job->code = code;
  }
  lua_pushcfunction(L, l_fill);
  lua_pushlightuserdata(L, job);
  lua_pushvalue(L, index);
  for (int i = 0; i < n; i++)
    lua_pushvalue(L, first + i);
  if (lua_pcall(L, n + 2, 0, 0) != LUA_OK) {
    neap__job_unref(job);
    neap__raise_here(L);
  }
  enter_home(loop, job);
  neap__watch(future, &job->watcher);
  return job;
}

neap__job *neap__job_new(lua_State *L, neap_runtime *rt, int first, int n) {
  return neap__job_of(L, rt, NULL, first, n);
}

void neap__job_send(neap__job *job, neap__mailbox *there) {
  job->there = neap__mailbox_ref(there);
  neap__job_ref(job);
  neap__post(there, &job->request);
}

/* ---- the end of a loop ---------------------------------------------------------------- */

void neap__jobs_close(neap__loop *loop, lua_State *L) {
  while (loop->running_jobs != NULL) {
    neap__job *job = loop->running_jobs;
    neap_task *task = job->task;
    if (task != NULL && neap_is_done(task)) {
      conclude(job, loop, L); /* its callback will not run any more */
      continue;
    }
    job->task = NULL;
    if (task != NULL) neap_release(task);
    neap__job_break(job, job->finished != NULL
                             ? "the worker thread ended while it ran this"
                             : "the event loop was closed while this ran");
  }
  while (loop->sent != NULL) {
    neap__job *job = loop->sent;
    neap__job_cancel(job, L);
    job->concluded = true;
    neap__unanchor(L, loop->rt, job->slot);
    leave_home(job);
    neap__job_unref(job);
  }
  neap__mailbox_detach(loop);
}
