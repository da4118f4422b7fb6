/* SPDX-License-Identifier: MIT
 *
 * runtime.c - the life of a runtime: memory, Lua state, start, shutdown.
 *
 * Shutdown has one order: cancel all tasks, run turns until they end or the grace is
 * over, close the coroutines that are left, close all handles, then the Lua state,
 * then free. A runtime whose state was lent lives in a userdata of that state, since
 * functions of ours may be called as long as the state lives.
 */
#include "internal.h"

#include "arena.h"
#include "packcode.h"
#include "reader.h"

#include <lualib.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char registry_keys[NEAP__REGS];
static const char runtime_key = 0;

const char *neap_version(void) {
  return NEAP_VERSION;
}

/* ---- memory -------------------------------------------------------------------- */

static void *plain_alloc(void *ud, void *ptr, size_t osize, size_t nsize) {
  (void)ud;
  (void)osize;
  if (nsize == 0) {
    free(ptr);
    return NULL;
  }
  return realloc(ptr, nsize);
}

static void *limited_alloc(void *ud, void *ptr, size_t osize, size_t nsize) {
  neap_runtime *rt = ud;
  if (ptr == NULL) osize = 0;
  if (nsize > osize &&
      (nsize - osize > rt->limit || rt->used > rt->limit - (nsize - osize)))
    return NULL;
  void *block = rt->base_alloc(rt->base_ud, ptr, osize, nsize);
  if (block != NULL || nsize == 0) rt->used = rt->used - osize + nsize;
  return block;
}

void *neap__alloc(neap_runtime *rt, void *ptr, size_t osize, size_t nsize) {
  return rt->alloc(rt->alloc_ud, ptr, osize, nsize);
}

/* ---- registry and classes --------------------------------------------------------- */

void neap__reg_get(lua_State *L, enum neap__reg which) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &registry_keys[which]);
}

void neap__reg_set(lua_State *L, enum neap__reg which) {
  lua_rawsetp(L, LUA_REGISTRYINDEX, &registry_keys[which]);
}

neap_runtime *neap_of(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &runtime_key);
  neap_runtime *rt = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return rt;
}

void neap__push_self(lua_State *L, neap_runtime *rt) {
  (void)rt;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &runtime_key);
}

void neap__set_funcs(lua_State *L, neap_runtime *rt, const luaL_Reg *funcs) {
  neap__push_self(L, rt);
  luaL_setfuncs(L, funcs, 1);
}

void neap__new_class(lua_State *L, neap_runtime *rt, enum neap__kind kind,
                     const char *name, const luaL_Reg *methods) {
  lua_createtable(L, 0, 16);
  lua_pushstring(L, name);
  lua_setfield(L, -2, "__name");
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, "neap");
  lua_setfield(L, -2, "__metatable");
  neap__set_funcs(L, rt, methods);
  rt->mt[kind] = lua_topointer(L, -1);
  lua_pushvalue(L, -1);
  rt->mt_ref[kind] = luaL_ref(L, LUA_REGISTRYINDEX);
}

void *neap__check(lua_State *L, neap_runtime *rt, int index,
                  enum neap__kind kind, const char *name) {
  void *p = neap__test(L, rt, index, kind);
  if (NEAP__UNLIKELY(p == NULL)) luaL_typeerror(L, index, name);
  return p;
}

/* ---- hooks -------------------------------------------------------------------------- */

void neap__log_text(neap_runtime *rt, const char *text, size_t length) {
  if (rt->log != NULL) rt->log(rt->ud, text, length);
}

static void log_text(neap_runtime *rt, const char *text) {
  neap__log_text(rt, text, strlen(text));
}

void neap__unhandled(neap_runtime *rt, const char *message,
                     const char *report) {
  rt->had_unhandled = true;
  if (rt->unhandled != NULL) {
    rt->unhandled(rt->ud, message, report);
    return;
  }
  log_text(rt, report);
  log_text(rt, "\n");
}

