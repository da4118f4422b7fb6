/* SPDX-License-Identifier: MIT
 *
 * group.c - TaskGroup: tasks that end before the block does.
 *
 * A group knows its children by members: watchers that leave when their child ends,
 * but for those of children that failed, which stay for the error at the end. The
 * group's table (user value 1) holds the Task of each member by its slot; members
 * that are free are used again, so a group that lives long does not grow.
 *
 * The first failure takes its place in the ready list, as the callback of asyncio
 * does: children that were ready before it still have their turn. From there it
 * cancels the other children and, if that is still inside the block, the parent.
 */
#include "internal.h"

typedef struct group group;

typedef struct member {
  neap__watcher watcher;
  group *group;
  neap__future *future;
  struct member *next, *prev; /* pending: both ways; failed, free: next */
  lua_Integer slot;
  bool cancelled; /* by the group */
} member;

struct group {
  const void *tag;
  neap__call failure;
  neap__loop *loop;
  const neap__site *site;
  neap_task *parent; /* NULL once closed; may be stale: see is_open */
  uint64_t parent_id;
  uint32_t parent_slot;
  neap_wait *wait;            /* of the parent, at the end of the block */
  member *pending, *newest;   /* in order of creation */
  member *failed, *last_fail; /* in order of failing */
  member *spare;
  size_t count;      /* pending */
  lua_Integer slots; /* of the table */
  neap__before before;
  uint32_t ncalls;      /* when it was made */
  uint32_t loop_serial; /* the struct may be used again */
  bool exiting;         /* the end of the block was reached */
  bool aborting;        /* the children were cancelled */
  bool late;            /* but for some, which will be */
  bool cancelled_parent;
  bool cancelled; /* the parent was, while it waited at the end */
  bool waited;    /* the parent waits at the end, or has not run since */
};

/* What Lua has. User value 1: the table of Tasks. */
typedef struct holder {
  const void *tag;
  group *g;
} holder;

/* ---- members --------------------------------------------------------------------- */

static void unlink_member(group *g, member *m) {
  if (m->prev != NULL) {
    m->prev->next = m->next;
  } else {
    g->pending = m->next;
  }
  if (m->next != NULL) {
    m->next->prev = m->prev;
  } else {
    g->newest = m->prev;
  }
  m->next = m->prev = NULL;
  g->count--;
}

/* Whether the block can still be left: it was not, and its task goes on. */
static bool is_open(const group *g) {
  const neap_runtime *rt = g->loop->rt;
  if (g->parent == &rt->root) return g->ncalls == rt->ncalls;
  return g->parent != NULL &&
         neap__is_pending(rt, g->parent, g->parent_slot, g->parent_id);
}

static void on_child_done(neap__watcher *watcher, neap__future *future) {
  member *m = neap__container_of(watcher, member, watcher);
  group *g = m->group;
  unlink_member(g, m);
  if (future->state == NEAP__RAISED && is_open(g)) {
    if (g->last_fail != NULL) {
      g->last_fail->next = m;
    } else {
      g->failed = m;
    }
    g->last_fail = m;
    if (!g->aborting && !g->cancelled_parent)
      neap__ready(g->loop, &g->failure.item);
  } else {
    m->next = g->spare;
    g->spare = m;
  }
  if (g->count == 0 && g->wait != NULL) {
    neap_wait *wait = g->wait;
    g->wait = NULL;
    neap_wake(wait, 0);
  }
}

static bool is_parked(const neap_task *task) {
  return task->wait != NULL &&
         !(task->wait->flags & (NEAP__WOKEN | NEAP__ABORTING));
}

static void abort_children(group *g) {
  g->aborting = true;
  g->late = false;
  for (member *m = g->pending; m != NULL; m = m->next) {
    if (m->cancelled) continue;
    m->cancelled = true;
    neap__cancel((neap_task *)(void *)m->future, NULL, 0);
  }
}

/* The same for the parent, which is about to wait for the children or does. True when
 * a child waits for the parent: then it must not. */
static bool abort_from_parent(group *g) {
  neap_task *parent = g->parent;
  parent->on_path = true;
  abort_children(g);
  parent->on_path = false;
  bool ring = parent->ring;
  parent->ring = false;
  return ring;
}

/* A child has failed, or the parent was cancelled, and the place of that in the ready
 * list has come. */
