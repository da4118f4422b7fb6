/* SPDX-License-Identifier: MIT
 *
 * require.c - Lua's require, whose searchers and module bodies may wait.
 *
 * Because they may, two tasks can ask for a module at the same time. While one
 * loads it, a record of that stands in rt->loads, and the others wait for the record
 * to end; then they look again. It is a to-be-closed value in the frame of require,
 * so that an error or a cancellation ends it, and is collected with a coroutine that
 * never gets there.
 *
 * A task does not wait for itself: a module that requires itself, directly or through
 * modules that other tasks load and that wait for it, is loaded again, as in stock
 * Lua.
 */
#include "packet.h"

#include <string.h>

typedef struct neap__load {
  const void *tag;
  struct neap__load *next; /* of the runtime */
  const char *name;        /* its user value is the string */
  uint64_t owner;          /* number of the task that loads it; 0: the root */
  lua_State *co;           /* where, while it lasts */
  neap__waitq queue;       /* tasks that require it meanwhile */
} neap__load;

/* Indices in the frame of require. */
enum { NAME = 1, LOADED, RECORD, SEARCHERS, REASONS };
#define DATA SEARCHERS /* once the loader is found */

/* ---- records ----------------------------------------------------------------- */

static void end(neap_runtime *rt, neap__load *load) {
  if (load->co == NULL) return;
  load->co = NULL;
  neap__load **link = &rt->loads;
  while (*link != load)
    link = &(*link)->next;
  *link = load->next;
  while (neap__waitq_wake(&load->queue, 0) != NULL)
    continue;
}

static int l_end(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__load *load = neap__test(L, rt, 1, NEAP__K_LOAD);
  if (load != NULL && !rt->closing) end(rt, load);
  return 0;
}

void neap__loads_died(neap_runtime *rt, lua_State *co) {
  for (neap__load *load = rt->loads, *next; load != NULL; load = next) {
    next = load->next;
    if (load->co == co) end(rt, load);
  }
}

/* The load that this task waits for, or NULL. */
static neap__load *awaited_by(const neap_runtime *rt, uint64_t task) {
  for (neap__load *load = rt->loads; load != NULL; load = load->next)
    for (neap_wait *w = load->queue.head; w != NULL;
         w = neap__link_of(w)->queue.next)
      if (w->task->id == task) return load;
  return NULL;
}

/* The load of this module by another task, or NULL if there is none that the current
 * task can wait for. */
static neap__load *taken(const neap_runtime *rt, const char *name) {
  neap__load *found = NULL;
  uint64_t self = rt->current != NULL ? rt->current->id : UINT64_MAX;
  for (neap__load *load = rt->loads; load != NULL; load = load->next) {
    if (strcmp(load->name, name) != 0) continue;
    if (load->owner == self) return NULL;
    found = load;
  }
  for (neap__load *load = found; load != NULL;
       load = awaited_by(rt, load->owner))
    if (load->owner == self) return NULL;
  return found;
}

/* Puts the record of a load at RECORD. */
static void begin(lua_State *L, neap_runtime *rt, const char *name) {
  if (rt->current == NULL) { /* a callback: it cannot wait, nobody sees it */
    lua_pushnil(L);
    return;
  }
  neap__load *load = lua_newuserdatauv(L, sizeof *load, 1);
  *load = (neap__load){.tag = neap__tag(rt, NEAP__K_LOAD),
                       .name = name,
                       .owner = rt->current->id};
  neap__push_class(L, rt, NEAP__K_LOAD);
  lua_setmetatable(L, RECORD);
  lua_pushvalue(L, NAME);
  lua_setiuservalue(L, RECORD, 1);
  lua_toclose(L, RECORD);
  load->co = L;
  load->next = rt->loads;
  rt->loads = load;
}

/* ---- loading ------------------------------------------------------------------- */

static int loaded_k(lua_State *L, int status, lua_KContext context) {
  const char *name = lua_tostring(L, NAME);
  (void)status;
  (void)context;
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
  } else {
    lua_setfield(L, LOADED, name);
  }
  if (lua_getfield(L, LOADED, name) == LUA_TNIL) {
    lua_pushboolean(L, 1);
    lua_copy(L, -1, -2);
    lua_setfield(L, LOADED, name);
  }
  neap__names_changed(neap__rt(L));
  lua_pushvalue(L, DATA);
  return 2;
}

