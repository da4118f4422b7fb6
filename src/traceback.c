/* SPDX-License-Identifier: MIT
 *
 * traceback.c - where things are in a Lua program, and the texts of reports.
 *
 * The traceback of a task's error is built when the error is raised, by the message
 * handler. An error that comes out of something that has ended (an awaited task, a
 * generator) brings along the traceback from in there: whoever passes it on notes
 * it, and the next handler that sees this very error puts it first.
 */
#include "internal.h"

#include <stdio.h>
#include <string.h>

#define HEADER "stack traceback:"
#define MAX_SITES 65536
#define INNER_MAX 8000 /* bytes of a traceback from inside; of a longer one: */
#define INNER_HEAD 5000
#define INNER_TAIL 2000

/* ---- sites -------------------------------------------------------------------- */

static uint32_t hash_site(const char *source, int line) {
  uint32_t h = (uint32_t)line * 2654435761u;
  size_t n = strlen(source), step = (n >> 4) + 1;
  for (; n >= step; n -= step)
    h ^= (h << 5) + (h >> 2) + (unsigned char)source[n - 1];
  return h;
}

#define BUCKETS 1024

static const neap__site *intern(neap_runtime *rt, const char *source,
                                int line) {
  if (rt->sites == NULL) {
    rt->sites = neap__alloc(rt, NULL, 0, BUCKETS * sizeof *rt->sites);
    if (rt->sites == NULL) return NULL;
    memset(rt->sites, 0, BUCKETS * sizeof *rt->sites);
  }
  neap__site **bucket = &rt->sites[hash_site(source, line) % BUCKETS];
  for (neap__site *site = *bucket; site != NULL; site = site->next)
    if (site->line == line && strcmp(site->source, source) == 0) return site;
  if (rt->nsites >= MAX_SITES) return NULL;
  neap__site *site = neap__alloc(rt, NULL, 0, sizeof *site);
  if (site == NULL) return NULL;
  memset(site, 0, sizeof *site);
  site->line = line;
  snprintf(site->source, sizeof site->source, "%s", source);
  site->next = *bucket;
  *bucket = site;
  rt->nsites++;
  return site;
}

bool neap__is_own_source(const char *source) {
  return strncmp(source, "=neap/", 6) == 0;
}

const neap__site *neap__site_at(lua_State *L, neap_runtime *rt, int level) {
  lua_Debug ar;
  const neap__site *own = NULL;
  for (int tries = 0; tries < 12 && lua_getstack(L, level + tries, &ar);
       tries++) {
    lua_getinfo(L, "Sl", &ar);
    if (ar.currentline <= 0) continue;
    /* The address of the source only picks a place in the cache: it may have been
     * used again for another text. */
    size_t place = ((uintptr_t)ar.source >> 4) + (unsigned)ar.currentline;
    const neap__site **cached = &rt->site_cache[place % NEAP__SITE_CACHE];
    if (NEAP__LIKELY(*cached != NULL && (*cached)->line == ar.currentline &&
                     strcmp((*cached)->source, ar.short_src) == 0))
      return *cached;
    if (neap__is_own_source(ar.source)) { /* never in the cache */
      if (own == NULL) own = intern(rt, ar.short_src, ar.currentline);
      continue;
    }
    return *cached = intern(rt, ar.short_src, ar.currentline);
  }
  return own;
}

void neap__sites_free(neap_runtime *rt) {
  if (rt->sites == NULL) return;
  for (int i = 0; i < BUCKETS; i++) {
    for (neap__site *site = rt->sites[i], *next; site != NULL; site = next) {
      next = site->next;
      neap__alloc(rt, site, sizeof *site, 0);
    }
  }
  neap__alloc(rt, rt->sites, BUCKETS * sizeof *rt->sites, 0);
  rt->sites = NULL;
  memset(rt->site_cache, 0, sizeof rt->site_cache);
}

/* ---- names of functions ----------------------------------------------------------- */

/* Whether the function at `function` is a field of the module on top of the stack;
 * then it is replaced by its name. [-1, +0, m] */
static bool find_in_module(lua_State *L, int function, const char *module) {
  if (lua_istable(L, -1)) {
    lua_pushnil(L);
    while (lua_next(L, -2)) {
      if (lua_type(L, -2) == LUA_TSTRING && lua_rawequal(L, -1, function)) {
        const char *name = lua_tostring(L, -2);
        if (strcmp(module, "_G") == 0) {
          lua_pushstring(L, name);
        } else {
          lua_pushfstring(L, "%s.%s", module, name);
        }
        lua_replace(L, function);
        return true;
      }
      lua_pop(L, 1);
    }
  }
  lua_pop(L, 1);
  return false;
}

/* Pushes "table.sort" for a function found in a loaded module, Lua's own modules
 * first: others keep some of their functions too. [-1, +1, m] */
