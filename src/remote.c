/* SPDX-License-Identifier: MIT
 *
 * remote.c - the handle that one thread has for the loop of another, and what can be
 * asked of a loop from any thread.
 */
#include "job.h"
#include "thread.h"

/* ---- calls --------------------------------------------------------------------- */

typedef struct call_mail {
  neap__mail mail;
  neap__packet packet; /* the function and its arguments */
} call_mail;

static void free_call(neap__mail *mail) {
  call_mail *call = neap__container_of(mail, call_mail, mail);
  neap__packet_free(&call->packet);
  neap__share_alloc(call, 0);
}

/* call_mail (light userdata): what it holds is the loop's next callback. */
static int l_plan_call(lua_State *L) {
  const call_mail *call = lua_touserdata(L, 1);
  neap_runtime *rt = neap_of(L);
  int n = neap__unpack(L, rt, &call->packet, 0);
  neap__handle *handle = neap__handle_new(L, rt, rt->running, n - 1);
  handle->slot = neap__anchor(L, rt);
  neap__ready(rt->running, &handle->item);
  return 0;
}

/* error -> it is reported */
static int l_report_call(lua_State *L) {
  neap_runtime *rt = neap_of(L);
  lua_settop(L, 1);
  lua_pushvalue(L, 1);
  lua_pushnil(L);
  neap__report(L, rt->running, "A call from another thread could not be made",
               NULL, 1);
  return 0;
}

static void deliver_call(neap__mail *mail, neap__loop *loop, lua_State *L) {
  int top = lua_gettop(L);
  if (lua_checkstack(L, 4)) {
    lua_pushcfunction(L, l_plan_call);
    lua_pushlightuserdata(L, neap__container_of(mail, call_mail, mail));
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
      lua_pushcfunction(L, l_report_call);
      lua_insert(L, -2);
      if (lua_pcall(L, 1, 0, 0) != LUA_OK)
        neap__unhandled(loop->rt, "A call from another thread was lost",
                        "not enough memory for a call from another thread");
    }
    lua_settop(L, top);
  }
  free_call(mail);
}

/* call_mail (light userdata), function, arguments */
static int l_fill(lua_State *L) {
  call_mail *call = lua_touserdata(L, 1);
  neap__pack(L, neap_of(L), 2, lua_gettop(L) - 1, 0, "argument", &call->packet);
  return 0;
}

/* ---- the handle ------------------------------------------------------------------ */

static neap__mailbox *self(lua_State *L) {
  return (neap__mailbox *)(void *)neap__shared_check(L, neap__rt(L), 1,
                                                     &neap__mailbox_type);
}

/* loop:call_soon_threadsafe(fn, ...): has the loop call a copy of fn with copies of the
 * arguments. Raises when the loop is closed. */
