/* SPDX-License-Identifier: MIT
 *
 * child.c - starting a child process: its arguments, its descriptors.
 *
 * Pipes are pipes, not sockets: programs open /dev/stdin and /dev/stderr. A child has no
 * descriptor of ours but those that it is given: before the fork all others are marked.
 */
#include "process.h"

#include "file.h"
#include "stream.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SESSION 1 /* flags of spawn */
#define DETACHED 2

/* Arguments of spawn. */
enum { ARGV = 1, ENV, CWD, FLAGS, STDIN, STDOUT, STDERR, GRACE };

/* What becomes of one of its three descriptors. */
typedef struct end {
  neap__io **box; /* of our stream, where it is a pipe */
  int child;      /* the child's end of the pipe, to be closed here, or -1 */
} end;

/* ---- descriptors ------------------------------------------------------------------- */

static void seal(int fd) {
  int flags = fcntl(fd, F_GETFD);
  if (flags >= 0 && !(flags & FD_CLOEXEC))
    fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
}

/* Files that io.open opened, and what other libraries did. */
static void seal_all(void) {
#ifdef SYS_close_range
  if (syscall(SYS_close_range, 3U, ~0U, 1U << 2 /* CLOSE_RANGE_CLOEXEC */) == 0)
    return;
#endif
  DIR *dir = opendir("/dev/fd");
  if (dir == NULL) {
    for (int fd = 3; fd < 1024; fd++)
      seal(fd);
    return;
  }
  for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
    int fd = atoi(entry->d_name);
    if (fd > 2) seal(fd);
  }
  closedir(dir);
}

/* A pipe, one end of which is the stream's. 0 or a UV_E* code. */
static int open_pipe(neap__loop *loop, end *e, bool reads) {
  uv_file fds[2];
  int status;
  if (e->box == NULL) return UV_EINVAL;
  neap__stream *s = neap__stream_new(loop, NEAP__PIPE, 0, &status);
  if (s == NULL) return status;
  neap__io_own(e->box, &s->io);
  status =
      uv_pipe(fds, reads ? UV_NONBLOCK_PIPE : 0, reads ? 0 : UV_NONBLOCK_PIPE);
  if (status < 0) return status;
  status = uv_pipe_open(&s->uv.pipe, fds[reads ? 0 : 1]);
  e->child = fds[reads ? 1 : 0];
  if (status < 0) {
    close(fds[reads ? 0 : 1]);
  } else {
    neap__stream_opened(s, reads, !reads);
  }
  return status;
}

/* Argument STDIN + i: a descriptor, "pipe", "null", or "stdout". */
static int set_up(lua_State *L, neap__loop *loop, end *e, int i,
                  uv_stdio_container_t *stdio) {
  int status = 0;
  stdio[i].flags = UV_INHERIT_FD;
  if (lua_isinteger(L, STDIN + i)) {
    stdio[i].data.fd = (int)lua_tointeger(L, STDIN + i);
    if (stdio[i].data.fd > 2 && fcntl(stdio[i].data.fd, F_GETFD) < 0)
      return UV_EBADF;
    return 0;
  }
  switch (*lua_tostring(L, STDIN + i)) {
  case 'p':
    status = open_pipe(loop, e, i > 0);
    stdio[i].data.fd = e->child;
    break;
  case 's':
    stdio[i] = stdio[1];
    break;
  default:
    stdio[i].flags = UV_IGNORE;
  }
  return status;
}

/* ---- spawn ---------------------------------------------------------------------------- */

/* Pushes the strings of the list at `index` as an array that ends with NULL; the list
 * keeps them. [-0, +1, m] */
static char **push_strings(lua_State *L, int index) {
  size_t n = lua_rawlen(L, index);
  char **list = lua_newuserdatauv(L, (n + 1) * sizeof *list, 0);
  for (size_t i = 0; i < n; i++) {
    lua_rawgeti(L, index, (lua_Integer)i + 1);
    list[i] = (char *)(uintptr_t)lua_tostring(L, -1);
    lua_pop(L, 1);
  }
  list[n] = NULL;
  return list;
}

/* nil, and an OSError that says which file is not as it should be. */
static int refuse(lua_State *L, int status, const char *file, const char *cwd) {
  struct stat info;
  bool known =
      status == UV_ENOENT || status == UV_EACCES || status == UV_ENOTDIR;
  if (known && cwd != NULL) {
    if (stat(cwd, &info) < 0 || !S_ISDIR(info.st_mode) || access(cwd, X_OK) < 0)
      file = cwd;
  }
  int n = neap_refuse(L, status, "spawn");
  if (!known) return n;
  lua_getfield(L, -1, "message");
  lua_pushfstring(L, "%s: '%s'", lua_tostring(L, -1), file);
  lua_setfield(L, -3, "message");
  lua_pop(L, 1);
  lua_pushstring(L, file);
  lua_setfield(L, -2, "path");
  return n;
}

