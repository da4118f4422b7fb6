/* SPDX-License-Identifier: MIT
 *
 * task.c - tasks: a coroutine with an outcome.
 *
 * A task's coroutine has one frame of ours at its bottom, `body`, which holds the
 * Task object at index 1 and runs the user's function under lua_pcallk, so that
 * <close> handlers can await while an error unwinds. body stores the outcome.
 *
 * Coroutines that Lua code never saw are used again: making one costs 200 ns and
 * 1.1 KB.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

#define POOL_MAX 16384 /* coroutines kept; 18 MB at most */

/* ---- the body -------------------------------------------------------------------- */

static int body(lua_State *L);

bool neap__is_body(lua_State *co) {
  return lua_status(co) == LUA_OK && lua_gettop(co) > 0 &&
         lua_tocfunction(co, 1) == body;
}

bool neap__runs_body(lua_State *co) {
  lua_Debug frame;
  int low = 0, high = 1; /* the bottom frame is below `high` */
  if (neap__is_body(co)) return true;
  if (!lua_checkstack(co, 1) || !lua_getstack(co, 0, &frame)) return false;
  while (lua_getstack(co, high, &frame)) {
    low = high;
    high *= 2;
  }
  while (high - low > 1) {
    int middle = low + (high - low) / 2;
    if (lua_getstack(co, middle, &frame)) {
      low = middle;
    } else {
      high = middle;
    }
  }
  lua_getstack(co, low, &frame);
  lua_getinfo(co, "f", &frame);
  bool found = lua_tocfunction(co, -1) == body;
  lua_pop(co, 1);
  return found;
}

static void keep_results(lua_State *L, neap_task *task, int n) {
  if (n > 1) {
    lua_createtable(L, n, 0);
    lua_insert(L, -n - 1);
    for (int i = n; i >= 1; i--)
      lua_rawseti(L, -i - 1, i);
  }
  task->future.nresults = n;
  if (n == 0) return; /* nobody reads the value of no result */
  lua_setiuservalue(L, 1, NEAP__OUTCOME);
}

/* The error is at the top of the stack, the Task at index 1. */
static void fail(lua_State *L, neap_task *task) {
  neap_runtime *rt = task->future.loop->rt;
  if (lua_isnil(L, -1)) {
    lua_pushliteral(L, "error(nil)");
    neap__error_new(L, NEAP__ERROR);
  }
  if (neap__error_is(L, -1, NEAP__CANCELLEDERROR)) {
    lua_setiuservalue(L, 1, NEAP__OUTCOME);
    neap__complete(&task->future, NEAP__CANCELLED);
    return;
  }
  if (neap__error_is(L, -1, NEAP__SYSTEMEXIT) ||
      neap__error_is(L, -1, NEAP__KEYBOARDINTERRUPT))
    task->future.quiet = 1; /* the root raises it */
  neap__take_traceback(L, rt);
  lua_insert(L, -2);
  lua_setiuservalue(L, 1, NEAP__OUTCOME);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
  } else {
    neap__push_extra(L, 1);
    lua_insert(L, -2);
    lua_setfield(L, -2, "traceback");
    lua_pop(L, 1);
  }
  neap__complete(&task->future, NEAP__RAISED);
  lua_settop(L, 1);
  neap__track_lost(L, rt, &task->future);
}

/* A cancellation that found no wait to be raised at. */
static void end_cancelled(lua_State *L, neap_task *task) {
  task->must_cancel = 0;
  lua_getiuservalue(L, 1, NEAP__OUTCOME); /* the message */
  neap__error_new(L, NEAP__CANCELLEDERROR);
  fail(L, task);
}

static int body_k(lua_State *L, int status, lua_KContext context) {
  neap_task *task = (neap_task *)context;
  if (NEAP__UNLIKELY(task->must_cancel) &&
      (status == LUA_OK || status == LUA_YIELD)) {
    end_cancelled(L, task);
  } else if (NEAP__LIKELY(status == LUA_OK || status == LUA_YIELD)) {
    keep_results(L, task, lua_gettop(L) - 2);
    neap__complete(&task->future, NEAP__RETURNED);
  } else {
    fail(L, task);
  }
  if (NEAP__UNLIKELY(task->future.loop->rt->contexts)) neap__drop_context(L);
  return 0;
}

