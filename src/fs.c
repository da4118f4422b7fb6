/* SPDX-License-Identifier: MIT
 *
 * fs.c - calls to the file system: what they have in common, and those that libuv has
 * as they are. The module "neap.core.fs".
 *
 * Each is one trip to the thread pool. A cancelled call waits for its thread, which is
 * told to stop; what it made all the same is undone.
 */
#include "fs.h"

#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- an operation ---------------------------------------------------------------- */

static void on_work(uv_work_t *uv) {
  neap__fsop *op = neap__container_of(uv, neap__fsop, work);
  op->status = neap__fs_stopped(op) ? UV_ECANCELED : op->call->run(op);
}

static void on_worked(uv_work_t *uv, int status) {
  neap__fsop *op = neap__container_of(uv, neap__fsop, work);
  neap__req_done(&op->req, status);
}

static neap_aborted fs_abort(neap_wait *wait) {
  neap__fsop *op = neap__container_of(wait, neap__fsop, req.wait);
  atomic_store(&op->stop, true);
  uv_cancel((uv_req_t *)&op->work); /* only where it has not begun */
  return NEAP_ABORT_PENDING;
}

static void op_free(neap__fsop *op) {
  uv_dirent_t entry;
  /* libuv loses the last entry of a list that was not gone through to its end. */
  if (op->fs.fs_type == UV_FS_SCANDIR)
    while (uv_fs_scandir_next(&op->fs, &entry) == 0) {
    }
  uv_fs_req_cleanup(&op->fs);
  free(op->data);
  neap__req_free(&op->req);
}

static void op_undo(neap__fsop *op) {
  if (op->status >= 0 && op->call->undo != NULL) op->call->undo(op);
}

/* Protected: pushes the results of the operation, a light userdata at the end. */
static int push_results(lua_State *L) {
  neap__fsop *op = lua_touserdata(L, -1);
  if (op->status < 0)
    return neap__fs_refuse(L, op->status, op->call->op, op->path, op->path2);
  if (op->call->push != NULL) return op->call->push(L, op);
  lua_pushboolean(L, 1);
  return 1;
}

static int fs_finish(lua_State *L, neap_wait *wait) {
  neap__fsop *op = neap__container_of(wait, neap__fsop, req.wait);
  neap_runtime *rt = op->req.loop->rt;
  if (L == NULL || wait->status == UV_ECANCELED) {
    op_undo(op);
    op_free(op);
    return L == NULL ? 0 : neap__raise_cancelled(L, rt);
  }
  lua_settop(L, 1); /* where the object that is filled may be */
  lua_pushcfunction(L, push_results);
  lua_pushvalue(L, 1);
  lua_pushlightuserdata(L, op);
  int status = lua_pcall(L, 2, LUA_MULTRET, 0);
  if (status != LUA_OK) op_undo(op);
  op_free(op);
  return status != LUA_OK ? lua_error(L) : lua_gettop(L) - 1;
}

/* ---- arguments --------------------------------------------------------------------- */

typedef struct arguments {
  const char *path[2], *data;
  size_t length[2], len;
  double numbers[2];
  bool flags[2];
  int npaths, nnumbers, nflags, mode;
} arguments;

int neap__fs_bad(lua_State *L, int arg, const char *name, const char *what) {
  return luaL_error(L, "bad argument #%d to '%s' (%s)", arg, name, what);
}

static int bad_type(lua_State *L, int arg, const char *name, const char *what) {
  return neap__fs_bad(
      L, arg, name,
      lua_pushfstring(L, "%s expected, got %s", what, luaL_typename(L, arg)));
}

const char *neap__fs_check_path(lua_State *L, int arg, const char *name,
                                size_t *len) {
  if (lua_type(L, arg) != LUA_TSTRING) bad_type(L, arg, name, "string");
  const char *path = lua_tolstring(L, arg, len);
  if (strlen(path) != *len)
    neap__fs_bad(L, arg, name, "a path without zero bytes expected");
  return path;
}

int neap__fs_check_mode(lua_State *L, int arg, const char *name, int def) {
  if (def >= 0 && lua_isnoneornil(L, arg)) return def;
  if (!lua_isinteger(L, arg)) bad_type(L, arg, name, "integer");
  lua_Integer mode = lua_tointeger(L, arg);
  if (mode < 0 || mode > 07777)
    neap__fs_bad(L, arg, name, "permissions are 0 to 4095 (0o7777)");
  return (int)mode;
}

