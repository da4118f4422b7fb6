/* SPDX-License-Identifier: MIT
 *
 * file.c - open files: the object, who may use it when, and what threads do on it.
 * What its methods mean is in fileverb.c.
 *
 * A cancelled operation waits for its thread; what that read or wrote counts. Buffers
 * and position are right after each operation, however it ended.
 */
#include "file.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What Lua has of it. */
typedef struct box {
  const void *tag;
  neap__file *file;
} box;

/* ---- in a thread ------------------------------------------------------------------- */

static void work_read(neap__file *f) {
  ssize_t n;
  if (!f->regular && !neap__fs_wait(f->fd, POLLIN, &f->stop)) {
    f->status = UV_ECANCELED;
    return;
  }
  do
    n = f->regular ? pread(f->fd, f->space, f->room, f->at)
                   : read(f->fd, f->space, f->room);
  while (n < 0 && errno == EINTR);
  if (n < 0)
    f->status = neap__fs_errno();
  else
    f->result = (size_t)n;
}

static void work_write(neap__file *f) {
  while (f->status == 0 && f->result < f->out_len) {
    const char *data = f->out + f->result;
    size_t len = f->out_len - f->result;
    if (f->fifo) { /* so much can be written without waiting */
      if (len > PIPE_BUF) len = PIPE_BUF;
      if (!neap__fs_wait(f->fd, POLLOUT, &f->stop)) break;
    }
    ssize_t n = f->regular && !f->append
                    ? pwrite(f->fd, data, len, f->at + (int64_t)f->result)
                    : write(f->fd, data, len);
    if (n >= 0)
      f->result += (size_t)n;
    else if (errno != EINTR)
      f->status = neap__fs_errno();
  }
  if (f->append) f->number = lseek(f->fd, 0, SEEK_CUR);
}

static void work_stat(neap__file *f) {
  uv_fs_t fs;
  f->status = uv_fs_fstat(NULL, &fs, f->fd, NULL);
  f->stat = fs.statbuf;
  uv_fs_req_cleanup(&fs);
}

static void run_job(neap__file *f) {
  f->status = 0;
  f->result = 0;
  switch (f->job) {
  case NEAP__J_READ:
    work_read(f);
    break;
  case NEAP__J_WRITE:
    work_write(f);
    break;
  case NEAP__J_STAT:
    work_stat(f);
    break;
  case NEAP__J_SYNC:
    if (fsync(f->fd) < 0) f->status = neap__fs_errno();
    break;
  case NEAP__J_TRUNCATE:
    if (ftruncate(f->fd, f->number) < 0) f->status = neap__fs_errno();
    break;
  case NEAP__J_CLOSE:
    work_write(f);
    if (close(f->fd) < 0 && errno != EINTR && f->status == 0)
      f->status = neap__fs_errno();
    break;
  default:
    break;
  }
}

static void on_work(uv_work_t *uv) {
  run_job(neap__container_of(uv, neap__file, work));
}

/* ---- what came of it ----------------------------------------------------------------- */

static void free_out(neap__file *f) {
  if (f->out != NULL) neap__alloc(f->rt, f->out, f->out_cap, 0);
  f->out = NULL;
  f->out_len = f->out_cap = 0;
}

static void apply(neap__file *f) {
  enum neap__filejob job = f->job;
  f->job = NEAP__J_NONE;
  f->flying = false;
  if (f->status == UV_ECANCELED) return; /* it did nothing */
  if (job == NEAP__J_READ) {
    if (f->status < 0)
      f->in.error = f->status;
    else if (f->result == 0)
      f->in.eof = true;
    f->status = 0; /* it is the reader's to tell */
    neap__reader_added(&f->in, f->result);
    f->at += (int64_t)f->result;
  } else if (job == NEAP__J_WRITE || job == NEAP__J_CLOSE) {
    f->out_len -= f->result;
    if (f->out_len > 0)
      memmove(f->out, f->out + f->result, f->out_len);
    else
      free_out(f);
    if (!f->append)
      f->at += (int64_t)f->result;
    else if (f->number >= 0)
      f->at = f->number;
  }
  if (job == NEAP__J_CLOSE) {
    f->fd = -1;
    free_out(f);
    /* What was read for somebody who has not got it yet stays. */
    if (!f->doomed) neap__reader_free(&f->in);
  }
}

