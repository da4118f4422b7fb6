/* SPDX-License-Identifier: MIT
 *
 * describe.c - what a task waits for, in words and as an edge from task to task: the
 * ground of deadlock reports and of the task tree.
 *
 * The wait of a task says by which function it waits; the object of the wait, where it
 * has one, is told by the teller of its kind. The texts call no Lua code, so that they
 * can be made at any moment, in a debug hook too.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

#define CHILDREN_SHOWN 3

/* ---- the scene ------------------------------------------------------------------ */

void neap__scene_init(lua_State *L, neap_runtime *rt, neap__scene *scene) {
  scene->rt = rt;
  scene->tasks = neap__list_tasks(L, rt, NULL, &scene->n);
}

int neap__pcall_quiet(lua_State *L, int nargs) {
  bool runs = lua_gc(L, LUA_GCISRUNNING) == 1;
  if (runs) lua_gc(L, LUA_GCSTOP);
  int status = lua_pcall(L, nargs, 1, 0);
  if (runs) lua_gc(L, LUA_GCRESTART);
  return status;
}

static int compare_id(const void *key, const void *element) {
  uint64_t id = *(const uint64_t *)key;
  uint64_t other = (*(neap_task *const *)element)->id;
  return (id > other) - (id < other);
}

size_t neap__scene_find(const neap__scene *scene, uint64_t id) {
  neap_task **found =
      bsearch(&id, scene->tasks, scene->n, sizeof *scene->tasks, compare_id);
  return found != NULL ? (size_t)(found - scene->tasks) : scene->n;
}

/* ---- tellers ---------------------------------------------------------------------- */

void neap__set_teller(neap_runtime *rt, enum neap__kind kind,
                      const neap__teller *teller) {
  rt->tellers[kind] = teller;
}

bool neap__is_stuck(const neap_task *task) {
  return task->wait != NULL && !(task->wait->flags & NEAP__WOKEN);
}

/* What the task waits for, or NULL. */
static void *object_of(const neap_task *task) {
  if (!neap__is_stuck(task) ||
      !(task->wait->flags & (NEAP__INTERNAL | NEAP__ON_IO)))
    return NULL;
  return neap__link_of(task->wait)->object;
}

static neap__future *awaited(const neap_task *task) {
  void *object = object_of(task);
  return object != NULL && (task->wait->flags & NEAP__ON_FUTURE) ? object
                                                                 : NULL;
}

/* The object, when there is somebody who can tell of it. */
static const neap__teller *
teller_of(const neap_runtime *rt, const neap_task *task, const void **object) {
  *object = object_of(task);
  if (*object == NULL || (task->wait->flags & NEAP__ON_FUTURE)) return NULL;
  uintptr_t tag = *(const uintptr_t *)*object, first = (uintptr_t)rt->mt;
  if (tag < first || tag >= first + sizeof rt->mt) return NULL;
  return rt->tellers[(tag - first) / sizeof *rt->mt];
}

static neap_task *as_task(const neap__future *future) {
  bool is = future->is_task && future->state == NEAP__PENDING;
  return is ? (neap_task *)(uintptr_t)future : NULL;
}

static neap_task *task_by_id(const neap__scene *scene, uint64_t id) {
  if (id == 0) return &scene->rt->root;
  size_t i = neap__scene_find(scene, id);
  return i < scene->n ? scene->tasks[i] : NULL;
}

neap_task *neap__next_blocker(const neap__scene *scene, const neap_task *task,
                              size_t *cursor) {
  const void *object;
  const neap__future *future = awaited(task);
  if (future != NULL) return (*cursor)++ == 0 ? as_task(future) : NULL;
  const neap__teller *teller = teller_of(scene->rt, task, &object);
  if (teller == NULL) return NULL;
  if (teller->holder != NULL)
    return (*cursor)++ == 0 ? task_by_id(scene, teller->holder(object)) : NULL;
  while (teller->child != NULL &&
         (future = teller->child(object, cursor)) != NULL) {
    if (as_task(future) != NULL) return as_task(future);
  }
  return NULL;
}

/* ---- texts ------------------------------------------------------------------------ */

void neap__push_label(lua_State *L, neap_task *task) {
  luaL_checkstack(L, 4, NULL);
  if (task == &task->future.loop->rt->root) {
    lua_pushliteral(L, "the main chunk");
    return;
  }
  neap__push_name(L, task);
  lua_pushfstring(L, "Task-%I", (LUAI_UACINT)task->id);
  if (lua_rawequal(L, -1, -2)) {
    lua_remove(L, -2);
    return;
  }
  lua_pushfstring(L, "%s \"%s\"", lua_tostring(L, -1), lua_tostring(L, -2));
  lua_replace(L, -3);
  lua_pop(L, 1);
}

static void push_future(lua_State *L, const neap__future *future) {
  neap_task *task = as_task(future);
  if (task != NULL) {
    neap__push_label(L, task);
  } else {
    lua_pushliteral(L, "<Future pending>");
  }
}