/* Lua's warnings, as lua.c shows them. */
static void on_warning(void *ud, const char *text, int goes_on) {
  neap_runtime *rt = ud;
  if (!rt->warn_goes_on && !goes_on && text[0] == '@') {
    if (strcmp(text, "@on") == 0) rt->warn = true;
    if (strcmp(text, "@off") == 0) rt->warn = false;
    return;
  }
  if (rt->warn) {
    if (!rt->warn_goes_on) log_text(rt, "Lua warning: ");
    log_text(rt, text);
    if (!goes_on) log_text(rt, "\n");
  }
  rt->warn_goes_on = goes_on;
}

bool neap_had_unhandled(neap_runtime *rt) {
  return rt->had_unhandled;
}

/* ---- start -------------------------------------------------------------------------- */

/* require "neap" -> the module. A test runner that isolates its files restores the
 * globals and forgets what was loaded: then ours are put back. */
int neap__module(lua_State *L) {
  neap_runtime *rt = neap_of(L);
  if (!neap__coro_installed(L)) {
    neap__coro_open(L, rt);
    neap__raise_open(L, rt);
    neap__require_install(L, rt);
  }
  neap__reg_get(L, NEAP__R_MODULE);
  return 1;
}

static void new_weak_table(lua_State *L, const char *mode) {
  lua_createtable(L, 0, 0);
  lua_createtable(L, 0, 1);
  lua_pushstring(L, mode);
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
}

/* Everything that belongs to the runtime inside its Lua state. [-0, +0, m] */
static void open_core(lua_State *L, neap_runtime *rt) {
  static const enum neap__reg tables[] = {NEAP__R_THREADS, NEAP__R_TRACE,
                                          NEAP__R_INNER, NEAP__R_LOOPS};
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
    lua_createtable(L, 2, 0);
    neap__reg_set(L, tables[i]);
  }
  new_weak_table(L, "v");
  neap__reg_set(L, NEAP__R_LOST);
  new_weak_table(L, "k");
  neap__reg_set(L, NEAP__R_SEEN);
  lua_createtable(L, 0, 48);
  neap__error_open(L, rt);
  neap__loop_open(L, rt);
  neap__future_open(L, rt);
  neap__task_open(L, rt);
  neap__handle_open(L, rt);
  neap__signal_open(L, rt);
  neap__poll_open(L, rt);
  neap__debug_open(L, rt);
  neap__timer_open(L, rt);
  neap__gather_open(L, rt);
  neap__completion_open(L, rt);
  neap__waitfor_open(L, rt);
  neap__timeout_open(L, rt);
  neap__group_open(L, rt);
  neap__lock_open(L, rt);
  neap__event_open(L, rt);
  neap__condition_open(L, rt);
  neap__semaphore_open(L, rt);
  neap__dump_open(L, rt);
  neap__barrier_open(L, rt);
  neap__queue_open(L, rt);
  neap__threadsafe_open(L, rt);
  neap__require_open(L, rt);
  neap__coro_open(L, rt);
  neap__raise_open(L, rt);
  neap__pcall_open(L, rt);
  neap__context_open(L, rt);
  neap__embed_install(L);
  lua_pushliteral(L, NEAP_VERSION);
  lua_setfield(L, -2, "_VERSION");
  neap__reg_set(L, NEAP__R_MODULE);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, neap__module);
  lua_setfield(L, -2, "neap");
  lua_pop(L, 1);
}

static void set_path(lua_State *L, const char *field, const char *path) {
  if (path == NULL) return;
  if (lua_getglobal(L, "package") == LUA_TTABLE) {
    lua_pushstring(L, path);
    lua_setfield(L, -2, field);
  }
  lua_pop(L, 1);
}

static void init(neap_runtime *rt, lua_State *L, const neap_config *config) {
  rt->L = L;
  rt->log = config->log;
  rt->unhandled = config->unhandled;
  rt->exit = config->exit;
  rt->ud = config->ud;
  rt->grace = config->grace > 0 ? config->grace : 10;
  rt->lent_uv = config->loop;
  rt->lent_L = config->L != NULL;
  rt->lost.next = rt->lost.prev = &rt->lost;
  rt->current = &rt->root;
  rt->root.future.is_task = 1;
  rt->busy = L;
#ifdef NEAP_DEBUG
  const char *stress = getenv("NEAP_GC_STRESS");
  rt->gc_stress = stress != NULL && stress[0] == '1';
#endif
}