static bool push_global_name(lua_State *L) {
  static const char *const own[] = {"_G",    "table", "string", "coroutine",
                                    "debug", "utf8",  "io",     "os"};
  int function = lua_gettop(L);
  bool found = false;
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  for (size_t i = 0; i < sizeof own / sizeof *own && !found; i++) {
    lua_getfield(L, function + 1, own[i]);
    found = find_in_module(L, function, own[i]);
  }
  if (!found) lua_pushnil(L);
  while (!found && lua_next(L, function + 1)) {
    if (lua_type(L, -2) == LUA_TSTRING) {
      found = find_in_module(L, function, lua_tostring(L, -2));
    } else {
      lua_pop(L, 1);
    }
  }
  lua_settop(L, found ? function : function - 1);
  return found;
}

void neap__push_culprit(lua_State *L, int level) {
  lua_Debug ar;
  luaL_checkstack(L, 12, NULL);
  for (; lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "Snf", &ar);
    if (strcmp(ar.what, "C") != 0 || neap__lets_pass(lua_tocfunction(L, -1))) {
      if (ar.namewhat[0] == 'm' && ar.name != NULL &&
          strcmp(ar.name, "__gc") == 0) {
        lua_pop(L, 1);
        lua_pushliteral(L, "a finalizer (__gc)");
        return;
      }
      lua_pop(L, 1);
      continue;
    }
    if (push_global_name(L)) {
      lua_pushfstring(L, "'%s'", lua_tostring(L, -1));
      lua_remove(L, -2);
    } else if (ar.name != NULL) {
      lua_pushfstring(L, "the C function '%s'", ar.name);
    } else {
      lua_pushliteral(L, "a C function");
    }
    return;
  }
  lua_pushliteral(L, "a finalizer or a closing coroutine");
}

/* ---- text ---------------------------------------------------------------------------- */

static int l_tolstring(lua_State *L) {
  luaL_tolstring(L, 1, NULL);
  return 1;
}

void neap__push_text(lua_State *L, int index) {
  index = lua_absindex(L, index);
  luaL_checkstack(L, 6, NULL);
  lua_pushcfunction(L, l_tolstring);
  lua_pushvalue(L, index);
  if (lua_pcall(L, 1, 1, 0) == LUA_OK) return;
  lua_pop(L, 1);
  lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, index));
}

/* Replaces the traceback on top by one without its header and, for a task, without
 * the frame of its body. */
static void trim(lua_State *L, bool of_task) {
  const char *text = lua_tostring(L, -1);
  size_t n = strlen(text);
  if (strncmp(text, HEADER, sizeof HEADER - 1) == 0) {
    text += sizeof HEADER - 1;
    n -= sizeof HEADER - 1;
  }
  if (of_task) {
    size_t end = n;
    while (end > 0 && text[end - 1] != '\n')
      end--;
    if (end > 0) n = end - 1;
  }
  lua_pushlstring(L, text, n);
  lua_remove(L, -2);
}

/* Of a very long traceback on top, from inside what is inside of this, keeps the
 * beginning and the end: every level of a deep chain of tasks adds to it. [-1, +1, m] */
static void shorten(lua_State *L) {
  size_t n;
  const char *text = lua_tolstring(L, -1, &n);
  if (n <= INNER_MAX) return;
  const char *head = text + INNER_HEAD, *tail = text + n - INNER_TAIL;
  while (head > text && *head != '\n')
    head--;
  while (*tail != '\0' && *tail != '\n')
    tail++;
  lua_pushlstring(L, text, (size_t)(head - text));
  lua_pushfstring(L, "%s\n\t...%s", lua_tostring(L, -1), tail);
  lua_replace(L, -3);
  lua_pop(L, 1);
}

/* Pushes the line that ends a task's frames. [-0, +1, m] */
static void push_task_line(lua_State *L, neap_task *task) {
  neap__push_name(L, task);
  if (task->site != NULL) {
    lua_pushfstring(L, "\n  in task '%s', created at %s:%d",
                    lua_tostring(L, -1), task->site->source, task->site->line);
  } else {
    lua_pushfstring(L, "\n  in task '%s'", lua_tostring(L, -1));
  }
  lua_remove(L, -2);
}

static bool is_task(const neap_runtime *rt, const neap_task *task) {
  return task != NULL && task != &rt->root;
}

/* Pushes the noted traceback if it belongs to the error at `index`, and forgets it. */
static bool push_noted(lua_State *L, enum neap__reg reg, int index) {
  index = lua_absindex(L, index);
  neap__reg_get(L, reg);
  lua_rawgeti(L, -1, 1);
  bool same = !lua_isnil(L, -1) && lua_rawequal(L, -1, index);
  lua_pop(L, 1);
  if (!same) {
    lua_pop(L, 1);
    return false;
  }
  lua_rawgeti(L, -1, 2);
  for (int i = 1; i <= 2; i++) {
    lua_pushnil(L);
    lua_rawseti(L, -3, i);
  }
  lua_remove(L, -2);
  return true;
}

/* Error, text on top: notes them. [-2, +0, m] */
static void note(lua_State *L, enum neap__reg reg) {
  neap__reg_get(L, reg);
  lua_insert(L, -3);
  lua_rawseti(L, -3, 2);
  lua_rawseti(L, -2, 1);
  lua_pop(L, 1);
}