/* What libuv is told. Starts it. 0 or a UV_E* code. Raises nothing. */
static int start(lua_State *L, neap__loop *loop, neap__process *p,
                 uv_process_options_t *options, end *ends) {
  uv_stdio_container_t stdio[3];
  int status = 0;
  for (int i = 0; i < 3 && status >= 0; i++)
    status = set_up(L, loop, &ends[i], i, stdio);
  if (status >= 0) {
    options->stdio = stdio;
    options->stdio_count = 3;
    options->exit_cb = neap__process_on_exit;
    seal_all();
    status = uv_spawn(loop->uv, &p->uv, options);
    neap__io_open(&p->io, loop, (uv_handle_t *)&p->uv);
  }
  for (int i = 0; i < 3; i++) {
    if (ends[i].child >= 0) close(ends[i].child);
    if (status < 0 && ends[i].box != NULL && *ends[i].box != NULL)
      neap__io_close(*ends[i].box);
  }
  return status;
}

int neap__l_process_spawn(lua_State *L) {
  static const char *const names[] = {"stdin", "stdout", "stderr"};
  neap_runtime *rt = neap__rt(L);
  neap__loop *loop = neap__the_loop(L, rt);
  uv_process_options_t options = {0};
  end ends[3];
  int flags = (int)luaL_checkinteger(L, FLAGS);
  lua_settop(L, GRACE);
  luaL_checkstack(L, 12, NULL);
  options.args = push_strings(L, ARGV);
  options.file = options.args[0];
  options.cwd = lua_tostring(L, CWD);
  options.env = lua_istable(L, ENV) ? push_strings(L, ENV) : NULL;
  if (flags & (SESSION | DETACHED)) options.flags = UV_PROCESS_DETACHED;
  neap__io **box = neap__io_box(L, rt, NEAP__K_PROCESS);
  int object = lua_gettop(L);
  lua_createtable(L, 0, 4);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, object, 1);
  for (int i = 0; i < 3; i++) {
    ends[i] = (end){NULL, -1};
    if (lua_isinteger(L, STDIN + i)) continue;
    if (*lua_tostring(L, STDIN + i) != 'p') continue;
    ends[i].box = neap__io_box(L, rt, NEAP__K_STREAM);
    lua_setfield(L, object + 1, names[i]);
  }
  lua_pushinteger(L, 0);
  lua_setfield(L, object + 1, "pid"); /* so that it can be set later on */
  neap__strays_reap(rt);
  neap__process *p = neap__io_new(rt, NEAP__K_PROCESS, sizeof *p);
  if (p == NULL) return luaL_error(L, "not enough memory");
  p->io.loop = loop;
  p->io.closing = neap__process_closing;
  p->exited = true; /* so far there is nothing to wait for */
  neap__io_own(box, &p->io);
  int status = start(L, loop, p, &options, ends);
  if (status < 0) {
    *box = NULL;
    neap__io_disown(&p->io);
    return refuse(L, status, options.file, options.cwd);
  }
  p->exited = false;
  p->pid = uv_process_get_pid(&p->uv);
  p->grace = lua_tonumber(L, GRACE);
  p->group = (flags & SESSION) != 0;
  p->detached = (flags & DETACHED) != 0;
  lua_pushinteger(L, p->pid);
  lua_setfield(L, object + 1, "pid");
  lua_settop(L, object);
  return 1;
}

/* ---- what can be given to a child --------------------------------------------------------- */

static int cannot(lua_State *L, const char *why) {
  lua_pushnil(L);
  lua_pushstring(L, why);
  return 2;
}

static int give(lua_State *L, int fd, bool taken) {
  lua_pushinteger(L, fd);
  lua_pushboolean(L, taken);
  return 2;
}

int neap__l_process_descriptor(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  luaL_Stream *file = luaL_testudata(L, 1, LUA_FILEHANDLE);
  uv_os_fd_t fd;
  if (file != NULL) {
    if (file->closef == NULL) return cannot(L, "the file is closed");
    fflush(file->f);
    return give(L, fileno(file->f), false);
  }
  if (rt->mt[NEAP__K_FILE] != NULL && neap__test(L, rt, 1, NEAP__K_FILE)) {
    neap__file *f = neap__file_at(L, 1);
    const char *why = "the file is closed";
    int lent = f == NULL ? -1 : neap__file_lend(f, &why);
    return lent < 0 ? cannot(L, why) : give(L, lent, false);
  }
  if (neap__test(L, rt, 1, NEAP__K_STREAM) == NULL) return 0;
  const neap__stream *s = neap__stream_check(L, rt, 1, NULL);
  if (s == NULL || s->closed || !s->io.open ||
      uv_fileno(&s->uv.handle, &fd) < 0)
    return cannot(L, "the stream is closed");
  if (s->filter != NULL) return cannot(L, "the stream is not a plain one");
  if (s->reading || s->in.len > 0 || s->in.eof || s->reader != NULL ||
      s->piped != NULL)
    return cannot(L, "the stream has been read from");
  if (neap__stream_pending(s) > 0)
    return cannot(L, "the stream has bytes that were not sent");
  return give(L, fd, s->type != NEAP__TTY);
}

int neap__l_process_environment(lua_State *L) {
  lua_newtable(L);
  for (lua_Integer i = 1; environ != NULL && environ[i - 1] != NULL; i++) {
    lua_pushstring(L, environ[i - 1]);
    lua_rawseti(L, -2, i);
  }
  return 1;
}