/* The loader and its data are on top. */
static int run_loader(lua_State *L) {
  lua_replace(L, DATA);
  lua_replace(L, REASONS);
  lua_settop(L, REASONS);
  lua_pushvalue(L, NAME);
  lua_pushvalue(L, DATA);
  lua_callk(L, 2, 1, 0, loaded_k);
  return loaded_k(L, LUA_OK, 0);
}

/* Whether a searcher's two results, on top, are a loader. Pops them if not. */
static bool found(lua_State *L) {
  if (lua_isfunction(L, -2)) return true;
  lua_pop(L, 1);
  if (lua_isstring(L, -1)) {
    lua_pushfstring(L, "%s\n\t%s", lua_tostring(L, REASONS),
                    lua_tostring(L, -1));
    lua_replace(L, REASONS);
  }
  lua_pop(L, 1);
  return false;
}

static int searched_k(lua_State *L, int status, lua_KContext context);

static int search(lua_State *L, lua_Integer i) {
  for (;; i++) {
    if (lua_rawgeti(L, SEARCHERS, i) == LUA_TNIL)
      return luaL_error(L, "module '%s' not found:%s", lua_tostring(L, NAME),
                        lua_tostring(L, REASONS));
    lua_pushvalue(L, NAME);
    lua_callk(L, 1, 2, (lua_KContext)i, searched_k);
    if (found(L)) return run_loader(L);
  }
}

static int searched_k(lua_State *L, int status, lua_KContext context) {
  (void)status;
  return found(L) ? run_loader(L) : search(L, (lua_Integer)context + 1);
}

/* ---- waiting for another task's load --------------------------------------------- */

static int l_require(lua_State *L);

static neap_aborted load_abort(neap_wait *wait) {
  neap__load *load = neap__link_of(wait)->object;
  neap__waitq_remove(&load->queue, wait);
  return NEAP_ABORT_DONE;
}

static int load_finish(lua_State *L, neap_wait *wait) {
  if (wait->status < 0) return neap__raise_cancelled(L, neap__rt(L));
  return l_require(L); /* it may have failed: look again */
}

static int wait_for(lua_State *L, neap_runtime *rt, neap__load *load) {
  neap__check_park(rt, L, "require");
  neap_wait *wait = neap__own_wait(rt, load_abort, load_finish, "require");
  neap__link_of(wait)->object = load;
  neap__waitq_push(&load->queue, wait);
  return neap__park(rt, L, wait);
}

/* require(name) -> the module, and what its loader was given. */
static int l_require(lua_State *L) {
  const char *name = luaL_checkstring(L, NAME);
  neap_runtime *rt = neap__rt(L);
  lua_settop(L, NAME);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, LOADED, name);
  bool loaded = lua_toboolean(L, -1);
  if (NEAP__UNLIKELY(rt->loads != NULL)) {
    neap__load *load = taken(rt, name);
    /* A module that has entered itself early is not complete yet. */
    if (load != NULL && !(loaded && rt->current == NULL))
      return wait_for(L, rt, load);
  }
  if (loaded) return 1;
  lua_settop(L, LOADED);
  begin(L, rt, name);
  if (lua_getfield(L, lua_upvalueindex(2), "searchers") != LUA_TTABLE)
    luaL_error(L, "'package.searchers' must be a table");
  lua_pushliteral(L, ""); /* the reasons so far */
  return search(L, 1);
}

bool neap__is_require(lua_CFunction f) {
  return f == l_require;
}

static void push_awaited(lua_State *L, const void *object) {
  lua_pushfstring(L, "the module '%s'", ((const neap__load *)object)->name);
}

static uint64_t owner(const void *object) {
  return ((const neap__load *)object)->owner;
}

void neap__require_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {
      {"__close", l_end},
      {"__gc", l_end},
      {NULL, NULL},
  };
  static const neap__teller teller = {
      .push = push_awaited, .holder = owner, .by = "which is loaded by"};
  neap__set_teller(rt, NEAP__K_LOAD, &teller);
  neap__new_class(L, rt, NEAP__K_LOAD, "neap.load", methods);
  lua_pop(L, 1);
  neap__require_install(L, rt);
}

void neap__require_install(lua_State *L, neap_runtime *rt) {
  lua_pushglobaltable(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  neap__push_self(L, rt);
  if (lua_getfield(L, -2, "package") == LUA_TTABLE) {
    lua_pushcclosure(L, l_require, 2);
    lua_setfield(L, -3, "require");
  } else {
    lua_pop(L, 2);
  }
  lua_pop(L, 2);
}
