/* SPDX-License-Identifier: MIT
 *
 * spawn.c - tasks that C starts and looks at. A reference is an entry in the registry
 * under the task's address, so that the Task object outlives its end.
 */
#include "internal.h"

typedef struct spawn_call {
  neap_done done;
  void *ud;
  neap_task *task;
} spawn_call;

/* What a done-callback for C needs. A userdata; its user value is the Task. */
typedef struct done_call {
  neap_done done;
  void *ud;
} done_call;

/* upvalues: runtime, done_call. Called by the loop with the finished task. */
static int l_done(lua_State *L) {
  done_call *call = lua_touserdata(L, lua_upvalueindex(2));
  neap_task *task = lua_touserdata(L, 1);
  neap_outcome outcome = NEAP_RETURNED;
  int n = 1;
  lua_settop(L, 1);
  if (task->future.state == NEAP__RETURNED) {
    n = neap__take(L, neap__rt(L), 1);
    if (n > 1) lua_remove(L, 2); /* the table they were kept in */
  } else if (task->future.state == NEAP__CANCELLED) {
    outcome = NEAP_CANCELLED;
    neap__push_cancelled(L, 1);
  } else {
    outcome = NEAP_RAISED;
    neap__seen(&task->future);
    lua_getiuservalue(L, 1, NEAP__OUTCOME);
  }
  call->done(task, L, outcome, n, call->ud);
  return 0;
}

/* spawn_call (light userdata), function, arguments */
static int l_spawn(lua_State *L) {
  neap_runtime *rt = neap_of(L);
  spawn_call *call = lua_touserdata(L, 1);
  neap__loop *loop = neap__the_loop(L, rt);
  neap__check_awaitable(L, rt, 2, 1);
  if (neap__test_future(L, rt, 2) != NULL)
    return luaL_argerror(L, 1, "a function is needed");
  neap_task *task = neap__spawn(L, rt, loop, lua_gettop(L) - 2, 1);
  call->task = task;
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, task);
  if (call->done != NULL) {
    int index = lua_gettop(L);
    lua_getfield(L, index, "add_done_callback");
    lua_pushvalue(L, index);
    neap__push_self(L, rt);
    done_call *done = lua_newuserdatauv(L, sizeof *done, 0);
    done->done = call->done;
    done->ud = call->ud;
    lua_pushcclosure(L, l_done, 2);
    lua_call(L, 2, 0);
  }
  neap__loop_rearm(loop);
  return 0;
}

neap_task *neap_spawn(neap_runtime *rt, lua_State *L, int nargs, neap_done done,
                      void *ud) {
  spawn_call call = {done, ud, NULL};
  int base = lua_gettop(L) - nargs - 1;
  if (rt->shut || !lua_checkstack(L, 4)) {
    lua_settop(L, base);
    return NULL;
  }
  lua_pushcfunction(L, l_spawn);
  lua_insert(L, base + 1);
  lua_pushlightuserdata(L, &call);
  lua_insert(L, base + 2);
  if (lua_pcall(L, nargs + 2, 0, 0) == LUA_OK) return call.task;
  lua_pop(L, 1);
  if (call.task != NULL) { /* made, but what belongs to it could not be */
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, call.task);
    neap__unspawn(call.task, L);
  }
  return NULL;
}

/* task (light userdata), message or nil */
static int l_cancel(lua_State *L) {
  neap_task *task = lua_touserdata(L, 1);
  const char *message = lua_touserdata(L, 2);
  lua_pushstring(L, message);
  neap__cancel(task, L, 3);
  return 0;
}

bool neap_cancel(neap_task *task, const char *message) {
  if (task->future.state != NEAP__PENDING) return false;
  neap__loop *loop = task->future.loop;
  lua_State *L = loop->rt->L;
  bool told = false;
  if (message != NULL && lua_checkstack(L, 4)) {
    lua_pushcfunction(L, l_cancel);
    lua_pushlightuserdata(L, task);
    lua_pushlightuserdata(L, (void *)message);
    told = lua_pcall(L, 2, 0, 0) == LUA_OK;
    if (!told) lua_pop(L, 1);
  }
  if (!told) neap__cancel(task, NULL, 0);
  neap__loop_rearm(loop);
  return true;
}

bool neap_is_done(const neap_task *task) {
  return task->future.state != NEAP__PENDING;
}

void neap_push_task(lua_State *L, neap_task *task) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, task);
}

void neap_release(neap_task *task) {
  lua_State *L = task->future.loop->rt->L;
  if (!lua_checkstack(L, 1)) return;
  lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, task);
}
