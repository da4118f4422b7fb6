/* SPDX-License-Identifier: MIT
 *
 * rawfd.c - bare descriptors, for tests: what a library in C would have of its own. All
 * are non-blocking unless said. Part of the module "neap.core.test".
 */
#include "internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static int refuse(lua_State *L) {
  return neap_refuse(L, uv_translate_sys_error(errno), NULL);
}

static int check_fd(lua_State *L) {
  return (int)luaL_checkinteger(L, 1);
}

/* pipe(blocking) -> the end to read from, the end to write to. */
static int l_pipe(lua_State *L) {
  int fds[2];
  int flags = lua_toboolean(L, 1) ? 0 : O_NONBLOCK;
  if (pipe2(fds, O_CLOEXEC | flags) < 0) return refuse(L);
  lua_pushinteger(L, fds[0]);
  lua_pushinteger(L, fds[1]);
  return 2;
}

/* socketpair() -> two connected stream sockets. */
static int l_socketpair(lua_State *L) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) <
      0)
    return refuse(L);
  lua_pushinteger(L, fds[0]);
  lua_pushinteger(L, fds[1]);
  return 2;
}

/* fd_open(path) -> a descriptor to read from. */
static int l_fd_open(lua_State *L) {
  int fd = open(luaL_checkstring(L, 1), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return refuse(L);
  lua_pushinteger(L, fd);
  return 1;
}

/* fd_close(fd) */
static int l_fd_close(lua_State *L) {
  if (close(check_fd(L)) < 0) return refuse(L);
  lua_pushboolean(L, 1);
  return 1;
}

/* fd_dup(fd, to) -> to, or a new one: the same file. */
static int l_fd_dup(lua_State *L) {
  int fd = lua_isnoneornil(L, 2)
               ? fcntl(check_fd(L), F_DUPFD_CLOEXEC, 0)
               : dup2(check_fd(L), (int)luaL_checkinteger(L, 2));
  if (fd < 0) return refuse(L);
  lua_pushinteger(L, fd);
  return 1;
}

/* fd_read(fd, n) -> at most n (4096) bytes, "" at the end. */
static int l_fd_read(lua_State *L) {
  luaL_Buffer b;
  lua_Integer max = luaL_optinteger(L, 2, 4096);
  luaL_argcheck(L, max > 0 && max <= INT32_MAX, 2, "positive number expected");
  char *space = luaL_buffinitsize(L, &b, (size_t)max);
  ssize_t n = read(check_fd(L), space, (size_t)max);
  if (n < 0) return refuse(L);
  luaL_pushresultsize(&b, (size_t)n);
  return 1;
}

/* fd_write(fd, data) -> how many bytes were taken. */
static int l_fd_write(lua_State *L) {
  size_t len;
  const char *data = luaL_checklstring(L, 2, &len);
  int fd = check_fd(L);
  ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
  if (n < 0 && errno == ENOTSOCK) n = write(fd, data, len);
  if (n < 0) return refuse(L);
  lua_pushinteger(L, n);
  return 1;
}

/* fd_blocking(fd) -> whether it blocks. */
static int l_fd_blocking(lua_State *L) {
  int flags = fcntl(check_fd(L), F_GETFL);
  if (flags < 0) return refuse(L);
  lua_pushboolean(L, !(flags & O_NONBLOCK));
  return 1;
}

/* fd_count() -> how many descriptors the process has. */
static int l_fd_count(lua_State *L) {
  DIR *dir = opendir("/proc/self/fd");
  lua_Integer n = -1; /* that of the folder */
  if (dir == NULL) return refuse(L);
  for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
    n += e->d_name[0] != '.';
  closedir(dir);
  lua_pushinteger(L, n);
  return 1;
}

void neap__rawfd_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg functions[] = {
      {"pipe", l_pipe},         {"socketpair", l_socketpair},
      {"fd_open", l_fd_open},   {"fd_close", l_fd_close},
      {"fd_dup", l_fd_dup},     {"fd_read", l_fd_read},
      {"fd_write", l_fd_write}, {"fd_blocking", l_fd_blocking},
      {"fd_count", l_fd_count}, {NULL, NULL},
  };
  neap__set_funcs(L, rt, functions);
}