static void on_failure(neap__call *call) {
  group *g = neap__container_of(call, group, failure);
  if (g->loop->closed || (g->aborting && !g->late) || !is_open(g)) return;
  if (g->wait == NULL) {
    abort_children(g);
  } else if (abort_from_parent(g) && g->wait != NULL) {
    neap_wait *wait = g->wait;
    g->wait = NULL;
    neap_wake(wait, UV_ECANCELED);
  }
  if (g->exiting) return;
  g->cancelled_parent = true;
  neap__cancel(g->parent, NULL, 0);
}

/* ---- Lua functions ---------------------------------------------------------------- */

static group *self(lua_State *L) {
  holder *h = neap__check_tagged(L, neap__rt(L), 1, NEAP__K_GROUP, "TaskGroup");
  if (h->g == NULL) luaL_argerror(L, 1, "the TaskGroup was collected");
  return h->g;
}

static int l_tostring(lua_State *L) {
  group *g = self(L);
  lua_settop(L, 1);
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  luaL_addstring(&b, "<TaskGroup");
  if (g->count > 0) {
    lua_pushfstring(L, " tasks=%I", (LUAI_UACINT)g->count);
    luaL_addvalue(&b);
  }
  int failed = 0;
  for (member *m = g->failed; m != NULL; m = m->next)
    failed++;
  if (failed > 0) {
    lua_pushfstring(L, " errors=%d", failed);
    luaL_addvalue(&b);
  }
  luaL_addstring(&b, g->parent == NULL ? " finished>"
                     : g->aborting     ? " cancelling>"
                                       : " entered>");
  luaL_pushresult(&b);
  return 1;
}

/* A member that is free, with a slot in the table; the table on top of the stack. */
static member *take_member(lua_State *L, neap_runtime *rt, group *g) {
  lua_getiuservalue(L, 1, 1);
  if (g->spare == NULL) {
    lua_pushboolean(L, 0);
    lua_rawseti(L, -2, g->slots + 1);
    member *m = neap__alloc(rt, NULL, 0, sizeof *m);
    if (m == NULL) luaL_error(L, "not enough memory");
    *m = (member){.group = g, .slot = ++g->slots};
    m->watcher.notify = on_child_done;
    g->spare = m;
  }
  return g->spare;
}

/* group:create_task(fn, ...) -> Task. Raises once the group is finished or shuts
 * down. */
static int l_create_task(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  group *g = self(L);
  luaL_checkany(L, 2);
  neap__check_awaitable(L, rt, 2, 2);
  if (neap__test_future(L, rt, 2) != NULL)
    luaL_argerror(L, 2, "function or coroutine expected, got a Task or Future");
  if (g->parent == NULL || (g->exiting && g->count == 0))
    return luaL_error(L, "TaskGroup %s is finished",
                      luaL_tolstring(L, 1, NULL));
  if (g->loop->serial != g->loop_serial)
    return luaL_error(L, "Event loop is closed");
  if (g->aborting)
    return luaL_error(L, "TaskGroup %s is shutting down",
                      luaL_tolstring(L, 1, NULL));
  member *m = take_member(L, rt, g);
  lua_insert(L, 2); /* the table below function and arguments */
  neap_task *task = neap__spawn(L, rt, g->loop, lua_gettop(L) - 3, 1);
  lua_pushvalue(L, -1);
  lua_rawseti(L, 2, m->slot); /* the slot is there: cannot fail */
  g->spare = m->next;
  m->future = &task->future;
  m->cancelled = false;
  m->next = NULL;
  m->prev = g->newest;
  if (g->newest != NULL) {
    g->newest->next = m;
  } else {
    g->pending = m;
  }
  g->newest = m;
  g->count++;
  neap__watch(m->future, &m->watcher);
  return 1;
}

/* ---- the end of the block ---------------------------------------------------------- */

/* The parent is cancelled while it waits for the children: they are cancelled, once,
 * and it goes on waiting. Those that are ready have their turn before, as they would
 * if the parent woke up first. */