void neap__note_inner(lua_State *L, neap_runtime *rt) {
  luaL_checkstack(L, 4, NULL);
  lua_pushvalue(L, -1);
  lua_rotate(L, -3, -1); /* error, error, text */
  note(L, NEAP__R_INNER);
  rt->kept = NULL;
}

void neap__forget_inner(lua_State *L, neap_runtime *rt) {
  (void)rt;
  if (!lua_checkstack(L, 3)) return;
  neap__reg_get(L, NEAP__R_INNER);
  for (int i = 1; i <= 2; i++) {
    lua_pushnil(L);
    lua_rawseti(L, -2, i);
  }
  lua_pop(L, 1);
}

void neap__take_traceback(lua_State *L, neap_runtime *rt) {
  (void)rt;
  if (!push_noted(L, NEAP__R_TRACE, -1)) lua_pushnil(L);
}

/* A task that was cancelled ends like that by the thousand; nobody asks where. */
static bool nobody_asks(lua_State *L, const neap_runtime *rt) {
  return is_task(rt, rt->current) && neap__error_is(L, 1, NEAP__CANCELLEDERROR);
}

/* Whether the frames of `co` were kept, all of them. */
static bool is_kept(lua_State *L, const neap_runtime *rt, const lua_State *co) {
  if (rt->kept != co) return false;
  neap__reg_get(L, NEAP__R_INNER);
  lua_rawgeti(L, -1, 1);
  bool same = lua_rawequal(L, -1, 1);
  lua_pop(L, 2);
  return same;
}

void neap__keep_traceback(lua_State *L, neap_runtime *rt) {
  if (!lua_checkstack(L, 12) || nobody_asks(L, rt) || is_kept(L, rt, L)) return;
  int top = lua_gettop(L);
  if (push_noted(L, NEAP__R_INNER, 1)) trim(L, false);
  luaL_traceback(L, L, NULL, 1);
  trim(L, false);
  lua_concat(L, lua_gettop(L) - top);
  lua_pushvalue(L, 1);
  neap__note_inner(L, rt);
  lua_settop(L, top);
  rt->kept = L;
}

int neap__on_error(lua_State *L) {
  neap_runtime *rt = neap_of(L);
  if (rt == NULL || !lua_checkstack(L, 20)) return 1;
  lua_settop(L, 1);
  neap_task *task = rt->current;
  if (lua_isnil(L, 1)) {
    if (task == &rt->root) return 1; /* the caller of the chunk gets its nil */
    lua_pushliteral(L, "error(nil)");
    neap__error_new(L, NEAP__ERROR);
    lua_replace(L, 1);
  }
  if (nobody_asks(L, rt)) return 1;
  bool whole = is_kept(L, rt, L);
  if (push_noted(L, NEAP__R_INNER, 1)) {
    trim(L, whole && is_task(rt, task));
    shorten(L);
  }
  if (!whole) {
    luaL_traceback(L, L, NULL, 1);
    trim(L, is_task(rt, task));
  }
  lua_pushliteral(L, HEADER);
  lua_insert(L, 2);
  if (is_task(rt, task)) push_task_line(L, task);
  lua_concat(L, lua_gettop(L) - 1);
  if (neap__error_test(L, 1)) {
    lua_pushliteral(L, "traceback");
    lua_rawget(L, 1);
    bool missing = lua_isnil(L, -1);
    lua_pop(L, 1);
    if (missing) {
      lua_pushliteral(L, "traceback");
      lua_pushvalue(L, -2);
      lua_rawset(L, 1);
    }
  }
  lua_pushvalue(L, 1);
  lua_insert(L, -2);
  note(L, NEAP__R_TRACE);
  return 1;
}

void neap__push_dead_stack(lua_State *L, lua_State *co) {
  luaL_checkstack(L, 8, NULL);
  neap_runtime *rt = neap_of(L);
  int top = lua_gettop(L);
  if (push_noted(L, NEAP__R_INNER, -1)) trim(L, false);
  if (lua_gettop(L) == top || rt->kept != co) {
    luaL_traceback(L, co, NULL, 0);
    trim(L, false);
  }
  lua_pushliteral(L, "\n  in a coroutine, resumed at");
  lua_concat(L, lua_gettop(L) - top);
}

void neap__push_frames(lua_State *L, lua_State *co, bool of_task, int skip) {
  lua_State *chain[64];
  int n = 0;
  for (; co != NULL && n < 64; co = neap__inner_coroutine(co))
    chain[n++] = co;
  luaL_checkstack(L, 2 * n + 8, NULL);
  int base = lua_gettop(L);
  for (int i = n - 1; i >= 0; i--) {
    luaL_traceback(L, chain[i], NULL, chain[i] == L ? skip : 0);
    trim(L, of_task && i == 0);
    if (i > 0) lua_pushliteral(L, "\n  in a coroutine, resumed at");
  }
  lua_concat(L, lua_gettop(L) - base);
}

void neap__push_stack(lua_State *L, neap_task *task) {
  luaL_checkstack(L, 4, NULL);
  lua_pushliteral(L, HEADER);
  neap__push_frames(L, task->co, true, 1);
  push_task_line(L, task);
  lua_concat(L, 3);
}