/* Pushes "Task-2, Task-3 and 8 more". [-0, +1, m] */
static void push_children(lua_State *L, const neap__teller *teller,
                          const void *object) {
  const neap__future *future;
  size_t cursor = 0, more = 0;
  int n = 0;
  lua_pushliteral(L, "");
  while ((future = teller->child(object, &cursor)) != NULL) {
    if (n == CHILDREN_SHOWN) {
      more++;
      continue;
    }
    lua_pushstring(L, n++ > 0 ? ", " : "");
    push_future(L, future);
    lua_concat(L, 3);
  }
  if (more == 0) return;
  lua_pushfstring(L, " and %I more", (LUAI_UACINT)more);
  lua_concat(L, 2);
}

/* Pushes " held by Task-2". [-0, +1, m] */
static void push_holder(lua_State *L, const neap__scene *scene,
                        const neap_task *waiter, const neap__teller *teller,
                        uint64_t id) {
  if (id == NEAP__NOBODY) {
    lua_pushliteral(L, "");
    return;
  }
  lua_pushfstring(L, " %s ", teller->by != NULL ? teller->by : "held by");
  neap_task *holder = task_by_id(scene, id);
  if (id == NEAP__CALLBACK) {
    lua_pushliteral(L, "a loop callback");
  } else if (holder == NULL) {
    lua_pushfstring(L, "Task-%I, which has ended", (LUAI_UACINT)id);
  } else if (holder == waiter) {
    lua_pushliteral(L, "itself");
  } else if (id == 0) {
    lua_pushliteral(L, "the main chunk");
  } else {
    neap__push_label(L, holder);
  }
  lua_concat(L, 2);
}

void neap__push_target(lua_State *L, const neap__scene *scene,
                       const neap_task *task) {
  const void *object;
  const neap__future *future = awaited(task);
  const neap__teller *teller = teller_of(scene->rt, task, &object);
  luaL_checkstack(L, 12, NULL);
  int base = lua_gettop(L);
  if (future == NULL && teller == NULL) {
    lua_pushliteral(L, "");
    return;
  }
  lua_pushliteral(L, " for ");
  if (future != NULL) {
    push_future(L, future);
  } else {
    if (teller->push != NULL) {
      teller->push(L, object);
      lua_settop(L, base + 2);
    }
    if (teller->child != NULL) {
      push_children(L, teller, object);
      if (lua_rawlen(L, -1) == 0) {
        lua_pop(L, 1);
      } else if (teller->push != NULL) {
        lua_pushliteral(L, ": ");
        lua_insert(L, -2);
      }
    }
    if (teller->holder != NULL)
      push_holder(L, scene, task, teller, teller->holder(object));
    if (lua_gettop(L) == base + 1) { /* nothing to say */
      lua_pop(L, 1);
      lua_pushliteral(L, "");
    }
  }
  lua_concat(L, lua_gettop(L) - base);
}

void neap__push_blocked(lua_State *L, const neap__scene *scene, neap_task *task,
                        neap_task *next) {
  const void *object;
  const neap__teller *teller = teller_of(scene->rt, task, &object);
  luaL_checkstack(L, 8, NULL);
  int base = lua_gettop(L);
  neap__push_label(L, task);
  if (teller != NULL && teller->holder != NULL) {
    lua_pushliteral(L, " waits");
    neap__push_target(L, scene, task);
  } else {
    if (teller != NULL) {
      lua_pushfstring(L, " waits in '%s' for ", task->wait->name);
    } else {
      lua_pushliteral(L, " awaits ");
    }
    neap__push_label(L, next);
  }
  lua_concat(L, lua_gettop(L) - base);
}

/* Pushes " at main.lua:12", the innermost place in Lua code, or "". [-0, +1, m] */
static void push_place(lua_State *L, lua_State *co) {
  lua_Debug ar, found = {.currentline = -1};
  for (int depth = 0; co != NULL && depth < 64; depth++) {
    bool inner = false;
    for (int level = 0; !inner && lua_getstack(co, level, &ar); level++) {
      if (!lua_getinfo(co, "Sl", &ar) || ar.currentline <= 0) continue;
      inner = !neap__is_own_source(ar.source);
      if (inner || found.currentline < 0) found = ar;
    }
    co = neap__inner_coroutine(co);
  }
  if (found.currentline > 0) {
    lua_pushfstring(L, " at %s:%d", found.short_src, found.currentline);
  } else {
    lua_pushliteral(L, "");
  }
}

void neap__push_stuck(lua_State *L, const neap__scene *scene, neap_task *task) {
  luaL_checkstack(L, 12, NULL);
  int base = lua_gettop(L);
  neap__push_label(L, task);
  const char *name = task->wait != NULL ? task->wait->name : NULL;
  lua_pushfstring(L, " waits in '%s'", name != NULL ? name : "?");
  push_place(L, neap__stack_of(scene->rt, task));
  neap__push_target(L, scene, task);
  if (task->site != NULL)
    lua_pushfstring(L, " (created at %s:%d)", task->site->source,
                    task->site->line);
  lua_concat(L, lua_gettop(L) - base);
}
