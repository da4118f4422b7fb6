/* SPDX-License-Identifier: MIT
 *
 * file.h - an open file: its buffers, and the work that threads do on it.
 *
 * One operation at a time has the lock, tasks stand in line for it. While `flying` a
 * thread has the buffers and the descriptor: nobody else touches them. The block
 * belongs to the Lua object and to the thread; who lets go last frees it.
 */
#ifndef NEAP_FILE_H
#define NEAP_FILE_H

#include "fs.h"
#include "lock.h"

enum neap__filejob {
  NEAP__J_NONE,
  NEAP__J_READ,     /* into `space` */
  NEAP__J_WRITE,    /* what is in `out` */
  NEAP__J_STAT,     /* into `stat` */
  NEAP__J_SYNC,     /* all of it to the disk */
  NEAP__J_TRUNCATE, /* to `number` bytes */
  NEAP__J_CLOSE,    /* writes `out`, and closes it */
};

struct neap__file {
  neap__lock lock; /* first: it has the tag */
  neap_runtime *rt;
  neap__file *next, **link; /* of all files of the runtime */
  int fd;                   /* -1: closed */
  bool readable, writable, append;
  bool regular; /* it has positions */
  bool fifo;
  bool wrote;       /* closing it may take long */
  bool eager;       /* what is written leaves at once */
  atomic_bool stop; /* a thread that waits for others should give up */
  bool flying, orphan;
  bool doomed; /* to be closed by who has the lock */
  int64_t at;  /* behind `in`; before `out` */
  neap__reader in;
  char *out;
  size_t out_len, out_cap;
  /* the operation that has the lock */
  neap__req req;
  uv_work_t work;
  enum neap__filejob job;
  int status;     /* what became of it: 0 or a UV_E* code */
  size_t result;  /* bytes that were read or written */
  int64_t number; /* a position or size */
  char *space;
  size_t room;
  int arg; /* of write: where it is */
  size_t offset;
  uv_stat_t stat;
  char path[];
};

/* What a method does, its second upvalue. None but `check` and `push` may raise. */
typedef struct neap__verb {
  const char *op, *name; /* "read", "File:read" */
  /* Raises argument errors. NULL: it closes the file. */
  void (*check)(lua_State *L);
  /* Does it if that needs no thread. May be NULL. */
  bool (*quick)(lua_State *L, neap__file *file);
  /* The lock is ours. May be NULL. */
  void (*begin)(lua_State *L, neap__file *file);
  /* What a thread has to do next. */
  enum neap__filejob (*step)(lua_State *L, neap__file *file);
  int (*push)(lua_State *L, neap__file *file);
} neap__verb;

/* The methods: with the file at 1 and the arguments behind. They wait. */
int neap__file_do(lua_State *L);
int neap__file_close(lua_State *L);
/* Pushes the object of a file that is not open yet. [-0, +1, m] */
neap__file *neap__file_new(lua_State *L, neap_runtime *rt, const char *path);
/* It gets the descriptor of the operation, opened with these flags. */
void neap__file_opened(neap__file *file, neap__fsop *op, int flags);
/* The file at `index`, or NULL; raises when it is none. [-0, +0, v] */
neap__file *neap__file_at(lua_State *L, int index);
/* The same, of a value that is one. [-0, +0, -] */
neap__file *neap__file_made(lua_State *L, int index);
/* The same; raises when it is closed. */
neap__file *neap__file_check(lua_State *L, int index);
/* Its descriptor, for a child process: what was written is there, and the position is the
 * file's. Or -1, and why not. */
int neap__file_lend(neap__file *file, const char **why);
/* Where the program is in it. */
static inline int64_t neap__file_position(const neap__file *file) {
  return file->at - (int64_t)file->in.len + (int64_t)file->out_len;
}

/* fileverb.c */
extern const luaL_Reg neap__file_functions[]; /* of the module */
/* Adds the methods to the class on top. [-0, +0, m] */
void neap__file_add_methods(lua_State *L, neap_runtime *rt);

#endif