static neap_aborted group_abort(neap_wait *wait) {
  group *g = neap__link_of(wait)->object;
  bool first = !g->aborting;
  g->cancelled = g->aborting = true;
  for (member *m = g->newest; m != NULL; m = m->prev) {
    neap_task *child = (neap_task *)(void *)m->future;
    if (first && is_parked(child)) {
      m->cancelled = true;
      neap__cancel_push(g->loop->rt, child);
    } else if (first) {
      g->late = true;
    } else { /* it may wait for this task in the end */
      neap__cancel_look(g->loop->rt, child);
    }
  }
  if (g->late) neap__ready(g->loop, &g->failure.item);
  return NEAP__ABORT_FORWARDED;
}

static void free_members(neap_runtime *rt, member *m) {
  while (m != NULL) {
    member *next = m->next;
    neap__alloc(rt, m, sizeof *m, 0);
    m = next;
  }
}

/* Those of children that have ended. Not left to the finalizer, which does not run
 * when memory is too short to call it. */
static void free_ended(neap_runtime *rt, group *g) {
  free_members(rt, g->failed);
  free_members(rt, g->spare);
  g->failed = g->last_fail = g->spare = NULL;
}

/* Frame: 1 the group, 2 the error that left the block or nil. Pushes the
 * ExceptionGroup; `tracebacks` has those of its errors. [-0, +1, m] */
static void push_errors(lua_State *L, neap_runtime *rt, group *g) {
  lua_Integer n = 0;
  lua_getiuservalue(L, 1, 1); /* 3 */
  lua_newtable(L);            /* 4: errors */
  lua_newtable(L);            /* 5: tracebacks */
  for (member *m = g->failed; m != NULL; m = m->next) {
    neap__seen(m->future);
    lua_rawgeti(L, 3, m->slot);
    lua_getiuservalue(L, -1, NEAP__OUTCOME);
    lua_rawseti(L, 4, ++n);
    if (lua_getiuservalue(L, -1, NEAP__EXTRA) == LUA_TTABLE) {
      lua_getfield(L, -1, "traceback");
      lua_rawseti(L, 5, n);
    }
    lua_settop(L, 5);
  }
  if (!lua_isnil(L, 2) && !neap__error_is(L, 2, NEAP__CANCELLEDERROR)) {
    lua_pushvalue(L, 2);
    lua_rawseti(L, 4, ++n);
  }
  if (g->site != NULL)
    lua_pushfstring(L, "\n  in a TaskGroup made at %s:%d", g->site->source,
                    g->site->line);
  lua_pushliteral(L, "unhandled errors in a TaskGroup");
  neap__error_new(L, NEAP__EXCEPTIONGROUP);
  lua_pushvalue(L, 4);
  lua_setfield(L, -2, "errors");
  lua_pushvalue(L, 5);
  lua_setfield(L, -2, "tracebacks");
  if (g->site != NULL) neap__note_inner(L, rt);
}

/* All children have ended. */
static int leave(lua_State *L, group *g) {
  neap_runtime *rt = neap__rt(L);
  neap_task *parent = g->parent;
  bool failed = g->failed != NULL;
  g->parent = NULL;
  lua_settop(L, 2);
  neap__check_stopped(L, rt);
  bool ends = neap__error_is(L, 2, NEAP__SYSTEMEXIT) ||
              neap__error_is(L, 2, NEAP__KEYBOARDINTERRUPT);
  if (ends || !failed) free_ended(rt, g);
  if (ends) return 0; /* goes on by itself, before all others */
  if (!failed && lua_isnil(L, 2))
    return g->cancelled ? neap__raise_cancelled(L, rt) : 0;
  if (!failed && neap__error_is(L, 2, NEAP__CANCELLEDERROR)) return 0;
  /* Errors come before a cancellation, which is raised at the next wait. One from
   * before the block, which its cleanup may be part of, is not. */
  if (parent->cancelling > g->before.cancelling ||
      (parent->cancelling > 0 && parent->raises != g->before.raises))
    parent->swallowed = 1;
  push_errors(L, rt, g);
  free_ended(rt, g);
  return lua_error(L);
}

static int close_finish(lua_State *L, neap_wait *wait) {
  group *g = neap__link_of(wait)->object;
  g->wait = NULL;
  g->waited = false;
  if (L == NULL) {
    g->parent = NULL;
    return 0;
  }
  if (wait->status <
      0) { /* after the last child had ended, or the root's end */
    if (g->count > 0) abort_children(g);
    g->cancelled = true;
  }
  return leave(L, g);
}