/* config (light userdata), runtime (userdata) */
static int l_start(lua_State *L) {
  const neap_config *config = lua_touserdata(L, 1);
  neap_runtime *rt = lua_touserdata(L, 2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &runtime_key);
  if (config->flags & NEAP_NO_ENV) {
    lua_pushboolean(L, 1); /* where Lua's libraries look for it */
    lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV");
  }
  const char *debug = config->flags & NEAP_NO_ENV ? NULL : getenv("NEAP_DEBUG");
  rt->debug =
      debug != NULL && strcmp(debug, "") != 0 && strcmp(debug, "0") != 0;
  if (!(config->flags & NEAP_NO_LIBS) && config->L == NULL) luaL_openlibs(L);
  set_path(L, "path", config->lua_path);
  set_path(L, "cpath", config->lua_cpath);
  open_core(L, rt);
  if (config->loop != NULL) neap__the_loop(L, rt);
  return 0;
}

static int start(neap_runtime *rt, lua_State *L, const neap_config *config) {
  if (!lua_checkstack(L, 4)) return UV_ENOMEM;
  lua_pushcfunction(L, l_start);
  lua_pushlightuserdata(L, (void *)config);
  if (rt->lent_L) {
    lua_pushvalue(L, -3);
    lua_remove(L, -4);
  } else {
    lua_pushlightuserdata(L, rt);
  }
  if (lua_pcall(L, 2, 0, 0) == LUA_OK) return 0;
  lua_pop(L, 1);
  return UV_ENOMEM;
}

static int l_new_userdata(lua_State *L) {
  lua_newuserdatauv(L, sizeof(neap_runtime), 0);
  return 1;
}

static neap_runtime *new_in_lent(const neap_config *config, int *error) {
  lua_State *L = config->L;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  lua_State *main = lua_tothread(L, -1);
  lua_pop(L, 1);
  *error = UV_EINVAL;
  if (main != L || neap_of(L) != NULL) return NULL;
  *error = UV_ENOMEM;
  if (!lua_checkstack(L, 8)) return NULL;
  lua_pushcfunction(L, l_new_userdata);
  if (lua_pcall(L, 0, 1, 0) != LUA_OK) {
    lua_pop(L, 1);
    return NULL;
  }
  neap_runtime *rt = lua_touserdata(L, -1);
  memset(rt, 0, sizeof *rt);
  init(rt, L, config);
  rt->alloc = lua_getallocf(L, &rt->alloc_ud);
  if ((*error = uv_mutex_init(&rt->mutex)) < 0) {
    lua_pop(L, 1);
    return NULL;
  }
  if ((*error = start(rt, L, config)) == 0) return rt;
  neap_free(rt);
  lua_pushnil(L); /* the state may be lent again */
  lua_rawsetp(L, LUA_REGISTRYINDEX, &runtime_key);
  return NULL;
}

static void free_struct(neap_runtime *rt) {
  neap__arena *arena = rt->arena;
  rt->base_alloc(rt->base_ud, rt, sizeof *rt, 0);
  if (arena != NULL) neap__arena_free(arena);
}

/* Where nobody brings an allocator; the checking modes want to see every block. */
static neap__arena *new_arena(const neap_config *config) {
#ifdef NEAP_DEBUG
  (void)config;
  return NULL;
#else
  return config->alloc == NULL ? neap__arena_new() : NULL;
#endif
}

static neap_runtime *new_with_state(const neap_config *config, int *error) {
  neap__arena *arena = new_arena(config);
  lua_Alloc alloc = config->alloc != NULL ? config->alloc
                    : arena != NULL       ? neap__arena_alloc
                                          : plain_alloc;
  void *alloc_ud = arena != NULL ? arena : config->alloc_ud;
  neap_runtime *rt = alloc(alloc_ud, NULL, 0, sizeof *rt);
  *error = UV_ENOMEM;
  if (rt == NULL) {
    if (arena != NULL) neap__arena_free(arena);
    return NULL;
  }
  memset(rt, 0, sizeof *rt);
  rt->arena = arena;
  rt->base_alloc = rt->alloc = alloc;
  rt->base_ud = rt->alloc_ud = alloc_ud;
  if (config->memory_limit > 0) {
    rt->limit = config->memory_limit;
    rt->alloc = limited_alloc;
    rt->alloc_ud = rt;
  }
  lua_State *L = NULL;
  if ((*error = uv_mutex_init(&rt->mutex)) == 0) {
    L = lua_newstate(rt->alloc, rt->alloc_ud);
    *error = UV_ENOMEM;
    if (L == NULL) uv_mutex_destroy(&rt->mutex);
  }
  if (L == NULL) {
    free_struct(rt);
    return NULL;
  }
  init(rt, L, config);
  lua_setwarnf(L, on_warning, rt);
  if ((*error = start(rt, L, config)) < 0) {
    neap_free(rt);
    return NULL;
  }
  return rt;
}

