/* SPDX-License-Identifier: MIT
 *
 * threados.c - what is different in the Lua state of a thread: os.exit ends the program,
 * and os.execute leaves the signals of the program alone.
 */
#include "job.h"
#include "thread.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

/* ---- os.exit: the program's, so it is done where the thread was started ---------- */

typedef struct exit_mail {
  neap__mail mail;
  int code;
  bool close;
} exit_mail;

static void free_exit(neap__mail *mail) {
  neap__share_alloc(neap__container_of(mail, exit_mail, mail), 0);
}

/* exit_mail (light userdata): os.exit is the loop's next callback. */
static int l_plan_exit(lua_State *L) {
  const exit_mail *m = lua_touserdata(L, 1);
  neap_runtime *rt = neap_of(L);
  lua_getglobal(L, "os");
  lua_getfield(L, -1, "exit");
  lua_pushinteger(L, m->code);
  lua_pushboolean(L, m->close);
  neap__handle *handle = neap__handle_new(L, rt, rt->running, 2);
  handle->slot = neap__anchor(L, rt);
  neap__ready(rt->running, &handle->item);
  return 0;
}

static void deliver_exit(neap__mail *mail, neap__loop *loop, lua_State *L) {
  (void)loop;
  if (lua_checkstack(L, 2)) {
    lua_pushcfunction(L, l_plan_exit);
    lua_pushlightuserdata(L, neap__container_of(mail, exit_mail, mail));
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) lua_pop(L, 1);
  }
  free_exit(mail);
}

/* os.exit([code [, close]]), in a thread. */
static int l_exit(lua_State *L) {
  int code = lua_isboolean(L, 1)
                 ? (lua_toboolean(L, 1) ? EXIT_SUCCESS : EXIT_FAILURE)
                 : (int)luaL_optinteger(L, 1, EXIT_SUCCESS);
  neap_runtime *rt = neap_of(L);
  exit_mail *m = neap__share_alloc(NULL, sizeof *m);
  if (m == NULL) return luaL_error(L, "not enough memory");
  *m = (exit_mail){.mail = {NULL, deliver_exit, free_exit},
                   .code = code,
                   .close = lua_toboolean(L, 2)};
  neap__post(rt->self->home, &m->mail);
  int results = neap_exit(L); /* ends this thread */
  return results == UV_EINVAL ? 0 : results;
}

/* ---- os.execute ------------------------------------------------------------------ */

/* os.execute([command]), as Lua's. But that has the whole process ignore SIGINT meanwhile,
 * and Ctrl-C is not to be lost because some thread waits for a program. */
static int l_execute(lua_State *L) {
  extern char **environ; /* NOLINT */
  const char *command = luaL_optstring(L, 1, NULL);
  const char *argv[] = {"sh", "-c", command, NULL};
  int status = 0;
  pid_t pid;
  if (command == NULL) {
    lua_pushboolean(L, system(NULL));
    return 1;
  }
  errno =
      posix_spawn(&pid, "/bin/sh", NULL, NULL, (char **)(void *)argv, environ);
  if (errno != 0) return luaL_execresult(L, -1);
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return luaL_execresult(L, -1);
  errno = 0;
  return luaL_execresult(L, status);
}

int neap__l_thread_set_up(lua_State *L) {
  lua_gc(L, LUA_GCGEN, 0, 0); /* as in lua */
  if (lua_getglobal(L, "os") == LUA_TTABLE) {
    lua_pushcfunction(L, l_exit);
    lua_setfield(L, -2, "exit");
    lua_pushcfunction(L, l_execute);
    lua_setfield(L, -2, "execute");
  }
  return 0;
}