static double check_number(lua_State *L, int arg, const char *name) {
  if (lua_type(L, arg) != LUA_TNUMBER) bad_type(L, arg, name, "number");
  double n = lua_tonumber(L, arg);
  if (!(fabs(n) < 1e15)) neap__fs_bad(L, arg, name, "number out of range");
  return n;
}

static void check_arguments(lua_State *L, const neap__fscall *call,
                            arguments *args) {
  *args = (arguments){.mode = call->mode};
  for (int i = 1; call->args[i - 1] != '\0'; i++) {
    switch (call->args[i - 1]) {
    case 'm':
      args->mode = neap__fs_check_mode(L, i, call->name, call->mode);
      break;
    case 'n':
      args->numbers[args->nnumbers++] = check_number(L, i, call->name);
      break;
    case 'b':
      args->flags[args->nflags++] = lua_toboolean(L, i);
      break;
    case 's':
      args->data = luaL_checklstring(L, i, &args->len);
      break;
    case 'x': /* an object of ours */
      break;
    default: {
      int n = args->npaths++;
      args->path[n] = neap__fs_check_path(L, i, call->name, &args->length[n]);
    }
    }
  }
}

/* The operation with copies of the arguments, or raises. [-0, +0, m] */
static neap__fsop *op_new(lua_State *L, neap_runtime *rt,
                          const neap__fscall *call, const arguments *args) {
  size_t size = sizeof(neap__fsop) + args->length[0] + args->length[1] + 2;
  neap__fsop *op = neap__req_new(L, rt, size, offsetof(neap__fsop, work),
                                 fs_finish, call->name);
  char *text = (char *)(op + 1);
  op->req.wait.abort = fs_abort;
  op->call = call;
  op->status = UV_ECANCELED;
  op->fd = -1;
  op->mode = args->mode;
  memcpy(op->numbers, args->numbers, sizeof op->numbers);
  memcpy(op->flags, args->flags, sizeof op->flags);
  if (args->path[0] != NULL)
    op->path = memcpy(text, args->path[0], args->length[0]);
  text += args->length[0] + 1;
  if (args->path[1] != NULL)
    op->path2 = memcpy(text, args->path[1], args->length[1]);
  if (args->data != NULL) {
    op->data = malloc(args->len + 1);
    if (op->data == NULL) {
      op_free(op);
      luaL_error(L, "not enough memory");
    }
    memcpy(op->data, args->data, args->len);
    op->len = args->len;
  }
  return op;
}

int neap__fs_call(lua_State *L, neap_runtime *rt, const neap__fscall *call) {
  arguments args;
  check_arguments(L, call, &args);
  neap__check_park(rt, L, call->name);
  neap__fsop *op = op_new(L, rt, call, &args);
  if (lua_gettop(L) == 0) lua_pushnil(L);
  /* Only fails for a NULL callback. */
  uv_queue_work(op->req.loop->uv, &op->work, on_work, on_worked);
  neap__req_started(&op->req);
  return neap__park(rt, L, &op->req.wait);
}

static int l_call(lua_State *L) {
  return neap__fs_call(L, neap__rt(L), lua_touserdata(L, lua_upvalueindex(2)));
}

void neap__fs_add(lua_State *L, neap_runtime *rt, const neap__fscall *calls) {
  for (; calls->op != NULL; calls++) {
    neap__push_self(L, rt);
    lua_pushlightuserdata(L, (void *)(uintptr_t)calls);
    lua_pushcclosure(L, l_call, 2);
    lua_setfield(L, -2, strrchr(calls->name, '.') + 1);
  }
}

/* ---- what others may keep waiting --------------------------------------------------- */

#define LOOK 20 /* milliseconds between two looks at whether to stop */

bool neap__fs_wait(int fd, short events, atomic_bool *stop) {
  struct pollfd poller = {.fd = fd, .events = events};
  for (;;) {
    bool stopped = atomic_load(stop);
    int n = poll(&poller, 1, stopped ? 0 : LOOK);
    if (n > 0 || (n < 0 && errno != EINTR)) return true;
    if (stopped) return false;
  }
}

static bool is_fifo(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 && S_ISFIFO(info.st_mode);
}

