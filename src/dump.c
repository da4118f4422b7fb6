/* SPDX-License-Identifier: MIT
 *
 * dump.c - the task tree: loop:dump(), the text of neap.all_tasks(), neap_dump.
 *
 * A task stands below the one that created it, as long as that is pending. Tasks
 * without children of their own that were created by the same one and are at the same
 * place are shown once, and the others counted: what is to be read of ten thousand
 * connections is how they differ.
 */
#include "internal.h"

#include <stdio.h>
#include <string.h>

#define DEPTH_SHOWN 20 /* deeper tasks are not indented further */
#define NONE ((size_t)-1)

/* One task of the tree. The tasks are numbered as in the scene. */
typedef struct node {
  size_t parent, first, last, next; /* NONE: none */
  size_t more;                      /* tasks folded into this one */
  int64_t oldest, newest;           /* of these: since when they wait */
  bool shown, folded;
} node;

typedef struct tree {
  neap__scene scene;
  node *nodes;
  int bodies; /* index of the table: number + 1 -> text, and text -> number */
  int64_t now;
  int skip; /* frames of ours in the coroutine that runs */
  luaL_Buffer b;
} tree;

/* ---- words --------------------------------------------------------------------------- */

/* 0.012 s is "12 ms". */
static void push_duration(lua_State *L, int64_t ns) {
  char text[64];
  double s = ns > 0 ? (double)ns / 1e9 : 0;
  if (s < 0.9995) {
    snprintf(text, sizeof text, "%.0f ms", s * 1e3);
  } else if (s < 120) {
    snprintf(text, sizeof text, "%.1f s", s);
  } else if (s < 7200) {
    snprintf(text, sizeof text, "%.0f min", s / 60);
  } else {
    snprintf(text, sizeof text, "%.1f h", s / 3600);
  }
  lua_pushstring(L, text);
}

/* Pushes what a task does: "waiting in 'Lock:acquire' for <Lock locked> held by
 * Task-2". [-0, +1, m] */
static void push_state(lua_State *L, const neap__scene *scene,
                       neap_task *task) {
  int base = lua_gettop(L);
  const neap_task *current = scene->rt->current;
  if (neap__is_stuck(task)) {
    const char *name = task->wait->name;
    lua_pushfstring(L, "waiting in '%s'", name != NULL ? name : "?");
    neap__push_target(L, scene, task);
  } else if (task == current) {
    lua_pushliteral(L, "running");
  } else if (task != &scene->rt->root && !task->started) {
    lua_pushliteral(L, "not started yet");
  } else if (task->item.queued) {
    lua_pushliteral(L, "ready");
  } else {
    lua_pushliteral(L, "busy"); /* it drives a loop */
  }
  if (task->cancelling > 0) lua_pushliteral(L, ", being cancelled");
  lua_concat(L, lua_gettop(L) - base);
}

/* Pushes all of a task's text but its name and its time: what equal ones share.
 * [-0, +1, m] */
static void push_body(lua_State *L, const tree *t, neap_task *task) {
  const neap__scene *scene = &t->scene;
  luaL_checkstack(L, 8, NULL);
  int base = lua_gettop(L);
  bool is_root = task == &scene->rt->root;
  push_state(L, scene, task);
  if (task->site != NULL)
    lua_pushfstring(L, "\n  created at %s:%d", task->site->source,
                    task->site->line);
  if (is_root || task->started) {
    neap__push_frames(L, neap__stack_of(scene->rt, task), !is_root, t->skip);
    luaL_gsub(L, lua_tostring(L, -1), "\n\t", "\n    ");
    lua_remove(L, -2);
  }
  lua_concat(L, lua_gettop(L) - base);
}

/* ---- the tree ------------------------------------------------------------------------ */

/* The pending task that made task i, or NONE. Of an id the low bits are known, and
 * that it is smaller. */
static size_t find_maker(const tree *t, size_t i) {
  const neap_task *task = t->scene.tasks[i];
  uint64_t low = task->item.maker;
  if (low == 0) return NONE;
  uint64_t id = (task->id & ~(uint64_t)UINT32_MAX) | low;
  if (id >= task->id) id -= (uint64_t)1 << 32;
  size_t maker = neap__scene_find(&t->scene, id);
  return maker < i && t->nodes[maker].shown ? maker : NONE;
}