static int close_now(neap__file *f) {
  if (f->fd < 0) return 0;
  atomic_store(&f->stop, true); /* nothing waits for a FIFO's reader */
  f->job = NEAP__J_CLOSE;
  run_job(f);
  apply(f);
  return f->status;
}

static void dispose(neap__file *f) {
  close_now(f);
  *f->link = f->next;
  if (f->next != NULL) f->next->link = f->link;
  neap__reader_free(&f->in);
  free_out(f);
  neap__block_free(f->rt, f);
}

/* ---- taking turns -------------------------------------------------------------------- */

static bool is_free(const neap__file *f) {
  return !f->lock.locked && f->lock.granted == NULL &&
         f->lock.queue.head == NULL;
}

/* The operation is over. */
static void release(neap__file *f) {
  neap__lock_release(NULL, &f->lock);
  if (f->doomed && is_free(f)) close_now(f);
}

static int go_on(lua_State *L, neap__file *f);

/* The method that runs: it is an upvalue of it. */
static const neap__verb *verb_of(lua_State *L) {
  return lua_touserdata(L, lua_upvalueindex(2));
}

static bool is_close(const neap__verb *verb) {
  return verb->check == NULL;
}

static void on_worked(uv_work_t *uv, int status) {
  neap__file *f = neap__container_of(uv, neap__file, work);
  if (status < 0) f->status = status;
  neap__req_done(&f->req, status);
}

static neap_aborted abort_work(neap_wait *wait) {
  neap__file *f = neap__container_of(wait, neap__file, req.wait);
  atomic_store(&f->stop, true);
  uv_cancel((uv_req_t *)&f->work); /* only where it has not begun */
  return NEAP_ABORT_PENDING;
}

static int finish_work(lua_State *L, neap_wait *wait) {
  neap__file *f = neap__container_of(wait, neap__file, req.wait);
  neap_runtime *rt = f->rt;
  bool closing = f->job == NEAP__J_CLOSE;
  apply(f);
  if (L != NULL && wait->status != UV_ECANCELED) return go_on(L, f);
  if (closing) f->doomed = true;
  release(f);
  if (L != NULL) return neap__raise_cancelled(L, rt);
  if (f->orphan) dispose(f);
  return 0;
}

static int fly(lua_State *L, neap__file *f, const char *name) {
  neap__loop *loop = neap__the_loop(L, f->rt);
  memset(&f->req, 0, sizeof f->req);
  f->req.wait.abort = abort_work;
  f->req.wait.finish = finish_work;
  f->req.wait.name = name;
  f->req.loop = loop;
  f->flying = true;
  atomic_store(&f->stop, false);
  /* Only fails for a NULL callback. */
  uv_queue_work(loop->uv, &f->work, on_work, on_worked);
  neap__req_started(&f->req);
  return neap__park(f->rt, L, &f->req.wait);
}

/* The next step of the operation that has the lock. */
static int go_on(lua_State *L, neap__file *f) {
  const neap__verb *verb = verb_of(L);
  if (f->status == 0) f->job = verb->step(L, f);
  if (f->job != NEAP__J_NONE) return fly(L, f, verb->name);
  int status = f->status;
  release(f);
  if (status == UV_ENOMEM) return luaL_error(L, "not enough memory");
  if (status < 0) return neap__fs_refuse(L, status, verb->op, f->path, NULL);
  return verb->push(L, f);
}

static int use_closed(lua_State *L) {
  return luaL_error(L, "attempt to use a closed file");
}