static int l_call_soon_threadsafe(lua_State *L) {
  neap__mailbox *box = self(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  if (neap__mailbox_is_closed(box))
    return luaL_error(L, "Event loop is closed");
  int n = lua_gettop(L) - 1;
  luaL_checkstack(L, 4, NULL);
  call_mail *call = neap__share_alloc(NULL, sizeof *call);
  if (call == NULL) return luaL_error(L, "not enough memory");
  *call = (call_mail){.mail = {NULL, deliver_call, free_call}};
  lua_pushcfunction(L, l_fill);
  lua_insert(L, 2);
  lua_pushlightuserdata(L, call);
  lua_insert(L, 3);
  if (lua_pcall(L, n + 1, 0, 0) != LUA_OK) {
    free_call(&call->mail);
    return neap__raise_here(L);
  }
  neap__post(box, &call->mail);
  return 0;
}

/* loop:stop(): the loop ends its run; one of a thread ends with its thread. */
static int l_stop(lua_State *L) {
  neap__mailbox *box = self(L);
  neap__thread *t = neap__thread_of(neap__rt(L), box);
  if (t != NULL) {
    neap__thread_stop(t);
  } else {
    neap__loop_stop(L, box);
  }
  return 0;
}

/* loop:is_closed() */
static int l_is_closed(lua_State *L) {
  lua_pushboolean(L, neap__mailbox_is_closed(self(L)));
  return 1;
}

static int not_ours(lua_State *L) {
  return luaL_error(L, "the loop's thread was not started here");
}

/* loop:join(): waits until its thread, which this runtime has started, has ended. */
static int l_join(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__mailbox *box = self(L);
  neap__thread *t = neap__thread_of(rt, box);
  if (t != NULL) return neap__thread_join(L, rt, t, false);
  if (!neap__mailbox_is_closed(box)) return not_ours(L);
  if (rt->current == &rt->root) { /* it may have ended the program, too */
    neap__check_park_slow(rt, L, "join", false);
  } else {
    neap__check_again(rt, L, "join");
  }
  return 0;
}

/* loop:close(): stops it and waits for the end of its thread; code that does not come back
 * to the loop is interrupted. */
static int close_it(lua_State *L, bool at_end) {
  neap_runtime *rt = neap__rt(L);
  neap__mailbox *box = self(L);
  neap__thread *t = neap__thread_of(rt, box);
  if (t == NULL) return neap__mailbox_is_closed(box) ? 0 : not_ours(L);
  lua_settop(L, 1);
  neap__check_place(rt, L, "close");
  neap__thread_press(L, t);
  return neap__thread_join(L, rt, t, at_end);
}

static int l_close(lua_State *L) {
  return close_it(L, false);
}

static int l_end_block(lua_State *L) {
  return close_it(L, true);
}

static int l_tostring(lua_State *L) {
  neap__mailbox *box = self(L);
  const neap__thread *t = neap__thread_of(neap__rt(L), box);
  const char *state = neap__mailbox_is_closed(box) ? "closed" : "remote";
  if (t != NULL) {
    lua_pushfstring(L, "<EventLoop %s, of thread '%s'>", state, t->name);
  } else {
    lua_pushfstring(L, "<EventLoop %s>", state);
  }
  return 1;
}

/* For reports: whose end a join waits for. */
static void push_joined(lua_State *L, const void *object) {
  lua_pushfstring(L, "thread '%s'", ((const neap__thread *)object)->name);
}

void neap__remote_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {
      {"call_soon_threadsafe", l_call_soon_threadsafe},
      {"stop", l_stop},
      {"is_closed", l_is_closed},
      {"join", l_join},
      {"close", l_close},
      {"__close", l_end_block},
      {"__gc", neap__l_shared_gc},
      {"__tostring", l_tostring},
      {NULL, NULL},
  };
  static const neap__teller teller = {.push = push_joined};
  neap__set_teller(rt, NEAP__K_THREAD, &teller);
  neap__new_class(L, rt, NEAP__K_REMOTE, "neap.RemoteLoop", methods);
  lua_pop(L, 1);
}

/* ---- the module "neap.core.thread" -------------------------------------------------- */

/* shared (light userdata) -> its object */
static int l_push_shared(lua_State *L) {
  neap__shared_push(L, neap_of(L), lua_touserdata(L, 1));
  return 1;
}

/* start(name, memory_limit or nil) -> the handle of a new thread's loop; nil, err. */
static int l_start(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  const char *name = luaL_checkstring(L, 1);
  lua_Integer limit = luaL_optinteger(L, 2, 0);
  neap__loop *loop = neap__the_loop(L, rt);
  luaL_checkstack(L, 10, NULL);
  neap__shared_class(L, rt, &neap__mailbox_type);
  neap__thread *t = neap__thread_new(L, loop, name);
  if (t == NULL) return luaL_error(L, "not enough memory");
  if (limit > 0) t->memory_limit = (size_t)limit;
  lua_pushcfunction(L, l_push_shared);
  lua_pushlightuserdata(L, &t->box->shared);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) { /* before it runs */
    neap__thread_unref(t);
    return lua_error(L);
  }
  int status = neap__thread_start(t);
  return status < 0 ? neap_refuse(L, status, "thread") : 1;
}

/* -> Future: a copy of the function at `first` runs there as a task. Where it came before
 * `loop`, arguments in errors are counted from it. */
static int run_there(lua_State *L, neap_runtime *rt, neap__mailbox *there,
                     int first, bool gap,
                     void (*finished)(neap__job *, neap__loop *)) {
  if (neap__mailbox_is_closed(there)) luaL_error(L, "Event loop is closed");
  neap__job *job = neap__job_new(L, rt, first, lua_gettop(L) - first + 1);
  job->gap = gap;
  job->finished = finished;
  neap__job_send(job, there);
  return 1;
}

