/* SPDX-License-Identifier: MIT
 *
 * fs.h - work on files by libuv's thread pool, and what the files of neap.fs share.
 *
 * An operation belongs to the thread from its start until its callback. It has copies
 * of all it needs: the task that waits may be gone before.
 */
#ifndef NEAP_FS_H
#define NEAP_FS_H

#include "io.h"
#include "reader.h"

#include <errno.h>
#include <sys/stat.h>

typedef struct neap__fsop neap__fsop;

/* What a function of the module does. */
typedef struct neap__fscall {
  const char *op;   /* as errors have it: "stat" */
  const char *name; /* "neap.fs.stat" */
  /* In a thread: no Lua. Gives 0.. or a UV_E* code. */
  int (*run)(neap__fsop *op);
  /* Pushes the results of one that succeeded; NULL: true. [-0, +n, m] */
  int (*push)(lua_State *L, neap__fsop *op);
  /* It succeeded, but nobody is there to get what it made. May be NULL. */
  void (*undo)(neap__fsop *op);
  /* 'p' path, 'P' another one, 'm' permissions (default: `mode`, if 0 or more), 'n' a number, 's'
   * bytes, 'b' a boolean, 'x' what push looks at; 'n' and 'b' may be there twice */
  const char *args;
  int mode;
} neap__fscall;

struct neap__fsop {
  neap__req req;
  uv_work_t work;
  uv_fs_t fs; /* of libuv's own calls */
  const neap__fscall *call;
  int status;       /* UV_ECANCELED until it has run */
  atomic_bool stop; /* the task was cancelled: end early */
  int mode;
  double numbers[2];
  bool flags[2];
  int fd;       /* what was opened, or -1 */
  int64_t size; /* of it */
  bool regular; /* it has positions */
  bool fifo;
  char *data; /* from malloc */
  size_t len;
  const char *path, *path2; /* in the same block of memory; or NULL */
};

/* Whether a thread should give up. */
static inline bool neap__fs_stopped(neap__fsop *op) {
  return atomic_load_explicit(&op->stop, memory_order_relaxed);
}
/* For `run`: the last error of the system. */
static inline int neap__fs_errno(void) {
  return uv_translate_sys_error(errno);
}
/* Starts the call with the arguments at 1 and up. Waits. */
int neap__fs_call(lua_State *L, neap_runtime *rt, const neap__fscall *call);
/* Adds the functions, with the runtime and their neap__fscall as upvalues, to the table
 * on top; the list ends with an `op` of NULL. [-0, +0, m] */
void neap__fs_add(lua_State *L, neap_runtime *rt, const neap__fscall *calls);
/* Raises an argument error of the function called `name`. */
int neap__fs_bad(lua_State *L, int arg, const char *name, const char *what);
/* The path, or permissions (`def` is -1: there has to be one), at `arg`, or raises. */
const char *neap__fs_check_path(lua_State *L, int arg, const char *name,
                                size_t *len);
int neap__fs_check_mode(lua_State *L, int arg, const char *name, int def);
/* Pushes nil and the OSError, with the paths. [-0, +2, m] */
int neap__fs_refuse(lua_State *L, int status, const char *op, const char *path,
                    const char *path2);
/* Pushes what stat tells. [-0, +1, m] */
void neap__fs_push_stat(lua_State *L, const uv_stat_t *stat);
/* Closes it without a trace. */
void neap__fs_close(int fd);

/* For threads, which others may keep waiting: until `stop` is set. */
/* Opens it and looks at it. The descriptor, or a UV_E* code. */
int neap__fs_open(const char *path, int flags, int mode, struct stat *info,
                  atomic_bool *stop);
/* Until something can be read (POLLIN) or written (POLLOUT). False: it cannot, and `stop`
 * is set. */
bool neap__fs_wait(int fd, short events, atomic_bool *stop);

/* fsjob.c, fstree.c, file.c: functions of the module */
extern const neap__fscall neap__fs_jobs[];
extern const neap__fscall neap__fs_trees[];
void neap__file_open(lua_State *L, neap_runtime *rt);
void neap__fswatch_open(lua_State *L, neap_runtime *rt);

#endif