/* The lock is ours. */
static int begin(lua_State *L, neap__file *f) {
  const neap__verb *verb = verb_of(L);
  f->status = 0;
  f->job = NEAP__J_NONE;
  if (f->fd < 0 || f->doomed) {
    release(f);
    if (!is_close(verb)) return use_closed(L);
    lua_pushboolean(L, 1);
    return 1;
  }
  if (verb->begin != NULL) verb->begin(L, f);
  return go_on(L, f);
}

static int finish_turn(lua_State *L, neap_wait *wait) {
  neap__file *f = neap__link_of(wait)->object;
  if (neap__lock_taken(&f->lock, wait)) return begin(L, f);
  if (L == NULL) return 0;
  if (is_close(verb_of(L))) {
    f->doomed = true;
    if (is_free(f)) close_now(f);
  }
  return neap__raise_cancelled(L, f->rt);
}

static int stand_in_line(lua_State *L, neap__file *f, const char *name) {
  neap_wait *wait = neap__own_wait(f->rt, NULL, finish_turn, name);
  neap__lock_enqueue(&f->lock, wait);
  return neap__park(f->rt, L, wait);
}

int neap__file_do(lua_State *L) {
  const neap__verb *verb = verb_of(L);
  neap__file *f = neap__file_check(L, 1);
  verb->check(L);
  if (verb->quick != NULL && is_free(f)) {
    neap__check_again(f->rt, L, verb->name);
    f->status = 0;
    if (verb->quick(L, f))
      return f->status < 0
                 ? neap__fs_refuse(L, f->status, verb->op, f->path, NULL)
                 : verb->push(L, f);
  }
  neap__check_park(f->rt, L, verb->name);
  if (!neap__lock_try(f->rt, &f->lock)) return stand_in_line(L, f, verb->name);
  return begin(L, f);
}

/* ---- closing --------------------------------------------------------------------------- */

static bool can_wait(const neap_runtime *rt, lua_State *L) {
  const neap_task *task = rt->current;
  if (rt->shut || task == NULL) return false;
  if (task == &rt->root) return true;
  if (!lua_isyieldable(L)) return false;
  return L == task->co ||
         (rt->chain != NULL && rt->chain->co == L && !rt->chain->blocked);
}

/* Where nobody can wait, it is closed on the spot, or by who uses it now. */
int neap__file_close(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__file *f = neap__file_at(L, 1);
  lua_settop(L, 1);
  if (f == NULL || f->fd < 0 || f->doomed) {
    lua_pushboolean(L, 1);
    return 1;
  }
  bool wait = can_wait(rt, L);
  if (!is_free(f) && !wait) {
    f->doomed = true;
  } else if (is_free(f) && (!wait || (!f->wrote && f->out_len == 0))) {
    int status = close_now(f);
    if (status < 0) return neap__fs_refuse(L, status, "close", f->path, NULL);
  } else if (neap__lock_try(rt, &f->lock)) {
    return begin(L, f);
  } else {
    return stand_in_line(L, f, verb_of(L)->name);
  }
  lua_pushboolean(L, 1);
  return 1;
}

/* Without waiting. */
static void write_now(neap__file *f) {
  atomic_store(&f->stop, true);
  f->job = NEAP__J_WRITE;
  run_job(f);
  apply(f);
}

void neap__files_flush(neap_runtime *rt) {
  for (neap__file *f = rt->files; f != NULL; f = f->next)
    if (f->fd >= 0 && f->out_len > 0 && !f->flying) write_now(f);
}

int neap__file_lend(neap__file *f, const char **why) {
  *why = f->fd < 0 || f->doomed         ? "the file is closed"
         : !is_free(f)                  ? "the file is in use"
         : !f->regular && f->in.len > 0 ? "the file has been read from"
                                        : NULL;
  if (*why != NULL) return -1;
  if (f->out_len > 0) {
    write_now(f);
    if (f->status < 0 || f->out_len > 0) *why = "the file cannot be written";
  }
  if (f->regular) lseek(f->fd, f->at - (int64_t)f->in.len, SEEK_SET);
  return *why == NULL ? f->fd : -1;
}

