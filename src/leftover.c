/* SPDX-License-Identifier: MIT
 *
 * leftover.c - what a test left behind: tasks, callbacks, deadlines, handles of libuv,
 * loops, and locks that are held; and the watch over one task that neap.test's
 * cancel_sweep needs. Part of the module "neap.core.test".
 */
#include "ear.h"

/* Whether one of the loop's deadlines is that of a task's own wait. */
static bool is_own_deadline(const neap__loop *loop, neap_task *task) {
  const neap__timer *timer = &neap__link_of(&task->own)->timer;
  uint32_t index = timer->index; /* perhaps something else than a place */
  return task->wait == &task->own && index >= 1 && index <= loop->heap_len &&
         loop->heap[index - 1].timer == timer;
}

/* tasks() -> list of the pending tasks of all loops. */
static int l_tasks(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  lua_createtable(L, 8, 0);
  lua_Integer n = 0;
  for (neap__loop *loop = rt->loops; loop != NULL; loop = loop->next) {
    if (loop->closed) continue;
    neap__push_tasks(L, loop);
    lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
    for (lua_Integer i = 1; i <= count; i++) {
      lua_rawgeti(L, -1, i);
      lua_rawseti(L, -3, ++n);
    }
    lua_pop(L, 1);
  }
  return 1;
}

/* handles() -> list of the Handles that are still to run, those of signals among them,
 * but not those of callbacks of futures that are not done. */
static int l_handles(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  lua_createtable(L, 8, 0);
  neap__reg_get(L, NEAP__R_THREADS);
  lua_Integer n = 0;
  for (uint32_t i = 0; i < rt->nslots; i++) {
    if (rt->slots[i] != NULL) continue;
    lua_rawgeti(L, -1, (lua_Integer)i + 1);
    const neap__handle *handle = neap__test(L, rt, -1, NEAP__K_HANDLE);
    if (handle != NULL && !handle->cancelled && handle->nargs != NEAP__STOPS &&
        (handle->timer.index != 0 || handle->item.queued || handle->keeps)) {
      lua_rawseti(L, -3, ++n);
    } else {
      lua_pop(L, 1);
    }
  }
  lua_pop(L, 1);
  return 1;
}

/* deadlines() -> how many are armed that are neither a Handle's nor a task's sleep. */
static int l_deadlines(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  lua_Integer n = 0;
  for (neap__loop *loop = rt->loops; loop != NULL; loop = loop->next)
    if (!loop->closed) n += loop->heap_len;
  for (uint32_t i = 0; i < rt->nslots; i++) {
    neap_task *task = rt->slots[i];
    if (task != NULL && is_own_deadline(task->future.loop, task)) n--;
  }
  l_handles(L);
  lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, -1, i);
    const neap__handle *handle = lua_touserdata(L, -1);
    if (handle->timer.index != 0) n--;
    lua_pop(L, 1);
  }
  lua_pushinteger(L, n);
  return 1;
}

/* blocks() -> a mark: the main chunk's time-outs that are made from now on are later. */
static int l_blocks(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  rt->tracing = true;
  lua_pushinteger(L, (lua_Integer)rt->last_deadline);
  return 1;
}

/* open_blocks(mark) -> list of the places where the later time-outs that are still
 * open were made. */
static int l_open_blocks(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  uint64_t mark = (uint64_t)luaL_checkinteger(L, 1);
  lua_createtable(L, 4, 0);
  neap__deadlines_list(L, &rt->root, mark);
  for (uint32_t i = 0; i < rt->nslots; i++)
    if (rt->slots[i] != NULL) neap__deadlines_list(L, rt->slots[i], mark);
  return 1;
}

/* leave(mark): ends the later time-outs of the main chunk, and lets it forget that it
 * was cancelled: what did that has ended. */
static int l_leave(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap_task *root = &rt->root;
  neap__deadlines_drop_since(root, (uint64_t)luaL_checkinteger(L, 1));
  root->cancelling = 0;
  root->swallowed = root->must_cancel = 0;
  return 0;
}

typedef struct handle_list {
  const neap__loop *loop;
  const uv_handle_t *found[64];
  size_t n;
} handle_list;

static void on_handle(uv_handle_t *handle, void *arg) {
  handle_list *list = arg;
  const neap__loop *loop = list->loop;
  if (handle == (const uv_handle_t *)&loop->async ||
      handle == (const uv_handle_t *)&loop->bell ||
      handle == (const uv_handle_t *)&loop->timer || uv_is_closing(handle) ||
      neap__signal_is_handler(loop, handle) ||
      list->n == sizeof list->found / sizeof *list->found)
    return;
  list->found[list->n++] = handle;
}

/* uv_handles() -> table: address of each handle of libuv on our own loops -> its type.
 * A lent loop is not ours to look into. */