neap_runtime *neap_new(const neap_config *config, int *error) {
  neap_config zero = {.size = sizeof zero};
  int ignored;
  if (error == NULL) error = &ignored;
  *error = UV_EINVAL;
  if (config == NULL) config = &zero;
  if (config->size != sizeof *config) return NULL;
  *error = 0;
  return config->L != NULL ? new_in_lent(config, error)
                           : new_with_state(config, error);
}

/* ---- end ------------------------------------------------------------------------------ */

static int end_loops(neap_runtime *rt) {
  int forced = 0;
  /* Newest first; a finishing task may make loops, which come first again. */
  for (neap__loop *loop = rt->loops; loop != NULL;) {
    if (loop->closed) {
      loop = loop->next;
      continue;
    }
    neap__loop_finish(loop, rt->L);
    forced += neap__loop_close(loop, rt->L);
    loop = rt->loops;
  }
  return forced;
}

int neap_shutdown(neap_runtime *rt) {
  if (rt->shut) return 0;
  if (rt->running != NULL || rt->current != &rt->root) return UV_EBUSY;
  neap__posts_flush(rt, false);
  int forced = end_loops(rt);
  neap__posts_flush(rt, true); /* of those, some may have made tasks */
  forced += end_loops(rt);
  neap__files_flush(rt);
  neap__tty_restore(rt);
  rt->shut = true;
  atomic_store(&rt->interrupt, 0);
  return forced;
}

static void release(neap_runtime *rt) {
  neap__lost_free(rt);
  neap__deadlines_drop(&rt->root); /* of blocks that os.exit never left */
  neap__loops_free(rt);
  rt->root.future.loop = NULL;
  neap__sites_free(rt);
  neap__shuffle_free(rt);
  neap__watchdog_free(rt);
  neap__deadlines_free(rt);
  neap__strays_free(rt);
  neap__tls_free(rt);
  neap__packer_free(rt);
  neap__reader_free_bulk(rt);
  /* In a lent state the objects live on, and free them. */
  if (!rt->lent_L) neap__blocks_free(rt);
  neap__alloc(rt, rt->slots, rt->slot_cap * sizeof *rt->slots, 0);
  neap__alloc(rt, rt->free_slots, rt->slot_cap * sizeof *rt->free_slots, 0);
  neap__alloc(rt, rt->pool, rt->pool_cap * sizeof *rt->pool, 0);
  rt->slots = NULL;
  rt->free_slots = NULL;
  rt->pool = NULL;
  rt->slot_cap = rt->nslots = rt->nfree_slots = rt->pool_cap = rt->npool = 0;
  uv_mutex_destroy(&rt->mutex);
}

void neap_free(neap_runtime *rt) {
  if (rt == NULL) return;
  if (rt->running != NULL || rt->current != &rt->root) {
    /* os.exit and its like, called where a loop runs: there is no way back into it */
    rt->running = NULL;
    rt->current = &rt->root;
    for (neap__loop *loop = rt->loops; loop != NULL; loop = loop->next)
      loop->running = loop->in_turn = false;
  }
  /* What the main chunk has still open may wait, so it comes before the rest. */
  if (!rt->lent_L && !rt->shut) neap__close_thread(rt->L, NULL);
  neap_shutdown(rt);
  rt->closing = true;
  if (rt->lent_L) {
    release(rt);
    return; /* the struct is the Lua state's */
  }
  lua_close(rt->L);
  release(rt);
  free_struct(rt);
}