static void grow(tree *t) {
  size_t n = t->scene.n;
  node *nodes = t->nodes, *top = &nodes[n]; /* its children have no parent */
  *top = (node){.parent = NONE, .first = NONE, .last = NONE, .next = NONE};
  for (size_t i = 0; i < n; i++) {
    node *me = &nodes[i];
    if (!me->shown) continue;
    me->first = me->last = me->next = NONE;
    me->parent = find_maker(t, i);
    me->oldest = me->newest = t->scene.tasks[i]->since;
    node *parent = me->parent != NONE ? &nodes[me->parent] : top;
    if (parent->last != NONE) {
      nodes[parent->last].next = i;
    } else {
      parent->first = i;
    }
    parent->last = i;
  }
}

/* Keeps the text of task i, or counts it to an equal one. [-0, +0, m] */
static void keep_body(lua_State *L, tree *t, size_t i) {
  node *me = &t->nodes[i];
  push_body(L, t, t->scene.tasks[i]);
  if (me->first == NONE) {
    lua_pushfstring(L, "%I %s", (LUAI_UACINT)me->parent, lua_tostring(L, -1));
    lua_pushvalue(L, -1);
    if (lua_rawget(L, t->bodies) == LUA_TNUMBER) {
      node *equal = &t->nodes[lua_tointeger(L, -1)];
      equal->more++;
      if (me->oldest < equal->oldest) equal->oldest = me->oldest;
      if (me->newest > equal->newest) equal->newest = me->newest;
      me->folded = true;
      lua_pop(L, 3);
      return;
    }
    lua_pop(L, 1);
    lua_pushinteger(L, (lua_Integer)i);
    lua_rawset(L, t->bodies);
  }
  lua_rawseti(L, t->bodies, (lua_Integer)i + 1);
}

/* Adds a text whose lines are indented by 2 * depth. */
static void add_indented(luaL_Buffer *b, const char *text, int depth) {
  for (;;) {
    const char *end = strchr(text, '\n');
    for (int i = 0; i < depth; i++)
      luaL_addstring(b, "  ");
    luaL_addlstring(b, text, end != NULL ? (size_t)(end - text) : strlen(text));
    luaL_addchar(b, '\n');
    if (end == NULL) return;
    text = end + 1;
  }
}

/* Pushes its label and what comes before the first newline of its body, its time, and
 * the rest. The body is on top. [-1, +1, m] */
static void push_entry(lua_State *L, const tree *t, neap_task *task,
                       const node *me) {
  int base = lua_gettop(L);
  const char *body = lua_tostring(L, base);
  size_t head = strcspn(body, "\n");
  luaL_checkstack(L, 12, NULL);
  if (task == &t->scene.rt->root) {
    lua_pushliteral(L, "main chunk, ");
  } else {
    neap__push_label(L, task);
    lua_pushliteral(L, ", ");
  }
  lua_pushlstring(L, body, head);
  if (neap__is_stuck(task)) {
    lua_pushliteral(L, ", since ");
    push_duration(L, t->now - task->since);
  }
  lua_pushstring(L, body + head);
  if (me != NULL && me->more > 0) {
    lua_pushfstring(L, "\n  and %I more like this", (LUAI_UACINT)me->more);
    if (neap__is_stuck(task)) {
      lua_pushliteral(L, ", since ");
      push_duration(L, t->now - me->newest);
      push_duration(L, t->now - me->oldest);
      if (lua_rawequal(L, -1, -2)) {
        lua_pop(L, 1);
      } else {
        lua_pushliteral(L, " to ");
        lua_insert(L, -2);
      }
    }
  }
  lua_concat(L, lua_gettop(L) - base);
  lua_replace(L, base);
}