/* group:close(), the end of the block: waits for all children; raises an
 * ExceptionGroup when one has failed. Waits. */
static int l_close(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  group *g = self(L);
  lua_settop(L, 2);
  if (g->parent == NULL) return 0; /* a second time */
  if (rt->current != g->parent || rt->current->id != g->parent_id)
    return luaL_error(L, "a TaskGroup is closed by the task that made it");
  g->exiting = true;
  if (g->cancelled_parent && !neap__take_back(g->parent, &g->before))
    g->cancelled = true;
  if (!lua_isnil(L, 2) && !g->aborting && abort_from_parent(g))
    return leave(L, g);
  if (g->count == 0) return leave(L, g);
  if (rt->current != &rt->root && !lua_isyieldable(L))
    abort_children(g); /* where it cannot wait for them */
  neap__check_place(rt, L, "TaskGroup:close");
  neap_wait *wait =
      neap__own_wait(rt, group_abort, close_finish, "TaskGroup:close");
  neap__link_of(wait)->object = g;
  g->wait = wait;
  g->waited = true;
  return neap__park(rt, L, wait);
}

/* A program may call it too, with anything. */
static int l_gc(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  holder *h = neap__test(L, rt, 1, NEAP__K_GROUP);
  group *g = h != NULL ? h->g : NULL;
  if (g == NULL || (g->waited && !rt->closing)) return 0;
  if (!rt->closing) {
    for (member *m = g->pending; m != NULL; m = m->next)
      neap__unwatch(m->future, &m->watcher);
    neap__unready(g->loop, &g->failure.item);
  }
  free_members(rt, g->pending);
  g->pending = NULL;
  free_ended(rt, g);
  h->g = NULL;
  neap__block_free(rt, g);
  return 0;
}

/* TaskGroup() -> a group, for <close>: the block that follows ends when all tasks of
 * the group have. The first failure cancels the others; errors leave the block as an
 * ExceptionGroup with a list `errors`. */
static int l_new(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  if (rt->current == NULL)
    return luaL_error(L, "a TaskGroup needs a task around it; this is a loop "
                         "callback (start a task there: neap.create_task)");
  neap__loop *loop = neap__the_loop(L, rt);
  rt->current->future.loop = loop; /* the root has none before its first wait */
  holder *h = lua_newuserdatauv(L, sizeof *h, 1);
  *h = (holder){.tag = neap__tag(rt, NEAP__K_GROUP)};
  neap__push_class(L, rt, NEAP__K_GROUP);
  lua_setmetatable(L, -2);
  lua_newtable(L);
  lua_setiuservalue(L, -2, 1);
  group *g = h->g = neap__block_new(L, rt, sizeof *g);
  *g = (group){
      .tag = neap__tag(rt, NEAP__K_GROUP),
      .failure = {.item = {.kind = NEAP__CALL}, .run = on_failure},
      .loop = loop,
      .site = neap__site_at(L, rt, 1),
      .parent = rt->current,
      .parent_id = rt->current->id,
      .parent_slot = rt->current->slot,
      .before = neap__before_block(rt->current),
      .ncalls = rt->ncalls,
      .loop_serial = loop->serial,
  };
  return 1;
}

/* For reports. The cursor is the member that came last. */
static const neap__future *next_pending(const void *object, size_t *cursor) {
  const group *g = object;
  const member *last = (const member *)*cursor;
  const member *m = last != NULL ? last->next : g->pending;
  if (m == NULL) return NULL;
  *cursor = (size_t)m;
  return m->future;
}

void neap__group_open(lua_State *L, neap_runtime *rt) {
  static const neap__teller teller = {.child = next_pending};
  neap__set_teller(rt, NEAP__K_GROUP, &teller);
  static const luaL_Reg methods[] = {
      {"create_task", l_create_task}, {"close", l_close},
      {"__close", l_close},           {"__gc", l_gc},
      {"__tostring", l_tostring},     {NULL, NULL},
  };
  static const luaL_Reg functions[] = {{"TaskGroup", l_new}, {NULL, NULL}};
  neap__new_class(L, rt, NEAP__K_GROUP, "neap.TaskGroup", methods);
  lua_pop(L, 1);
  neap__set_funcs(L, rt, functions);
}