/* Task, handler, function, arguments: all of a task's life. */
static int body(lua_State *L) {
  neap_task *task = lua_touserdata(L, 1);
  lua_Debug frame;
  lua_getstack(L, 0, &frame);
  task->body = frame.i_ci;
  if (NEAP__UNLIKELY(task->must_cancel)) { /* before it could start */
    end_cancelled(L, task);
    neap__drop_context(L);
    return 0;
  }
  int status = lua_pcallk(L, lua_gettop(L) - 3, LUA_MULTRET, 2,
                          (lua_KContext)task, body_k);
  return body_k(L, status, (lua_KContext)task);
}

void neap__push_task(lua_State *L, neap_task *task) {
  lua_State *co = task->co;
  lua_checkstack(co, 1);
  if (task->body != NULL) {
    lua_Debug frame;
    frame.i_ci = task->body;
    lua_getlocal(co, &frame, 1);
  } else {
    lua_pushvalue(co, 2);
  }
  if (co != L) lua_xmove(co, L, 1);
}

/* ---- making ------------------------------------------------------------------------ */

/* Whether the value at `index` is a coroutine that a task can be made of. */
static lua_State *fresh_coroutine(lua_State *L, int index) {
  lua_State *co = lua_tothread(L, index);
  if (co == NULL || co == L || lua_status(co) != LUA_OK) return NULL;
  lua_Debug frame;
  if (lua_getstack(co, 0, &frame) || lua_gettop(co) != 1) return NULL;
  return neap__is_body(co) ? NULL : co;
}

static lua_State *take_coroutine(lua_State *L, neap_runtime *rt,
                                 uint32_t *slot) {
  /* A new one inherits the hook of its maker; those in the pool have none. */
  if (NEAP__LIKELY(rt->npool > 0 && lua_gethook(L) == NULL)) {
    neap__free_co *free_co = &rt->pool[--rt->npool];
    *slot = free_co->slot;
    return free_co->co;
  }
  lua_State *co = lua_newthread(L);
  *slot = neap__anchor(L, rt);
  return co;
}

neap_task *neap__spawn(lua_State *L, neap_runtime *rt, neap__loop *loop,
                       int nargs, int level) {
  int function = lua_gettop(L) - nargs;
  luaL_checkstack(L, 6, "too many arguments");
  if (rt->shut || loop->closed) luaL_error(L, "Event loop is closed");
  neap_task *task = lua_newuserdatauv(L, sizeof *task, 2 + rt->contexts);
  memset(task, 0, sizeof *task);
  task->future.is_task = 1;
  task->future.loop = loop;
  neap__push_class(L, rt, NEAP__K_TASK);
  lua_setmetatable(L, -2);
  if (NEAP__UNLIKELY(rt->contexts)) neap__copy_context(L, rt, NEAP__CONTEXT);
  task->site = neap__site_at(L, rt, level);
  lua_State *co = fresh_coroutine(L, function);
  uint32_t slot;
  if (co != NULL) {
    lua_pushvalue(L, function);
    slot = neap__anchor(L, rt);
    neap__note_seen(L, rt, co, task);
  } else {
    co = take_coroutine(L, rt, &slot);
  }
  if (!lua_checkstack(co, nargs + 8)) {
    neap__unanchor(L, rt, slot);
    luaL_error(L, "too many arguments");
  }
  lua_insert(L, function); /* the Task below function and arguments */
  lua_pushcfunction(co, body);
  lua_pushvalue(L, function);
  lua_xmove(L, co, 1);
  lua_pushcfunction(co, neap__on_error);
  if (task->seen) {
    lua_rotate(co, 1, -1); /* its own function comes last */
    lua_xmove(L, co, nargs);
    lua_pop(L, 1);
  } else {
    lua_xmove(L, co, nargs + 1);
  }
  task->co = co;
  task->slot = slot;
  task->id = ++rt->last_id;
  if (rt->current != NULL) task->item.maker = (uint32_t)rt->current->id;
  rt->slots[slot - 1] = task;
  loop->ntasks++;
  neap__ready(loop, &task->item);
  return task;
}

static bool is_callable(lua_State *L, int index) {
  if (lua_isfunction(L, index)) return true;
  if (luaL_getmetafield(L, index, "__call") == LUA_TNIL) return false;
  lua_pop(L, 1);
  return true;
}