/* Adds all tasks, parents before children. */
static void add_tasks(lua_State *L, tree *t) {
  size_t n = t->scene.n, i = t->nodes[n].first;
  int depth = 0;
  while (i != NONE) {
    node *me = &t->nodes[i];
    if (!me->folded) {
      /* Below the buffer, which may have a value on top of the stack. */
      lua_rawgeti(L, t->bodies, (lua_Integer)i + 1);
      push_entry(L, t, t->scene.tasks[i], me);
      lua_replace(L, t->bodies + 1);
      add_indented(&t->b, lua_tostring(L, t->bodies + 1),
                   depth < DEPTH_SHOWN ? depth : DEPTH_SHOWN);
    }
    if (me->first != NONE) {
      i = me->first;
      depth++;
      continue;
    }
    while (i != NONE && t->nodes[i].next == NONE) {
      i = t->nodes[i].parent;
      depth--;
    }
    if (i != NONE) i = t->nodes[i].next;
  }
}

/* Appends ", 3 tasks" to the string on top. [-1, +1, m] */
static void append_count(lua_State *L, size_t n, const char *one,
                         const char *many) {
  if (n == 0) return;
  lua_pushfstring(L, ", %I %s", (LUAI_UACINT)n, n == 1 ? one : many);
  lua_concat(L, 2);
}

/* ---- texts of trees ------------------------------------------------------------------ */

/* Pushes the tree of the tasks that are marked as shown, and perhaps of the root,
 * below the line on top of the stack. [-1, +1, m] */
static void push_tree(lua_State *L, tree *t, bool with_root) {
  neap_runtime *rt = t->scene.rt;
  luaL_checkstack(L, 16, NULL);
  int base = lua_gettop(L);
  lua_createtable(L, 0, 0);
  t->bodies = lua_gettop(L);
  t->now = neap__now(rt);
  lua_pushnil(L); /* the place of the text that is being added */
  grow(t);
  for (size_t i = 0; i < t->scene.n; i++)
    if (t->nodes[i].shown) keep_body(L, t, i);
  if (with_root) {
    push_body(L, t, &rt->root);
    push_entry(L, t, &rt->root, NULL);
    lua_replace(L, t->bodies + 1);
  }
  luaL_buffinit(L, &t->b);
  luaL_addstring(&t->b, lua_tostring(L, base));
  luaL_addchar(&t->b, '\n');
  if (with_root) add_indented(&t->b, lua_tostring(L, t->bodies + 1), 0);
  add_tasks(L, t);
  luaL_buffsub(&t->b, 1); /* the last newline */
  luaL_pushresult(&t->b);
  lua_replace(L, base);
  lua_settop(L, base);
}

/* Pushes what keeps it. [-0, +2, m] */
static void init(lua_State *L, neap_runtime *rt, tree *t) {
  neap__scene_init(L, rt, &t->scene);
  size_t size = (t->scene.n + 1) * sizeof(node);
  t->nodes = lua_newuserdatauv(L, size, 0);
  memset(t->nodes, 0, size);
}

/* Pushes the tree of a loop. [-0, +1, m] */
static void push_loop(lua_State *L, neap__loop *loop, int skip) {
  tree t = {.skip = skip};
  neap_runtime *rt = loop->rt;
  const neap_task *root = &rt->root;
  luaL_checkstack(L, 8, NULL);
  int base = lua_gettop(L);
  init(L, rt, &t);
  size_t shown = 0;
  for (size_t i = 0; i < t.scene.n; i++) {
    t.nodes[i].shown = t.scene.tasks[i]->future.loop == loop;
    shown += t.nodes[i].shown;
  }
  lua_pushfstring(L, "event loop, %s",
                  loop->running || loop->in_turn ? "running" : "idle");
  append_count(L, shown, "task", "tasks");
  append_count(L, loop->nready, "ready", "ready");
  append_count(L, loop->heap_len, "deadline", "deadlines");
  append_count(L, loop->nexternal, "operation", "operations");
  push_tree(L, &t,
            root->wait != NULL ? root->future.loop == loop
                               : rt->current == root && rt->loop == loop);
  lua_replace(L, base + 1);
  lua_settop(L, base + 1);
}

/* Pushes the main chunk of a program that has no loop. [-0, +1, m] */
static void push_root(lua_State *L, neap_runtime *rt) {
  tree t = {.skip = 1};
  int base = lua_gettop(L);
  init(L, rt, &t);
  lua_pushliteral(L, "no event loop");
  push_tree(L, &t, rt->current == &rt->root);
  lua_replace(L, base + 1);
  lua_settop(L, base + 1);
}