/* A FIFO is opened for reading at once, and for writing when there is a reader. */
int neap__fs_open(const char *path, int flags, int mode, struct stat *info,
                  atomic_bool *stop) {
  int fd, status = 0, also = O_NONBLOCK;
  while ((fd = open(path, flags | O_CLOEXEC | also, mode)) < 0) {
    status = neap__fs_errno();
    if (status == UV_EAGAIN && also != 0)
      also = 0; /* a lease that somebody gives up soon */
    else if (status == UV_ENXIO && is_fifo(path))
      uv_sleep(LOOK);
    else if (status != UV_EINTR)
      return status;
    if (atomic_load(stop)) return UV_ECANCELED;
  }
  status = fstat(fd, info) < 0 ? neap__fs_errno() : 0;
  if (status == 0 && also != 0 && fcntl(fd, F_SETFL, flags) < 0)
    status = neap__fs_errno();
  if (status == 0) return fd;
  neap__fs_close(fd);
  return status;
}

/* ---- results ----------------------------------------------------------------------- */

int neap__fs_refuse(lua_State *L, int status, const char *op, const char *path,
                    const char *path2) {
  char text[128];
  neap_refuse(L, status, op);
  if (path == NULL) return 2;
  uv_strerror_r(status, text, sizeof text);
  if (path2 == NULL)
    lua_pushfstring(L, "%s %s: %s", op, path, text);
  else
    lua_pushfstring(L, "%s %s, %s: %s", op, path, path2, text);
  lua_setfield(L, -2, "message");
  lua_pushstring(L, path);
  lua_setfield(L, -2, "path");
  if (path2 != NULL) {
    lua_pushstring(L, path2);
    lua_setfield(L, -2, "path2");
  }
  return 2;
}

void neap__fs_close(int fd) {
  uv_fs_t fs;
  if (fd < 0) return;
  uv_fs_close(NULL, &fs, fd, NULL);
  uv_fs_req_cleanup(&fs);
}

static const char *type_of(uint64_t mode) {
  switch (mode & S_IFMT) {
  case S_IFREG:
    return "file";
  case S_IFDIR:
    return "directory";
  case S_IFLNK:
    return "link";
  case S_IFIFO:
    return "fifo";
  case S_IFSOCK:
    return "socket";
  case S_IFCHR:
    return "char";
  case S_IFBLK:
    return "block";
  default:
    return "unknown";
  }
}

static void set_integer(lua_State *L, const char *name, uint64_t n) {
  lua_pushinteger(L, (lua_Integer)n);
  lua_setfield(L, -2, name);
}

static void set_time(lua_State *L, const char *name, uv_timespec_t t) {
  lua_pushnumber(L, (lua_Number)t.tv_sec + (lua_Number)t.tv_nsec / 1e9);
  lua_setfield(L, -2, name);
}

void neap__fs_push_stat(lua_State *L, const uv_stat_t *stat) {
  lua_createtable(L, 0, 16);
  lua_pushstring(L, type_of(stat->st_mode));
  lua_setfield(L, -2, "type");
  set_integer(L, "mode", stat->st_mode & 07777);
  set_integer(L, "size", stat->st_size);
  set_integer(L, "dev", stat->st_dev);
  set_integer(L, "ino", stat->st_ino);
  set_integer(L, "nlink", stat->st_nlink);
  set_integer(L, "uid", stat->st_uid);
  set_integer(L, "gid", stat->st_gid);
  set_integer(L, "rdev", stat->st_rdev);
  set_integer(L, "blksize", stat->st_blksize);
  set_integer(L, "blocks", stat->st_blocks);
  set_time(L, "atime", stat->st_atim);
  set_time(L, "mtime", stat->st_mtim);
  set_time(L, "ctime", stat->st_ctim);
  set_time(L, "birthtime", stat->st_birthtim);
}

static int push_stat(lua_State *L, neap__fsop *op) {
  neap__fs_push_stat(L, &op->fs.statbuf);
  return 1;
}

static int push_target(lua_State *L, neap__fsop *op) {
  lua_pushstring(L, op->fs.ptr);
  return 1;
}

static int push_path(lua_State *L, neap__fsop *op) {
  lua_pushstring(L, op->fs.path);
  return 1;
}

static const char *entry_type(const uv_dirent_t *entry) {
  static const char *const types[] = {
      [UV_DIRENT_UNKNOWN] = "unknown", [UV_DIRENT_FILE] = "file",
      [UV_DIRENT_DIR] = "directory",   [UV_DIRENT_LINK] = "link",
      [UV_DIRENT_FIFO] = "fifo",       [UV_DIRENT_SOCKET] = "socket",
      [UV_DIRENT_CHAR] = "char",       [UV_DIRENT_BLOCK] = "block",
  };
  return types[entry->type];
}