static int l_uv_handles(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  lua_createtable(L, 0, 4);
  for (neap__loop *loop = rt->loops; loop != NULL; loop = loop->next) {
    if (loop->closed || loop->lent) continue;
    handle_list list = {.loop = loop};
    uv_walk(loop->uv, on_handle, &list);
    for (size_t i = 0; i < list.n; i++) {
      const char *type = uv_handle_type_name(uv_handle_get_type(list.found[i]));
      lua_pushstring(L, type != NULL ? type : "unknown");
      lua_rawsetp(L, -2, list.found[i]);
    }
  }
  return 1;
}

/* lost() -> whether there are errors that nobody has looked at yet. */
static int l_lost(lua_State *L) {
  const neap_runtime *rt = neap__rt(L);
  lua_pushboolean(L, rt->lost.next != &rt->lost);
  return 1;
}

/* loops() -> table: each open Loop -> true. */
static int l_loops(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  lua_createtable(L, 0, 2);
  for (neap__loop *loop = rt->loops; loop != NULL; loop = loop->next) {
    if (loop->closed) continue;
    neap__push_loop(L, loop);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
  }
  return 1;
}

/* destroy(task): closes by force one that does not end. Not the running one. */
static int l_destroy(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap_task *task = neap__check(L, rt, 1, NEAP__K_TASK, "Task");
  if (task->future.state != NEAP__PENDING || task == rt->current) return 0;
  neap__loop *loop = task->future.loop;
  neap__unready(loop, &task->item);
  neap__task_destroy(task, L);
  neap__unready(loop, &task->item); /* a handler of its own may have woken it */
  return 0;
}

void neap__note_slow(lua_State *L, neap_runtime *rt) {
  luaL_checkstack(L, 6, NULL);
  int object = lua_gettop(L);
  const neap__site *site = neap__site_at(L, rt, 1);
  neap__reg_get(L, NEAP__R_NOTED);
  lua_createtable(L, 0, 3);
  lua_pushvalue(L, object);
  lua_setfield(L, -2, "object");
  neap__push_text(L, object);
  lua_setfield(L, -2, "text");
  if (site != NULL) {
    lua_pushfstring(L, "%s:%d", site->source, site->line);
    lua_setfield(L, -2, "where");
  }
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  lua_settop(L, object);
}

/* note(flag) -> list of the locks and semaphores made since note(true), or nil: for
 * each a table with the object, its text at that time and where it was made. */
static int l_note(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  bool on = lua_toboolean(L, 1);
  neap__reg_get(L, NEAP__R_NOTED);
  if (on) {
    lua_createtable(L, 8, 0);
  } else {
    lua_pushnil(L);
  }
  neap__reg_set(L, NEAP__R_NOTED);
  rt->noting = on;
  return 1;
}

/* watch(task, k, on_wake): cancels the task, which has not started, at its k-th wait:
 * on_wake false: when it parks there; true: when it was woken, before it runs.
 * watch(nil): nobody. */
static int l_watch(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  if (lua_isnoneornil(L, 1)) {
    rt->sentry = (neap__sentry){.task = NULL};
    return 0;
  }
  neap_task *task = neap__check(L, rt, 1, NEAP__K_TASK, "Task");
  lua_Integer at = luaL_checkinteger(L, 2);
  luaL_argcheck(L, at >= 1 && at <= UINT32_MAX, 2, "positive number expected");
  task->watched = 1;
  rt->sentry = (neap__sentry){
      .task = task, .at = (uint32_t)at, .on_wake = lua_toboolean(L, 3)};
  return 0;
}

/* watched() -> how often the task waited, and where it was cancelled: the name of the
 * wait and the place, or nil. */
static int l_watched(lua_State *L) {
  const neap__sentry *w = &neap__rt(L)->sentry;
  lua_pushinteger(L, w->count);
  if (!w->hit) return 1;
  lua_pushstring(L, w->name != NULL ? w->name : "?");
  if (w->site == NULL) return 2;
  lua_pushfstring(L, "%s:%d", w->site->source, w->site->line);
  return 3;
}

void neap__leftover_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg functions[] = {
      {"tasks", l_tasks},
      {"handles", l_handles},
      {"deadlines", l_deadlines},
      {"blocks", l_blocks},
      {"open_blocks", l_open_blocks},
      {"leave", l_leave},
      {"signal_of", neap__l_signal_of},
      {"drop_signal", neap__l_drop_signal},
      {"drop_poll", neap__l_drop_poll},
      {"uv_handles", l_uv_handles},
      {"loops", l_loops},
      {"destroy", l_destroy},
      {"note", l_note},
      {"watch", l_watch},
      {"watched", l_watched},
      {"lost", l_lost},
      {NULL, NULL},
  };
  neap__set_funcs(L, rt, functions);
}