void neap__check_awaitable(lua_State *L, neap_runtime *rt, int index, int arg) {
  if (lua_isfunction(L, index)) return;
  index = lua_absindex(L, index);
  if (neap__test_future(L, rt, index) != NULL || is_callable(L, index) ||
      fresh_coroutine(L, index) != NULL)
    return;
  const char *what = lua_isthread(L, index) ? "coroutine that has started"
                                            : luaL_typename(L, index);
  luaL_argerror(
      L, arg,
      lua_pushfstring(L,
                      "awaitable expected (a Task, a Future, a function or a "
                      "coroutine that has not started), got %s",
                      what));
}

neap__future *neap__ensure_future(lua_State *L, neap_runtime *rt,
                                  neap__loop *loop, int nargs, int arg) {
  int index = lua_gettop(L) - nargs;
  neap__future *future = neap__test_future(L, rt, index);
  if (future != NULL) {
    lua_pop(L, nargs);
    return future;
  }
  neap__check_awaitable(L, rt, index, arg);
  return &neap__spawn(L, rt, loop, nargs, 1)->future;
}

/* ---- the end ------------------------------------------------------------------------- */

static void leave(neap_task *task, lua_State *L, bool reuse) {
  neap_runtime *rt = task->future.loop->rt;
  lua_State *co = task->co;
  uint32_t slot = task->slot;
  task->co = NULL;
  task->body = NULL;
  task->future.loop->ntasks--;
  if (NEAP__UNLIKELY(task->deadlines != NULL)) neap__deadlines_drop(task);
  if (reuse && rt->npool < POOL_MAX) {
    if (rt->npool == rt->pool_cap) {
      uint32_t cap = rt->pool_cap < 64 ? 64 : rt->pool_cap * 2;
      neap__free_co *pool = neap__alloc(
          rt, rt->pool, rt->pool_cap * sizeof *pool, cap * sizeof *pool);
      if (pool != NULL) {
        rt->pool = pool;
        rt->pool_cap = cap;
      }
    }
    if (rt->npool < rt->pool_cap) {
      lua_settop(co, 0);
      rt->slots[slot - 1] = NULL;
      rt->pool[rt->npool++] = (neap__free_co){co, slot};
      return;
    }
  }
  neap__unanchor(L, rt, slot);
}

void neap__unspawn(neap_task *task, lua_State *L) {
  neap__loop *loop = task->future.loop;
  neap__unready(loop, &task->item);
  task->future.state = NEAP__CANCELLED;
  lua_settop(task->co, 0);
  leave(task, L, false);
}

/* Task, error: stores it. Called in protected mode; only memory can be short. */
static int l_fail(lua_State *L) {
  fail(L, lua_touserdata(L, 1));
  return 0;
}

/* Ends a task whose body did not get to do it. The error is on top of `co`. */
static void end_badly(neap_task *task, lua_State *L) {
  lua_State *co = task->co;
  if (task->future.state == NEAP__RAISED && !task->future.quiet &&
      task->future.lost == NULL)
    neap__unhandled(task->future.loop->rt, "not enough memory",
                    "not enough memory to keep track of an error of a task");
  if (task->future.state != NEAP__PENDING || !lua_checkstack(L, 4)) return;
  lua_pushcfunction(L, l_fail);
  neap__push_task(L, task);
  lua_xmove(co, L, 1);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
    lua_pop(L, 1);
    if (task->future.state == NEAP__PENDING)
      neap__complete(&task->future, NEAP__RAISED);
    neap__unhandled(task->future.loop->rt, "not enough memory",
                    "not enough memory to keep the error of a task");
  }
}

void neap__step_end(neap_task *task, lua_State *from, int status) {
  lua_State *co = task->co;
  if (NEAP__UNLIKELY(task->wait != NULL && status != LUA_YIELD))
    neap__orphan(task); /* its coroutine was ended by others */
  if (NEAP__LIKELY(status == LUA_OK)) {
    leave(task, from, !task->seen && lua_gethook(co) == NULL);
    return;
  }
  if (status == LUA_YIELD) {
    /* Some C function yielded to whom it thought had resumed it. */
    lua_settop(co, 0);
    lua_pushliteral(co,
                    "attempt to yield from the body of a task (a C function "
                    "that does not know neap yielded; run it in a coroutine "
                    "of its own)");
    if (lua_checkstack(from, 2)) {
      lua_xmove(co, from, 1);
      neap__push_task(from, task);
      lua_insert(from, -2);
      neap__close_thread(co, from);
      task->body = NULL;
      lua_settop(co, 0);
      lua_pushcfunction(from, l_fail);
      lua_insert(from, -3);
      if (lua_pcall(from, 2, 0, 0) != LUA_OK) lua_pop(from, 1);
    }
  } else {
    lua_State *L = from;
    end_badly(task, L);
  }
  if (task->future.state == NEAP__PENDING)
    neap__complete(&task->future, NEAP__RAISED);
  leave(task, from, false);
}

