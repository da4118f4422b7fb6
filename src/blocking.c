/* SPDX-License-Identifier: MIT
 *
 * blocking.c - debug mode: tells where a task or a callback calls a function of Lua's own
 * library that waits for the world, and so holds everybody.
 *
 * The functions are wrapped when debug mode is turned on for the first time; without it
 * nothing is touched. A wrapper runs Lua's own C function in its own frame, so that
 * nothing changes for its messages and tracebacks. Each place is told once.
 */
#include "internal.h"

#include <lualib.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where the file is that a function reads from. */
enum source { NONE, INPUT, LINES, SELF };

static const struct function {
  const char *library; /* NULL: a method of files */
  const char *name, *shown;
  enum source source;
  const char *instead;
} functions[] = {
    {"os", "execute", "os.execute", NONE, "neap.process.run"},
    {"io", "popen", "io.popen", NONE, "neap.process.run or neap.process.spawn"},
    {"io", "read", "io.read", INPUT, NULL},
    {"io", "lines", "io.lines", LINES, NULL},
    {NULL, "read", "file:read", SELF, NULL},
    {NULL, "lines", "file:lines", SELF, NULL},
};

#define COUNT (int)(sizeof functions / sizeof *functions)

/* Files of a disk answer soon; terminals, pipes and sockets when it pleases them. What
 * there is instead of reading from such a file, or NULL. [-0, +0, -] */
static const char *instead_of_reading(lua_State *L, enum source source) {
  struct stat info;
  if (source == LINES && !lua_isnoneornil(L, 1)) return NULL;
  if (source != SELF) {
    lua_getfield(L, LUA_REGISTRYINDEX, "_IO_input"); /* as liolib.c has it */
  } else {
    lua_pushvalue(L, 1);
  }
  const luaL_Stream *file = luaL_testudata(L, -1, LUA_FILEHANDLE);
  lua_pop(L, 1);
  if (file == NULL || file->closef == NULL || file->f == NULL) return NULL;
  int fd = fileno(file->f);
  if (fd < 0 || fstat(fd, &info) < 0) return NULL;
  if (!S_ISFIFO(info.st_mode) && !S_ISSOCK(info.st_mode) && !isatty(fd))
    return NULL;
  return fd == 0 ? "neap.tty.stdin" : "a stream of neap.process or neap.net";
}

static const char *instead(lua_State *L, const struct function *f) {
  if (f->source != NONE) return instead_of_reading(L, f->source);
  return lua_isnoneornil(L, 1) ? NULL : f->instead;
}

/* Whether it is the first time at this place; the table is upvalue 3. [-0, +0, m] */
static bool is_new(lua_State *L, const neap__site *site) {
  void *key = (void *)(uintptr_t)site;
  bool seen = lua_rawgetp(L, lua_upvalueindex(3), key) != LUA_TNIL;
  lua_pop(L, 1);
  if (seen) return false;
  lua_pushboolean(L, 1);
  lua_rawsetp(L, lua_upvalueindex(3), key);
  return true;
}

static void warn(lua_State *L, neap_runtime *rt, const struct function *f,
                 const char *other) {
  luaL_checkstack(L, 8, NULL);
  const neap__site *site = neap__site_at(L, rt, 0);
  if (!is_new(L, site)) return;
  int top = lua_gettop(L);
  if (site != NULL) {
    lua_pushfstring(L, " at %s:%d", site->source, site->line);
  } else {
    lua_pushliteral(L, "");
  }
  if (rt->current != NULL) {
    neap__push_label(L, rt->current);
  } else {
    lua_pushliteral(L, "a callback");
  }
  lua_pushfstring(L,
                  "neap: warning: %s may hold the event loop%s in %s: use %s "
                  "instead\n",
                  f->shown, lua_tostring(L, top + 1), lua_tostring(L, top + 2),
                  other);
  size_t size;
  const char *text = lua_tolstring(L, -1, &size);
  neap__log_text(rt, text, size);
  lua_settop(L, top);
}

/* Whether others have to wait: not for the main chunk, which may do what it likes. */
static bool matters(const neap_runtime *rt) {
  if (rt == NULL || rt->shut || rt->running == NULL || !rt->running->debug)
    return false;
  if (rt->current == NULL) return rt->callback != 0;
  return rt->current != &rt->root;
}

/* upvalues: Lua's own function, the index of its entry, the places that are known. */
static int l_wrapper(lua_State *L) {
  neap_runtime *rt = neap_of(L);
  if (matters(rt)) {
    const struct function *f =
        &functions[lua_tointeger(L, lua_upvalueindex(2))];
    const char *other = instead(L, f);
    if (other != NULL) warn(L, rt, f, other);
  }
  return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

/* In the table on top, where the function is Lua's own. [-0, +0, m] */
static void wrap(lua_State *L, int index) {
  lua_getfield(L, -1, functions[index].name);
  lua_CFunction own = lua_tocfunction(L, -1);
  if (own == NULL || own == l_wrapper) {
    lua_pop(L, 1);
    return;
  }
  if (lua_getupvalue(L, -1, 1) != NULL) { /* somebody else's */
    lua_pop(L, 2);
    return;
  }
  lua_pushinteger(L, index);
  lua_newtable(L);
  lua_pushcclosure(L, l_wrapper, 3);
  lua_setfield(L, -2, functions[index].name);
}

void neap__blocking_watch(lua_State *L) {
  int top = lua_gettop(L);
  luaL_checkstack(L, 8, NULL);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  for (int i = 0; i < COUNT; i++) {
    if (functions[i].library != NULL) {
      lua_getfield(L, top + 1, functions[i].library);
    } else {
      luaL_getmetatable(L, LUA_FILEHANDLE);
      if (lua_istable(L, -1)) lua_getfield(L, -1, "__index");
    }
    if (lua_istable(L, -1)) wrap(L, i);
    lua_settop(L, top + 1);
  }
  lua_settop(L, top);
}
