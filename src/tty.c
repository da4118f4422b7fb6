/* SPDX-License-Identifier: MIT
 *
 * tty.c - the standard streams, and terminals. The module "neap.core.tty".
 *
 * The descriptors 0, 1 and 2 belong to the whole process, and what is open there is
 * shared with others: the shell, the other end of a pipeline. Whether reads and writes
 * block is a property of what is open, so a stream gets an open file of its own
 * where the system lets us open the same thing again (terminals; on Linux pipes too).
 * Elsewhere, as with sockets, it is borrowed: closing puts O_NONBLOCK back as it was.
 * Lua's print and io work on beside it.
 */
#include "tty.h"

#include "file.h"
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <lualib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

/* ---- descriptors ------------------------------------------------------------------- */

int neap__tty_dup(int fd) {
  return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* The other side of a pseudo-terminal: opened again it would be a new one. */
static bool is_master(int fd) {
#ifdef TIOCGPTN
  unsigned number;
  return ioctl(fd, TIOCGPTN, &number) == 0;
#else
  return ptsname(fd) != NULL;
#endif
}

/* Whether it can be opened once more, by this path. A named pipe opened for reading
 * after its writer has gone would wait for the next one, and not tell the end. */
static bool has_path(const char *path, int fd, uv_handle_type type) {
  char name[8];
  if (type == UV_TTY) return !is_master(fd);
  return type == UV_NAMED_PIPE && readlink(path, name, sizeof name) >= 5 &&
         memcmp(name, "pipe:", 5) == 0;
}

/* Opens the same thing again; -1: it cannot be. */
static int open_again(int fd, int flags, uv_handle_type type) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  if (!has_path(path, fd, type)) return -1;
  int got = open(path, (flags & O_ACCMODE) | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  if (got >= 0 && got < 3) { /* the program has closed one of these */
    int higher = neap__tty_dup(got);
    close(got);
    got = higher;
  }
  return got;
}

int neap__tty_fd(lua_State *L, int arg) {
  neap_runtime *rt = neap__rt(L);
  if (lua_isnoneornil(L, arg)) {
    for (int fd = 0; fd < 3; fd++)
      if (isatty(fd)) return fd;
    return -1;
  }
  if (lua_isinteger(L, arg)) {
    lua_Integer n = lua_tointeger(L, arg);
    luaL_argcheck(L, n >= 0 && n <= INT32_MAX, arg, "descriptor expected");
    return (int)n;
  }
  const luaL_Stream *file = luaL_testudata(L, arg, LUA_FILEHANDLE);
  if (file != NULL) {
    luaL_argcheck(L, file->closef != NULL, arg, "closed file");
    return fileno(file->f);
  }
  if (rt->mt[NEAP__K_FILE] != NULL && neap__test(L, rt, arg, NEAP__K_FILE))
    return neap__file_check(L, arg)->fd;
  if (rt->mt[NEAP__K_STREAM] == NULL ||
      neap__test(L, rt, arg, NEAP__K_STREAM) == NULL)
    luaL_typeerror(L, arg, "stream, file or descriptor");
  uv_os_fd_t fd = -1;
  uv_fileno(&neap__stream_check(L, rt, arg, "neap.tty")->uv.handle, &fd);
  return fd;
}

/* ---- streams ----------------------------------------------------------------------- */

static void set_blocking(int fd, bool blocking) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return;
  fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

void neap__tty_closing(neap__stream *s) {
  uv_os_fd_t fd;
  s->left = s->io.loop->closed && !s->closed;
  if (s->out_len > 0 && s->queued == 0 && s->error == 0) {
    uv_buf_t buf = {.base = s->out, .len = s->out_len};
    uv_try_write(&s->uv.stream, &buf, 1); /* what can still leave */
  }
  if (s->borrowed && uv_fileno(&s->uv.handle, &fd) == 0) set_blocking(fd, true);
}

/* Gives libuv the descriptor; what it does not keep is closed. */
static int attach(neap__stream *s, int fd, uv_handle_type type) {
  if (type == UV_TCP) return uv_tcp_open(&s->uv.tcp, fd);
  return uv_pipe_open(&s->uv.pipe, fd);
}

static neap__stream *make(neap__loop *loop, int fd, uv_handle_type type,
                          int *status) {
  int flags = fcntl(fd, F_GETFL);
  int own = open_again(fd, flags, type);
  bool again = own >= 0;
  if (!again) own = neap__tty_dup(fd);
  *status = uv_translate_sys_error(errno);
  if (own < 0) return NULL;
  neap__stream *s;
  if (type == UV_TTY) {
    s = neap__stream_new(loop, NEAP__TTY, own, status);
    /* libuv opens a terminal again itself where it can. */
    uv_os_fd_t kept = -1;
    if (s == NULL || uv_fileno(&s->uv.handle, &kept) < 0 || kept != own)
      close(own);
    if (s != NULL && kept == own && again)
      set_blocking(own, true); /* libuv could not: it writes at once */
    again = again || (s != NULL && kept != own);
  } else {
    s = neap__stream_new(loop, type == UV_TCP ? NEAP__TCP : NEAP__PIPE, -1,
                         status);
    if (s != NULL && (*status = attach(s, own, type)) < 0) {
      neap__io_disown(&s->io);
      s = NULL;
    }
    if (s == NULL) close(own);
  }
  if (s == NULL) return NULL;
  s->standard = true;
  s->borrowed = !again && !(flags & O_NONBLOCK);
  neap__stream_opened(s, (flags & O_ACCMODE) != O_WRONLY,
                      (flags & O_ACCMODE) != O_RDONLY);
  return s;
}

/* What was read ahead by a stream of the same descriptor on another loop. */
static void take_over(neap__stream *s, neap__stream *old) {
  if (old->reader != NULL || old->piped != NULL || (old->closed && !old->left))
    return;
  s->in = old->in;
  neap__reader_init(&old->in, s->in.rt);
}

static int open_stream(lua_State *L, int fd, uv_handle_type type) {
  neap_runtime *rt = neap__rt(L);
  int status;
  neap__stream_open(L, rt);
  neap__loop *loop = neap__the_loop(L, rt);
  neap__stream *old = NULL;
  if (lua_isuserdata(L, 2) && neap__test(L, rt, 2, NEAP__K_STREAM))
    old = neap__stream_check(L, rt, 2, NULL);
  if (old != NULL && old->io.open && !old->closed && old->io.loop == loop) {
    lua_settop(L, 2);
    return 1;
  }
  neap__io **box = neap__io_box(L, rt, NEAP__K_STREAM);
  neap__stream *s = make(loop, fd, type, &status);
  if (s == NULL) return neap_refuse(L, status, "open");
  neap__io_own(box, &s->io);
  if (old != NULL) {
    take_over(s, old);
    if (!old->closed) neap__stream_close(old);
  }
  return 1;
}

static int open_file(lua_State *L, int fd, int flags) {
  static const char *const names[] = {"<stdin>", "<stdout>", "<stderr>"};
  neap_runtime *rt = neap__rt(L);
  neap__file *f = neap__file_new(L, rt, names[fd]);
  neap__fsop op = {.fd = neap__tty_dup(fd)};
  if (op.fd < 0) return neap_refuse(L, uv_translate_sys_error(errno), "open");
  /* Others have the same position: none is kept here. */
  neap__file_opened(f, &op, flags & O_ACCMODE);
  f->eager = true;
  return 1;
}

/* open(fd, old) -> a Stream, `old` if that is it, or a File for what is none; nil, err;
 * false: "neap.core.fs" is needed. fd: 0 to 2. */
static int l_open(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  lua_Integer fd = luaL_checkinteger(L, 1);
  luaL_argcheck(L, fd >= 0 && fd <= 2, 1, "0 to 2 expected");
  lua_settop(L, 2);
  int flags = fcntl((int)fd, F_GETFL);
  if (flags < 0) return neap_refuse(L, uv_translate_sys_error(errno), "open");
  if (rt->no_standard & 1U << fd) return neap_refuse(L, UV_EBADF, "open");
  uv_handle_type type = uv_guess_handle((uv_file)fd);
  if (type == UV_TTY || type == UV_NAMED_PIPE || type == UV_TCP)
    return open_stream(L, (int)fd, type);
  if (rt->mt[NEAP__K_FILE] == NULL) {
    lua_pushboolean(L, 0);
    return 1;
  }
  if (lua_isuserdata(L, 2) && neap__test(L, rt, 2, NEAP__K_FILE)) {
    const neap__file *old = neap__file_at(L, 2);
    if (old != NULL && old->fd >= 0 && !old->doomed) return 1;
  }
  return open_file(L, (int)fd, flags);
}

/* ---- terminals --------------------------------------------------------------------- */

/* isatty(stream, file or descriptor). nil is none: so is tty.stdin where it is closed. */
static int l_isatty(lua_State *L) {
  luaL_checkany(L, 1);
  int fd = lua_isnil(L, 1) ? -1 : neap__tty_fd(L, 1);
  lua_pushboolean(L, fd >= 0 && isatty(fd));
  return 1;
}

/* size(terminal) -> columns, rows; nil, err. Also stream:winsize(). */
static int l_size(lua_State *L) {
  struct winsize size;
  int fd = neap__tty_fd(L, 1), status;
  errno = ENOTTY;
  do
    status = fd < 0 ? -1 : ioctl(fd, TIOCGWINSZ, &size);
  while (status < 0 && errno == EINTR);
  if (status < 0)
    return neap_refuse(L, uv_translate_sys_error(errno), "winsize");
  lua_pushinteger(L, size.ws_col);
  lua_pushinteger(L, size.ws_row);
  return 2;
}

int neap__open_tty(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"open", l_open}, {"isatty", l_isatty}, {"size", l_size}, {NULL, NULL}};
  static const luaL_Reg methods[] = {{"winsize", l_size}, {NULL, NULL}};
  neap_runtime *rt = neap_of(L);
  neap__tty_mode_open(L, rt);
  neap__stream_open(L, rt);
  neap__push_class(L, rt, NEAP__K_STREAM);
  neap__set_funcs(L, rt, methods);
  lua_pop(L, 1);
  lua_createtable(L, 0, 8);
  neap__set_funcs(L, rt, functions);
  neap__set_funcs(L, rt, neap__tty_mode_functions);
  return 1;
}
