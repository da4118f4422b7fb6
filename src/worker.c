/* SPDX-License-Identifier: MIT
 *
 * worker.c - what process pools need of the system. The module "neap.core.worker".
 *
 * A worker process is given a socket as its standard input. It moves it out of the way,
 * so that the jobs that it runs cannot read from it.
 */
#include "stream.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/prctl.h>
#endif

/* What is descriptor 0 gets another number, /dev/null its place. A UV_E* code or the
 * descriptor. */
static int move_stdin(void) {
  int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null < 0) return uv_translate_sys_error(errno);
  int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
  if (fd >= 0 && dup2(null, STDIN_FILENO) < 0) {
    close(fd);
    fd = -1;
  }
  int status = fd < 0 ? uv_translate_sys_error(errno) : fd;
  if (null != STDIN_FILENO) close(null);
  return status;
}

/* channel() -> a stream to the process that started this one, which was its standard
 * input; or nil, err. From now on SIGTERM comes when that one has died. */
static int l_channel(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  int status;
  neap__stream_open(L, rt);
  neap__loop *loop = neap__the_loop(L, rt);
  neap__io **box = neap__io_box(L, rt, NEAP__K_STREAM);
  neap__stream *s = neap__stream_new(loop, NEAP__PIPE, 0, &status);
  if (s == NULL) return neap_refuse(L, status, "open");
  neap__io_own(box, &s->io);
  int fd = move_stdin();
  if (fd < 0) return neap_refuse(L, fd, "open");
  status = uv_pipe_open(&s->uv.pipe, fd);
  if (status < 0) {
    close(fd);
    return neap_refuse(L, status, "open");
  }
  neap__stream_opened(s, true, true);
#ifdef __linux__
  /* The end of the socket tells it as well, but only to who is not busy. */
  prctl(PR_SET_PDEATHSIG, SIGTERM);
#endif
  return 1;
}

/* processors() -> how many this process may use. */
static int l_processors(lua_State *L) {
#if UV_VERSION_HEX >= 0x012C00
  lua_pushinteger(L, (lua_Integer)uv_available_parallelism());
#else
  long n = sysconf(_SC_NPROCESSORS_ONLN);
  lua_pushinteger(L, n < 1 ? 1 : (lua_Integer)n);
#endif
  return 1;
}

/* program() -> the path of the running program, whether it is neap's host; or nil. */
static int l_program(lua_State *L) {
  char path[PATH_MAX];
  size_t size = sizeof path;
  if (uv_exepath(path, &size) < 0) return 0;
  lua_pushlstring(L, path, size);
  lua_pushboolean(L, dlsym(RTLD_DEFAULT, "neap_host_program") != NULL);
  return 2;
}

/* pid() -> the number of this process. */
static int l_pid(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)uv_os_getpid());
  return 1;
}

/* check_wait(name): raises unless the caller may wait. */
static int l_check_wait(lua_State *L) {
  neap__check_park(neap__rt(L), L, luaL_checkstring(L, 1));
  return 0;
}

int neap__open_worker(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"channel", l_channel},       {"processors", l_processors},
      {"program", l_program},       {"pid", l_pid},
      {"check_wait", l_check_wait}, {NULL, NULL},
  };
  lua_createtable(L, 0, 5);
  neap__set_funcs(L, neap_of(L), functions);
  return 1;
}