/* In the thread: its function has ended. */
static void end_loop(neap__job *job, neap__loop *loop) {
  (void)job;
  loop->stopping = true;
}

/* run(loop, fn, ...) -> Future: the same, and then the loop ends, and with it its
 * thread. Not before, when the Future is cancelled. */
static int l_run(lua_State *L) {
  luaL_checktype(L, 2, LUA_TFUNCTION);
  return run_there(L, neap__rt(L), self(L), 2, false, end_loop);
}

/* finish(future) -> boolean: cancels what run has sent, and waits for its outcome as
 * before. False when that is known already. */
static int l_finish(lua_State *L) {
  neap__future *future = neap__check_future(L, neap__rt(L), 1);
  lua_pushboolean(L,
                  future->state == NEAP__PENDING && neap__job_end(L, future));
  return 1;
}

/* interrupt(loop): what its thread runs is interrupted. */
static int l_interrupt(lua_State *L) {
  neap__thread *t = neap__thread_of(neap__rt(L), self(L));
  if (t != NULL) neap__thread_interrupt(t);
  return 0;
}

/* is_alive(loop) -> whether its thread has not ended yet. */
static int l_is_alive(lua_State *L) {
  lua_pushboolean(L, neap__thread_of(neap__rt(L), self(L)) != NULL);
  return 1;
}

/* fail(future, err, traceback or nil): a pending Future fails with an error that comes
 * from elsewhere, with its traceback. */
static int l_fail(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__future *future = neap__check_future(L, rt, 1);
  lua_settop(L, 3);
  if (future->is_task || future->state != NEAP__PENDING)
    return luaL_argerror(L, 1, "a pending Future is needed");
  neap__fail_future(L, rt, 1);
  return 0;
}

int neap__open_thread(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"start", l_start},
      {"run", l_run},
      {"interrupt", l_interrupt},
      {"is_alive", l_is_alive},
      {"fail", l_fail},
      {"finish", l_finish},
      {NULL, NULL},
  };
  neap_runtime *rt = neap_of(L);
  neap__shared_class(L, rt, &neap__mailbox_type);
  lua_pop(L, 1);
  lua_createtable(L, 0, 5);
  neap__set_funcs(L, rt, functions);
  return 1;
}

/* ---- of neap itself ------------------------------------------------------------------- */

/* run_coroutine_threadsafe(fn, loop, ...) -> Future of the caller's loop. The loop may
 * be this thread's own: then it is a Task of that loop. */
static int l_run_coroutine_threadsafe(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  luaL_checktype(L, 1, LUA_TFUNCTION);
  neap__loop_object *object = neap__test(L, rt, 2, NEAP__K_LOOP);
  if (object != NULL) {
    if (object->loop == NULL) return luaL_error(L, "Event loop is closed");
    lua_remove(L, 2);
    neap__spawn(L, rt, object->loop, lua_gettop(L) - 1, 1);
    return 1;
  }
  neap__mailbox *there = (neap__mailbox *)(void *)neap__shared_check(
      L, rt, 2, &neap__mailbox_type);
  if (lua_gettop(L) > 2) { /* keeps the loop's reference in a place of ours */
    lua_pushvalue(L, 2);
    lua_insert(L, 1);
    lua_pushnil(L);
    lua_replace(L, 3);
    return run_there(L, rt, there, 2, true, NULL);
  }
  lua_insert(L, 1);
  return run_there(L, rt, there, 2, false, NULL);
}

/* to_thread(fn, ...) -> the results of fn(...), called in a thread of the loop's own
 * executor. Waits. */
static int l_to_thread(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  luaL_checkany(L, 1);
  neap__check_park(rt, L, "neap.to_thread");
  lua_getglobal(L, "require");
  lua_pushliteral(L, "neap.thread.thread_pool");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "begin");
  lua_insert(L, 1);
  lua_pop(L, 1);
  lua_call(L, lua_gettop(L) - 1, 1);
  return neap__await(L, rt, neap__check_future(L, rt, 1));
}

void neap__threadsafe_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg functions[] = {
      {"run_coroutine_threadsafe", l_run_coroutine_threadsafe},
      {"to_thread", l_to_thread},
      {NULL, NULL},
  };
  neap__set_funcs(L, rt, functions);
}