/* Task: completes it as cancelled. */
static int l_destroyed(lua_State *L) {
  neap_task *task = lua_touserdata(L, 1);
  lua_settop(L, 1);
  lua_pushliteral(L, "the task was closed at shutdown");
  lua_setiuservalue(L, 1, NEAP__OUTCOME);
  if (task->future.state == NEAP__PENDING)
    neap__complete(&task->future, NEAP__CANCELLED);
  neap__drop_context(L);
  return 0;
}

void neap__task_destroy(neap_task *task, lua_State *L) {
  neap_runtime *rt = task->future.loop->rt;
  neap_task *outer = rt->current;
  neap__orphan(task);
  lua_pushcfunction(L, l_destroyed);
  neap__push_task(L, task);
  rt->current = NULL;
  task->body = NULL;
  neap__close_thread(task->co, L);
  lua_settop(task->co, 0);
  rt->current = outer;
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) lua_pop(L, 1);
  leave(task, L, false);
}

/* ---- Lua functions --------------------------------------------------------------------- */

static neap_task *self(lua_State *L) {
  return neap__check(L, neap__rt(L), 1, NEAP__K_TASK, "Task");
}

void neap__push_name(lua_State *L, neap_task *task) {
  if (task == &task->future.loop->rt->root) {
    lua_pushliteral(L, "main chunk");
    return;
  }
  if (task->co != NULL) {
    int top = lua_gettop(L);
    luaL_checkstack(L, 4, NULL);
    neap__push_task(L, task);
    bool named = lua_getiuservalue(L, -1, NEAP__EXTRA) == LUA_TTABLE &&
                 lua_getfield(L, -1, "name") == LUA_TSTRING;
    if (named) lua_replace(L, top + 1);
    lua_settop(L, named ? top + 1 : top);
    if (named) return;
  }
  lua_pushfstring(L, "Task-%I", (LUAI_UACINT)task->id);
}

/* create_task(fn, ...) -> Task. fn: a function or a coroutine that has not started. */
static int l_create_task(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  if (NEAP__UNLIKELY(!lua_isfunction(L, 1))) {
    if (!is_callable(L, 1) && fresh_coroutine(L, 1) == NULL) {
      luaL_argerror(
          L, 1,
          lua_isthread(L, 1)
              ? "the coroutine has started already"
              : lua_pushfstring(L, "function or coroutine expected, got %s",
                                luaL_typename(L, 1)));
    }
  }
  neap__spawn(L, rt, neap__the_loop(L, rt), lua_gettop(L) - 1, 1);
  return 1;
}

/* ensure_future(awaitable, ...) -> Task or Future. */
static int l_ensure_future(lua_State *L) {
  luaL_checkany(L, 1);
  neap_runtime *rt = neap__rt(L);
  neap__ensure_future(L, rt, neap__the_loop(L, rt), lua_gettop(L) - 1, 1);
  return 1;
}

/* current_task() -> the running Task; nil at top level and in callbacks. */
static int l_current_task(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  if (rt->current == NULL || rt->current == &rt->root) {
    lua_pushnil(L);
  } else {
    neap__push_task(L, rt->current);
  }
  return 1;
}

/* all_tasks() -> list of the loop's tasks that are not done, oldest first. */
static int l_all_tasks(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  lua_settop(L, 0);
  neap__push_tasks(L, neap__the_loop(L, rt));
  neap__dump_list(L, rt);
  return 1;
}

int neap__uncancel(neap_task *task) {
  if (task->cancelling > 0) task->cancelling--;
  if (task->cancelling == 0) task->swallowed = task->must_cancel = 0;
  return task->cancelling;
}

bool neap__take_back(neap_task *task, const neap__before *before) {
  if (neap__uncancel(task) > before->cancelling) return false;
  task->raises = before->raises; /* so no pcall caught a cancellation */
  if (task->cancelling == 0) return true;
  if (!before->must_cancel) {
    task->must_cancel = 0;
    task->swallowed = before->swallowed;
  } else if (!task->must_cancel) {
    task->swallowed =
        1; /* was raised in the block, and left it as another error */
  }
  return true;
}