/* A list of { name =, type = }, by name. */
static int push_entries(lua_State *L, neap__fsop *op) {
  uv_dirent_t entry;
  lua_createtable(L, op->status, 0);
  for (int i = 1; uv_fs_scandir_next(&op->fs, &entry) == 0; i++) {
    lua_createtable(L, 0, 2);
    lua_pushstring(L, entry.name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, entry_type(&entry));
    lua_setfield(L, -2, "type");
    lua_rawseti(L, -2, i);
  }
  return 1;
}

/* ---- libuv's own, in a thread -------------------------------------------------------- */

static int run_stat(neap__fsop *op) {
  return uv_fs_stat(NULL, &op->fs, op->path, NULL);
}

static int run_lstat(neap__fsop *op) {
  return uv_fs_lstat(NULL, &op->fs, op->path, NULL);
}

static int run_access(neap__fsop *op) {
  return uv_fs_access(NULL, &op->fs, op->path, op->mode, NULL);
}

static int run_scandir(neap__fsop *op) {
  return uv_fs_scandir(NULL, &op->fs, op->path, 0, NULL);
}

static int run_rmdir(neap__fsop *op) {
  return uv_fs_rmdir(NULL, &op->fs, op->path, NULL);
}

static int run_unlink(neap__fsop *op) {
  return uv_fs_unlink(NULL, &op->fs, op->path, NULL);
}

static int run_rename(neap__fsop *op) {
  return uv_fs_rename(NULL, &op->fs, op->path, op->path2, NULL);
}

static int run_link(neap__fsop *op) {
  return uv_fs_link(NULL, &op->fs, op->path, op->path2, NULL);
}

static int run_symlink(neap__fsop *op) {
  return uv_fs_symlink(NULL, &op->fs, op->path, op->path2, 0, NULL);
}

static int run_readlink(neap__fsop *op) {
  return uv_fs_readlink(NULL, &op->fs, op->path, NULL);
}

static int run_realpath(neap__fsop *op) {
  return uv_fs_realpath(NULL, &op->fs, op->path, NULL);
}

static int run_chmod(neap__fsop *op) {
  return uv_fs_chmod(NULL, &op->fs, op->path, op->mode, NULL);
}

static int run_utime(neap__fsop *op) {
  return uv_fs_utime(NULL, &op->fs, op->path, op->numbers[0], op->numbers[1],
                     NULL);
}

static int run_mkdtemp(neap__fsop *op) {
  return uv_fs_mkdtemp(NULL, &op->fs, op->path, NULL);
}

static void undo_mkdtemp(neap__fsop *op) {
  rmdir(op->fs.path);
}

static const neap__fscall calls[] = {
    {"stat", "neap.fs.stat", run_stat, push_stat, NULL, "p", 0},
    {"lstat", "neap.fs.lstat", run_lstat, push_stat, NULL, "p", 0},
    {"access", "neap.fs.access", run_access, NULL, NULL, "pm", 0},
    {"scandir", "neap.fs.scandir", run_scandir, push_entries, NULL, "p", 0},
    {"rmdir", "neap.fs.rmdir", run_rmdir, NULL, NULL, "p", 0},
    {"unlink", "neap.fs.unlink", run_unlink, NULL, NULL, "p", 0},
    {"rename", "neap.fs.rename", run_rename, NULL, NULL, "pP", 0},
    {"link", "neap.fs.link", run_link, NULL, NULL, "pP", 0},
    {"symlink", "neap.fs.symlink", run_symlink, NULL, NULL, "pP", 0},
    {"readlink", "neap.fs.readlink", run_readlink, push_target, NULL, "p", 0},
    {"realpath", "neap.fs.realpath", run_realpath, push_target, NULL, "p", 0},
    {"chmod", "neap.fs.chmod", run_chmod, NULL, NULL, "pm", -1},
    {"utime", "neap.fs.utime", run_utime, NULL, NULL, "pnn", 0},
    {"mkdtemp", "neap.fs.mkdtemp", run_mkdtemp, push_path, undo_mkdtemp, "p",
     0},
    {NULL, NULL, NULL, NULL, NULL, NULL, 0},
};

int neap__open_fs(lua_State *L) {
  neap_runtime *rt = neap_of(L);
  lua_createtable(L, 0, 32);
  neap__fs_add(L, rt, calls);
  neap__fs_add(L, rt, neap__fs_jobs);
  neap__fs_add(L, rt, neap__fs_trees);
  neap__file_open(L, rt);
  neap__fswatch_open(L, rt);
  return 1;
}