/* ---- the object ------------------------------------------------------------------------ */

static box *box_at(lua_State *L, int index) {
  return neap__check_tagged(L, neap__rt(L), index, NEAP__K_FILE, "File");
}

neap__file *neap__file_at(lua_State *L, int index) {
  return box_at(L, index)->file;
}

neap__file *neap__file_made(lua_State *L, int index) {
  return ((const box *)lua_touserdata(L, index))->file;
}

neap__file *neap__file_check(lua_State *L, int index) {
  neap__file *f = box_at(L, index)->file;
  if (f == NULL || f->fd < 0 || f->doomed) use_closed(L);
  return f;
}

static int l_gc(lua_State *L) {
  box *b = neap__test(L, neap__rt(L), 1, NEAP__K_FILE);
  neap__file *f = b != NULL ? b->file : NULL;
  if (f == NULL) return 0;
  b->file = NULL;
  if (f->flying)
    f->orphan = true;
  else
    dispose(f);
  return 0;
}

static void describe(lua_State *L, const void *object) {
  const neap__file *f = object;
  lua_pushfstring(L, "<File %s%s>", f->path,
                  f->fd < 0 || f->doomed ? " closed" : "");
}

static int l_tostring(lua_State *L) {
  neap__file *f = neap__file_at(L, 1);
  if (f == NULL)
    lua_pushliteral(L, "<File closed>");
  else
    describe(L, f);
  return 1;
}

/* file:fileno() -> its descriptor. */
static int l_fileno(lua_State *L) {
  const neap__file *f = neap__file_at(L, 1);
  if (f == NULL || f->fd < 0 || f->doomed)
    return luaL_error(L, "attempt to use a closed file (in 'File:fileno')");
  lua_pushinteger(L, f->fd);
  return 1;
}

static uint64_t holder(const void *object) {
  const neap__file *f = object;
  return f->lock.locked ? f->lock.holder : NEAP__NOBODY;
}

neap__file *neap__file_new(lua_State *L, neap_runtime *rt, const char *path) {
  size_t len = strlen(path);
  box *b = lua_newuserdatauv(L, sizeof *b, 0);
  *b = (box){neap__tag(rt, NEAP__K_FILE), NULL};
  neap__push_class(L, rt, NEAP__K_FILE);
  lua_setmetatable(L, -2);
  neap__file *f = neap__block_new(L, rt, sizeof *f + len + 1);
  f->lock.tag = b->tag;
  f->rt = rt;
  f->fd = -1;
  f->next = rt->files;
  f->link = &rt->files;
  if (f->next != NULL) f->next->link = &f->next;
  rt->files = f;
  neap__reader_init(&f->in, rt);
  f->in.limit = SIZE_MAX;
  memcpy(f->path, path, len + 1);
  b->file = f;
  return f;
}

void neap__file_opened(neap__file *f, neap__fsop *op, int flags) {
  int access = flags & O_ACCMODE;
  f->fd = op->fd;
  op->fd = -1;
  f->readable = access != O_WRONLY;
  f->writable = access != O_RDONLY;
  f->append = (flags & O_APPEND) != 0;
  f->regular = op->regular;
  f->fifo = op->fifo;
}

void neap__file_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {{"__gc", l_gc},
                                     {"__tostring", l_tostring},
                                     {"fileno", l_fileno},
                                     {NULL, NULL}};
  static const neap__teller teller = {.push = describe, .holder = holder};
  neap__new_class(L, rt, NEAP__K_FILE, "neap.fs.File", methods);
  neap__file_add_methods(L, rt);
  lua_pop(L, 1);
  neap__set_teller(rt, NEAP__K_FILE, &teller);
  neap__set_funcs(L, rt, neap__file_functions);
}