/* task:cancelling() -> how many cancellations it was asked for. */
static int l_cancelling(lua_State *L) {
  lua_pushinteger(L, self(L)->cancelling);
  return 1;
}

/* task:uncancel() -> how many remain. At 0 the task goes on as if nothing was. */
static int l_uncancel(lua_State *L) {
  lua_pushinteger(L, neap__uncancel(self(L)));
  return 1;
}

/* task:get_name() -> "Task-N", or the name that was set. */
static int l_get_name(lua_State *L) {
  neap_task *task = self(L);
  if (lua_getiuservalue(L, 1, NEAP__EXTRA) == LUA_TTABLE &&
      lua_getfield(L, -1, "name") == LUA_TSTRING)
    return 1;
  lua_pushfstring(L, "Task-%I", (LUAI_UACINT)task->id);
  return 1;
}

/* task:set_name(name) -> the task. */
static int l_set_name(lua_State *L) {
  self(L);
  luaL_checkany(L, 2);
  lua_settop(L, 2);
  luaL_tolstring(L, 2, NULL);
  neap__push_extra(L, 1);
  lua_insert(L, -2);
  lua_setfield(L, -2, "name");
  lua_settop(L, 1);
  return 1;
}

/* task:get_coro() -> its coroutine; nil when it is done. */
static int l_get_coro(lua_State *L) {
  neap_task *task = self(L);
  if (task->co == NULL) {
    lua_pushnil(L);
    return 1;
  }
  neap__mark_seen(L, task);
  lua_pushthread(task->co);
  if (task->co != L) lua_xmove(task->co, L, 1);
  return 1;
}

/* task:state() -> "pending", "running", "done" or "cancelled". */
static int l_state(lua_State *L) {
  neap_task *task = self(L);
  switch (task->future.state) {
  case NEAP__PENDING:
    lua_pushstring(L, neap__rt(L)->current == task ? "running" : "pending");
    break;
  case NEAP__CANCELLED:
    lua_pushliteral(L, "cancelled");
    break;
  default:
    lua_pushliteral(L, "done");
    break;
  }
  return 1;
}

/* task:traceback() -> where it is, or where it failed; nil when it ended well. */
static int l_traceback(lua_State *L) {
  neap_task *task = self(L);
  lua_settop(L, 1);
  if (task->co != NULL) {
    neap__push_stack(L, task);
    return 1;
  }
  if (lua_getiuservalue(L, 1, NEAP__EXTRA) == LUA_TTABLE)
    lua_getfield(L, -1, "traceback");
  return 1;
}

static int l_tostring(lua_State *L) {
  neap_task *task = self(L);
  lua_settop(L, 1);
  luaL_Buffer b;
  l_get_name(L);
  const char *name = lua_tostring(L, -1);
  lua_pushcfunction(L, l_state);
  l_state(L);
  const char *state = lua_tostring(L, -1);
  if (task->future.state == NEAP__RAISED) state = "failed";
  luaL_buffinit(L, &b);
  lua_pushfstring(L, "<Task '%s' %s", name, state);
  luaL_addvalue(&b);
  if (task->site != NULL) {
    lua_pushfstring(L, ", created at %s:%d", task->site->source,
                    task->site->line);
    luaL_addvalue(&b);
  }
  if (task->wait != NULL) {
    lua_pushfstring(L, ", waiting in '%s'",
                    task->wait->name != NULL ? task->wait->name : "?");
    luaL_addvalue(&b);
  }
  luaL_addchar(&b, '>');
  luaL_pushresult(&b);
  return 1;
}

static const luaL_Reg methods[] = {
    {"cancelling", l_cancelling},
    {"uncancel", l_uncancel},
    {"get_name", l_get_name},
    {"set_name", l_set_name},
    {"get_coro", l_get_coro},
    {"state", l_state},
    {"traceback", l_traceback},
    {"__tostring", l_tostring},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"create_task", l_create_task},
    {"ensure_future", l_ensure_future},
    {"current_task", l_current_task},
    {"all_tasks", l_all_tasks},
    {NULL, NULL},
};

void neap__task_open(lua_State *L, neap_runtime *rt) {
  neap__new_class(L, rt, NEAP__K_TASK, "neap.Task", neap__future_methods);
  neap__set_funcs(L, rt, methods);
  lua_pop(L, 1);
  neap__set_funcs(L, rt, functions);
}