/* Pushes the trees of all loops, each ending with a newline. [-0, +1, m] */
static void push_all(lua_State *L, neap_runtime *rt) {
  luaL_checkstack(L, 8, NULL);
  lua_pushliteral(L, "");
  for (neap__loop *loop = rt->loops; loop != NULL; loop = loop->next) {
    if (loop->closed) continue;
    push_loop(L, loop, 1);
    lua_pushliteral(L, "\n");
    lua_concat(L, 3);
  }
  if (lua_rawlen(L, -1) > 0) return;
  push_root(L, rt);
  lua_pushliteral(L, "\n");
  lua_concat(L, 3);
}

/* ---- from Lua ------------------------------------------------------------------------ */

/* loop (light userdata) -> its tree */
static int l_loop_text(lua_State *L) {
  push_loop(L, lua_touserdata(L, 1), 2);
  return 1;
}

/* loop:dump() -> the task tree as text. */
int neap__l_dump(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__loop_object *object = neap__check(L, rt, 1, NEAP__K_LOOP, "event loop");
  if (object->loop == NULL) luaL_error(L, "Event loop is closed");
  lua_pushcfunction(L, l_loop_text);
  lua_pushlightuserdata(L, object->loop);
  if (neap__pcall_quiet(L, 1) != LUA_OK) lua_error(L);
  return 1;
}

/* list of tasks -> its tree */
static int l_list_text(lua_State *L) {
  neap_runtime *rt = neap_of(L);
  tree t = {.skip = 2};
  init(L, rt, &t);
  lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
  size_t shown = 0;
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, 1, i);
    neap_task *task = neap__test(L, rt, -1, NEAP__K_TASK);
    lua_pop(L, 1);
    if (task == NULL) continue;
    size_t at = neap__scene_find(&t.scene, task->id);
    if (at == t.scene.n || t.nodes[at].shown) continue;
    t.nodes[at].shown = true;
    shown++;
  }
  lua_pushfstring(L, "%I task%s", (LUAI_UACINT)shown, shown == 1 ? "" : "s");
  push_tree(L, &t, false);
  return 1;
}

/* tostring(list of tasks) -> the tree of those that are pending. */
static int l_list_tostring(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_pushcfunction(L, l_list_text);
  lua_insert(L, 1);
  if (neap__pcall_quiet(L, 1) != LUA_OK) lua_error(L);
  return 1;
}

void neap__dump_list(lua_State *L, neap_runtime *rt) {
  neap__push_class(L, rt, NEAP__K_TASKS);
  lua_setmetatable(L, -2);
}

void neap__dump_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {{"__tostring", l_list_tostring},
                                     {NULL, NULL}};
  neap__new_class(L, rt, NEAP__K_TASKS, "neap.Tasks", methods);
  lua_pushnil(L); /* it is a plain list */
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

/* ---- from C -------------------------------------------------------------------------- */

/* runtime (light userdata) -> the text, kept */
static int l_dump_all(lua_State *L) {
  push_all(L, lua_touserdata(L, 1));
  lua_pushvalue(L, -1);
  neap__reg_set(L, NEAP__R_DUMP);
  return 1;
}

static const char *dump_all(neap_runtime *rt, lua_State *L, size_t *length) {
  static const char no_memory[] = "not enough memory\n";
  *length = sizeof no_memory - 1;
  if (!lua_checkstack(L, 3)) return no_memory;
  lua_pushcfunction(L, l_dump_all);
  lua_pushlightuserdata(L, rt);
  bool ok = neap__pcall_quiet(L, 1) == LUA_OK;
  const char *text = ok ? lua_tolstring(L, -1, length) : no_memory;
  lua_pop(L, 1);
  return text;
}

void neap__dump_log(neap_runtime *rt, lua_State *L) {
  size_t length;
  atomic_store(&rt->dump, false);
  const char *text = dump_all(rt, L, &length);
  neap__log_text(rt, text, length);
}

const char *neap_dump(neap_runtime *rt) {
  size_t length;
  return dump_all(rt, rt->busy != NULL ? rt->busy : rt->L, &length);
}
