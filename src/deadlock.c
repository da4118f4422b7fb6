/* SPDX-License-Identifier: MIT
 *
 * deadlock.c - the report of a loop on which nothing can happen any more: who waits,
 * where, for what, and whether they wait for each other in a circle.
 */
#include "thread.h"

#include <string.h>

#define TASKS_SHOWN 100
/* Of a longer cycle, its beginning and its end. */
#define CYCLE_SHOWN 12
#define CYCLE_END 2

/* ---- cycles ----------------------------------------------------------------------- */

/* The search, without recursion, goes from each task to those it waits for. The root
 * has the number n. */
typedef struct search {
  const neap__scene *scene;
  size_t *path;   /* from where the search began to where it is */
  size_t *cursor; /* for each task: which of those it waits for were tried */
  unsigned char *color;
  size_t length; /* of the path */
} search;

enum { NEW, ON_PATH, TRIED };

static neap_task *task_at(const neap__scene *scene, size_t i) {
  return i < scene->n ? scene->tasks[i] : &scene->rt->root;
}

static size_t index_of(const neap__scene *scene, const neap_task *task) {
  return task == &scene->rt->root ? scene->n
                                  : neap__scene_find(scene, task->id);
}

static void enter(search *s, size_t i) {
  s->color[i] = ON_PATH;
  s->path[s->length++] = i;
}

/* Looks for a cycle that can be reached from `start`: then the end of the path, from
 * the place that is returned on, is the cycle. Returns s->length when there is none. */
static size_t find_from(search *s, size_t start) {
  s->length = 0;
  enter(s, start);
  while (s->length > 0) {
    size_t at = s->path[s->length - 1];
    neap_task *next =
        neap__next_blocker(s->scene, task_at(s->scene, at), &s->cursor[at]);
    if (next == NULL) {
      s->color[at] = TRIED;
      s->length--;
      continue;
    }
    size_t i = index_of(s->scene, next);
    if (s->color[i] == NEW) {
      enter(s, i);
    } else if (s->color[i] == ON_PATH) {
      size_t first = s->length - 1;
      while (s->path[first] != i)
        first--;
      return first;
    }
  }
  return 0;
}

/* Finds a cycle: pushes a userdata and returns in it the numbers of its *length tasks;
 * 0: none. [-0, +1, m] */
static size_t *find_cycle(lua_State *L, const neap__scene *scene,
                          const neap__loop *loop, size_t *length) {
  size_t n = scene->n + 1;
  char *block = lua_newuserdatauv(L, n * (2 * sizeof(size_t) + 1), 0);
  memset(block, 0, n * (2 * sizeof(size_t) + 1));
  search s = {.scene = scene,
              .path = (size_t *)(void *)block,
              .cursor = (size_t *)(void *)block + n,
              .color = (unsigned char *)block + n * 2 * sizeof(size_t)};
  for (size_t i = 0; i < n; i++) {
    if (s.color[i] != NEW || task_at(scene, i)->future.loop != loop) continue;
    size_t first = find_from(&s, i);
    *length = s.length - first;
    if (*length > 0) return s.path + first;
  }
  *length = 0;
  return NULL;
}

/* Adds the line that names the cycle. */
static void add_cycle(lua_State *L, luaL_Buffer *b, const neap__scene *scene,
                      const size_t *cycle, size_t length) {
  luaL_addstring(b, "\na cycle: ");
  for (size_t i = 0; i < length; i++) {
    if (length > CYCLE_SHOWN && i == CYCLE_SHOWN - CYCLE_END) {
      size_t more = length - CYCLE_SHOWN;
      lua_pushfstring(L, "and so on through %I more, then ", (LUAI_UACINT)more);
      luaL_addvalue(b);
      i += more;
    }
    neap__push_blocked(L, scene, task_at(scene, cycle[i]),
                       task_at(scene, cycle[(i + 1) % length]));
    luaL_addvalue(b);
    if (i + 1 < length) luaL_addstring(b, ", ");
  }
}

/* ---- the report -------------------------------------------------------------------- */

/* Pushes the message. [-0, +1, m] */
static void push_message(lua_State *L, const neap__scene *scene,
                         neap__loop *loop, const size_t *cycle, size_t length) {
  neap_task *root = &scene->rt->root;
  bool root_waits = root->wait != NULL && root->future.loop == loop;
  luaL_Buffer b;
  size_t n = 0, shown = 0;
  for (size_t i = 0; i < scene->n; i++)
    n += scene->tasks[i]->future.loop == loop;
  luaL_buffinit(L, &b);
  luaL_addstring(&b, "nothing can wake ");
  if (root_waits) luaL_addstring(&b, n > 0 ? "the main chunk, nor " : "");
  if (n > 0) luaL_addstring(&b, n == 1 ? "this task:" : "these tasks:");
  if (n == 0)
    luaL_addstring(
        &b, root_waits ? "the main chunk:"
                       : "the event loop: it has no tasks and no callbacks");
  if (root_waits) {
    luaL_addstring(&b, "\n  ");
    neap__push_stuck(L, scene, root);
    luaL_addvalue(&b);
  }
  for (size_t i = 0; i < scene->n && shown < TASKS_SHOWN; i++) {
    if (scene->tasks[i]->future.loop != loop) continue;
    luaL_addstring(&b, "\n  ");
    neap__push_stuck(L, scene, scene->tasks[i]);
    luaL_addvalue(&b);
    shown++;
  }
  if (n > shown) {
    lua_pushfstring(L, "\n  and %I more", (LUAI_UACINT)(n - shown));
    luaL_addvalue(&b);
  }
  if (length > 0) add_cycle(L, &b, scene, cycle, length);
  if (loop->heap_len > 0) { /* or they would be waited for */
    lua_pushfstring(
        L, "\nthe clock of neap.test stands still, with %d %s armed",
        (int)loop->heap_len, loop->heap_len == 1 ? "deadline" : "deadlines");
    luaL_addvalue(&b);
  }
  neap__stuck_list(L, &b, loop);
  luaL_pushresult(&b);
}

/* Pushes the list of the tasks of the cycle; the main chunk is none. [-0, +1, m] */
static void push_list(lua_State *L, const neap__scene *scene,
                      const size_t *cycle, size_t length) {
  lua_Integer n = 0;
  lua_createtable(L, (int)length, 0);
  for (size_t i = 0; i < length; i++) {
    if (cycle[i] == scene->n) continue;
    neap__push_task(L, scene->tasks[cycle[i]]);
    lua_rawseti(L, -2, ++n);
  }
}

/* loop (light userdata) -> the error */
static int l_deadlock(lua_State *L) {
  neap__loop *loop = lua_touserdata(L, 1);
  neap__scene scene;
  size_t length;
  luaL_checkstack(L, 16, NULL);
  neap__scene_init(L, loop->rt, &scene);
  size_t *cycle = find_cycle(L, &scene, loop, &length);
  push_message(L, &scene, loop, cycle, length);
  neap__error_new(L, NEAP__DEADLOCKERROR);
  neap__push_tasks(L, loop);
  lua_setfield(L, -2, "tasks");
  if (length > 0) {
    push_list(L, &scene, cycle, length);
    lua_setfield(L, -2, "cycle");
  }
  return 1;
}

void neap__push_deadlock(lua_State *L, neap__loop *loop) {
  luaL_checkstack(L, 3, NULL);
  lua_pushcfunction(L, l_deadlock);
  lua_pushlightuserdata(L, loop);
  if (neap__pcall_quiet(L, 1) != LUA_OK) lua_error(L);
}
