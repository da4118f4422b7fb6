/* SPDX-License-Identifier: MIT
 *
 * fileverb.c - what the methods of files mean: opening, reading, writing, positions.
 *
 * A file has one position, for reading and writing, as the C library's: who writes
 * after reading gives up what was read ahead, who reads after writing first has that
 * written.
 */
#include "file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK ((size_t)64 << 10) /* of reads, and bytes that writes may leave */
#define MOST ((size_t)1 << 20)   /* at once, where there is much to do */

/* ---- what several need --------------------------------------------------------------- */

static void check_none(lua_State *L) {
  (void)L;
}

/* Gives up what was read ahead. */
static void forget_ahead(neap__file *f) {
  if (!f->regular || f->in.len == 0) return;
  f->at -= (int64_t)f->in.len;
  neap__reader_drop(&f->in, f->in.len);
}

static int push_file(lua_State *L, neap__file *f) {
  (void)f;
  lua_pushvalue(L, 1);
  return 1;
}

static int push_number(lua_State *L, neap__file *f) {
  lua_pushinteger(L, f->number);
  return 1;
}

/* First what was written has to be. */
static enum neap__filejob flushed(const neap__file *f) {
  return f->out_len > 0 ? NEAP__J_WRITE : NEAP__J_NONE;
}

/* ---- reading ------------------------------------------------------------------------- */

static enum neap__filejob step_read(lua_State *L, neap__file *f) {
  neap__reader *in = &f->in;
  (void)L;
  if (f->out_len > 0) return NEAP__J_WRITE;
  if (neap__reader_ready(in)) return NEAP__J_NONE;
  size_t want = neap__reader_missing(in);
  if (want < in->len) want = in->len; /* all there is, or a long line */
  if (want < CHUNK) want = CHUNK;
  if (want > MOST) want = MOST;
  f->space = neap__reader_space(in, want, &f->room);
  if (f->space != NULL) return NEAP__J_READ;
  f->status = UV_ENOMEM;
  return NEAP__J_NONE;
}

/* What is asked for is in the reader: is it there? */
static bool at_once(neap__file *f) {
  if (!f->readable) f->status = UV_EBADF;
  f->in.eof = false; /* it may have grown */
  f->in.error = 0;
  return f->status < 0 || (f->out_len == 0 && neap__reader_ready(&f->in));
}

static int push_read(lua_State *L, neap__file *f) {
  int n = neap__reader_push(L, &f->in, "read");
  if (f->in.error == 0 || n != 2 || !lua_istable(L, -1)) return n;
  return neap__fs_refuse(L, f->in.error, "read", f->path, NULL);
}

static void check_formats(lua_State *L) {
  neap__reader reader = {0};
  neap__reader_want_formats(L, &reader, 2);
}

static void begin_formats(lua_State *L, neap__file *f) {
  neap__reader_want_formats(L, &f->in, 2); /* which was checked */
  at_once(f);
}

static bool quick_formats(lua_State *L, neap__file *f) {
  neap__reader_want_formats(L, &f->in, 2);
  return at_once(f);
}

static void check_count(lua_State *L) {
  luaL_argcheck(L, luaL_checkinteger(L, 2) > 0, 2,
                "a count of 1 or more expected");
}

static void check_some(lua_State *L) {
  if (lua_isnoneornil(L, 2)) {
    lua_settop(L, 1);
    lua_pushinteger(L, (lua_Integer)CHUNK);
  }
  check_count(L);
}

static void check_exactly(lua_State *L) {
  luaL_argcheck(L, luaL_checkinteger(L, 2) >= 0, 2,
                "a count of 0 or more expected");
}

static void begin_some(lua_State *L, neap__file *f) {
  neap__reader_want(&f->in, '+', (size_t)lua_tointeger(L, 2));
  at_once(f);
}

static bool quick_some(lua_State *L, neap__file *f) {
  neap__reader_want(&f->in, '+', (size_t)lua_tointeger(L, 2));
  return at_once(f);
}

static void begin_exactly(lua_State *L, neap__file *f) {
  neap__reader_want(&f->in, 'x', (size_t)lua_tointeger(L, 2));
  at_once(f);
}

static bool quick_exactly(lua_State *L, neap__file *f) {
  begin_exactly(L, f);
  return at_once(f);
}

static void check_until(lua_State *L) {
  size_t n;
  luaL_checklstring(L, 2, &n);
  luaL_argcheck(L, n > 0, 2, "the separator is empty");
  luaL_argcheck(L, luaL_optinteger(L, 3, (lua_Integer)NEAP__READ_LIMIT) > 0, 3,
                "a limit of 1 or more expected");
}

static void begin_until(lua_State *L, neap__file *f) {
  size_t n;
  const char *separator = lua_tolstring(L, 2, &n);
  lua_Integer limit = lua_isnoneornil(L, 3) ? (lua_Integer)NEAP__READ_LIMIT
                                            : lua_tointeger(L, 3);
  neap__reader_want_until(&f->in, separator, n, (size_t)limit);
  at_once(f);
}

static bool quick_until(lua_State *L, neap__file *f) {
  begin_until(L, f);
  return at_once(f);
}

/* ---- writing ------------------------------------------------------------------------- */

static void check_write(lua_State *L) {
  for (int i = lua_gettop(L); i > 1; i--)
    if (lua_type(L, i) != LUA_TSTRING)
      luaL_checkstring(L, i); /* numbers become strings */
}

/* Makes room in `out` for n bytes more. */
static bool reserve(neap__file *f, size_t n) {
  size_t need = f->out_len + n;
  if (need <= f->out_cap) return true;
  size_t cap = f->out_cap * 2;
  if (cap < 1024) cap = 1024;
  if (cap < need) cap = need;
  char *out = neap__alloc(f->rt, f->out, f->out_cap, cap);
  if (out == NULL) return false;
  f->out = out;
  f->out_cap = cap;
  return true;
}

static void begin_write(lua_State *L, neap__file *f) {
  (void)L;
  if (!f->writable) f->status = UV_EBADF;
  forget_ahead(f);
  f->arg = 2;
  f->offset = 0;
}

/* Takes as much of the arguments as there is room for. */
static enum neap__filejob step_write(lua_State *L, neap__file *f) {
  for (; f->arg <= lua_gettop(L); f->arg++, f->offset = 0) {
    size_t len;
    const char *data = lua_tolstring(L, f->arg, &len);
    while (f->offset < len) {
      size_t rest = len - f->offset, limit = rest < MOST ? CHUNK : MOST;
      if (f->out_len >= limit) return NEAP__J_WRITE;
      if (rest > limit - f->out_len) rest = limit - f->out_len;
      if (!reserve(f, rest)) {
        f->status = UV_ENOMEM;
        return NEAP__J_NONE;
      }
      memcpy(f->out + f->out_len, data + f->offset, rest);
      f->out_len += rest;
      f->offset += rest;
      f->wrote = true;
    }
  }
  return f->out_len >= (f->eager ? 1 : CHUNK) ? NEAP__J_WRITE : NEAP__J_NONE;
}

static bool quick_write(lua_State *L, neap__file *f) {
  int top = lua_gettop(L);
  size_t all = 0, most = f->out_len < CHUNK ? CHUNK - f->out_len : 0;
  if (f->eager && f->writable) return false;
  for (int i = 2; i <= top && all < most; i++)
    all += lua_rawlen(L, i);
  if (f->writable && (all >= most || !reserve(f, all))) return false;
  begin_write(L, f);
  if (f->status < 0) return true;
  for (int i = 2; i <= top; i++) {
    size_t len;
    const char *data = lua_tolstring(L, i, &len);
    if (len == 0) continue;
    memcpy(f->out + f->out_len, data, len);
    f->out_len += len;
    f->wrote = true;
  }
  return true;
}

/* ---- the other methods ----------------------------------------------------------------- */

static enum neap__filejob step_flush(lua_State *L, neap__file *f) {
  (void)L;
  return flushed(f);
}

static bool quick_flush(lua_State *L, neap__file *f) {
  (void)L;
  return f->out_len == 0;
}

/* `arg` says how far such an operation is. */
static void begin_steps(lua_State *L, neap__file *f) {
  (void)L;
  f->arg = 0;
}

static enum neap__filejob once(neap__file *f, enum neap__filejob job) {
  if (f->out_len > 0) return NEAP__J_WRITE;
  return f->arg++ == 0 ? job : NEAP__J_NONE;
}

static enum neap__filejob step_sync(lua_State *L, neap__file *f) {
  (void)L;
  return once(f, NEAP__J_SYNC);
}

static enum neap__filejob step_stat(lua_State *L, neap__file *f) {
  (void)L;
  return once(f, NEAP__J_STAT);
}

static int push_stat(lua_State *L, neap__file *f) {
  neap__fs_push_stat(L, &f->stat);
  return 1;
}

static void check_truncate(lua_State *L) {
  luaL_argcheck(L, luaL_optinteger(L, 2, 0) >= 0, 2,
                "a size of 0 or more expected");
}

static enum neap__filejob step_truncate(lua_State *L, neap__file *f) {
  if (f->out_len > 0) return NEAP__J_WRITE;
  if (f->arg == 0) {
    forget_ahead(f);
    f->number = lua_isnoneornil(L, 2) ? f->at : lua_tointeger(L, 2);
    f->wrote = true;
  }
  return once(f, NEAP__J_TRUNCATE);
}

static const char *const whences[] = {"set", "cur", "end", NULL};

static void check_seek(lua_State *L) {
  luaL_checkoption(L, 2, "cur", whences);
  luaL_optinteger(L, 3, 0);
}

static int whence_of(lua_State *L) {
  return luaL_checkoption(L, 2, "cur", whences); /* which was checked */
}

static void seek_to(neap__file *f, int64_t base, int64_t offset) {
  if (!f->regular) {
    f->status = UV_ESPIPE;
    return;
  }
  if (__builtin_add_overflow(base, offset, &f->number) || f->number < 0) {
    f->status = UV_EINVAL;
    return;
  }
  int64_t first = f->at - (int64_t)f->in.len;
  if (f->number >= first && f->number <= f->at) {
    neap__reader_drop(&f->in, (size_t)(f->number - first));
    return;
  }
  forget_ahead(f);
  f->at = f->number;
}

static enum neap__filejob step_seek(lua_State *L, neap__file *f) {
  int whence = whence_of(L);
  if (f->out_len > 0) return NEAP__J_WRITE;
  if (whence == 2 && f->regular && f->arg++ == 0) return NEAP__J_STAT;
  seek_to(f,
          whence == 0   ? 0
          : whence == 1 ? f->at - (int64_t)f->in.len
                        : (int64_t)f->stat.st_size,
          luaL_optinteger(L, 3, 0));
  return NEAP__J_NONE;
}

static bool quick_seek(lua_State *L, neap__file *f) {
  if (f->out_len > 0 || (whence_of(L) == 2 && f->regular)) return false;
  step_seek(L, f);
  return true;
}

static enum neap__filejob step_close(lua_State *L, neap__file *f) {
  (void)L;
  return f->fd >= 0 ? NEAP__J_CLOSE : NEAP__J_NONE;
}

static int push_true(lua_State *L, neap__file *f) {
  (void)f;
  lua_pushboolean(L, 1);
  return 1;
}

/* ---- lines --------------------------------------------------------------------------- */

/* Upvalues: the runtime, the verb of reading, the file, its formats. */
static int l_next_line(lua_State *L) {
  int n = (int)lua_tointeger(L, lua_upvalueindex(4));
  lua_settop(L, 0);
  luaL_checkstack(L, n + 1, NULL);
  for (int i = 0; i <= n; i++)
    lua_pushvalue(L, lua_upvalueindex(i == 0 ? 3 : 4 + i));
  return neap__file_do(L);
}

static int push_line(lua_State *L, neap__file *f) {
  int n = push_read(L, f);
  if (f->in.error != 0 && n == 2 && lua_isnil(L, -2)) return lua_error(L);
  return n;
}

/* ---- opening ------------------------------------------------------------------------- */

static int run_open(neap__fsop *op) {
  struct stat stat;
  int fd =
      neap__fs_open(op->path, (int)op->numbers[0], op->mode, &stat, &op->stop);
  if (fd < 0) return fd;
  op->fd = fd;
  op->regular = S_ISREG(stat.st_mode) || S_ISBLK(stat.st_mode);
  op->fifo = S_ISFIFO(stat.st_mode);
  return 0;
}

static int push_opened(lua_State *L, neap__fsop *op) {
  neap__file_opened(neap__file_made(L, 1), op, (int)op->numbers[0]);
  lua_pushvalue(L, 1);
  return 1;
}

static void undo_open(neap__fsop *op) {
  neap__fs_close(op->fd);
  if ((int)op->numbers[0] & O_EXCL) unlink(op->path); /* nobody had it yet */
}

static int run_mkstemp(neap__fsop *op) {
  op->fd = uv_fs_mkstemp(NULL, &op->fs, op->path, NULL);
  op->regular = true;
  return op->fd < 0 ? op->fd : 0;
}

static int push_mkstemp(lua_State *L, neap__fsop *op) {
  neap__file *f = neap__file_made(L, 1);
  lua_pushvalue(L, 1);
  lua_pushstring(L, op->fs.path);
  memcpy(f->path, op->fs.path, strlen(f->path)); /* of the same length */
  neap__file_opened(f, op, O_RDWR);
  return 2;
}

static void undo_mkstemp(neap__fsop *op) {
  neap__fs_close(op->fd);
  unlink(op->fs.path);
}

/* The flags of a mode as of io.open, or "x" to make a file that is not there; -1. */
static int flags_of(const char *mode) {
  int flags;
  bool plus = false, binary = false;
  char first = *mode;
  if (first == '\0') return -1;
  for (mode++; *mode != '\0'; mode++) {
    bool *seen = *mode == '+' ? &plus : *mode == 'b' ? &binary : NULL;
    if (seen == NULL || *seen) return -1;
    *seen = true;
  }
  switch (first) {
  case 'r':
    flags = 0;
    break;
  case 'w':
    flags = O_CREAT | O_TRUNC;
    break;
  case 'a':
    flags = O_CREAT | O_APPEND;
    break;
  case 'x':
    flags = O_CREAT | O_EXCL;
    break;
  default:
    return -1;
  }
  return flags | (plus ? O_RDWR : first == 'r' ? O_RDONLY : O_WRONLY);
}

/* open(path, mode = "r", permissions = 0o666) -> File. Waits. */
static int l_open(lua_State *L) {
  static const neap__fscall call = {
      "open", "neap.fs.open", run_open, push_opened, undo_open, "xpnm", 0666};
  size_t len;
  const char *path = neap__fs_check_path(L, 1, call.name, &len);
  int flags = lua_isnoneornil(L, 2)           ? O_RDONLY
              : lua_type(L, 2) == LUA_TSTRING ? flags_of(lua_tostring(L, 2))
                                              : -1;
  if (flags < 0)
    neap__fs_bad(L, 2, call.name,
                 "'r', 'w', 'a' or 'x' expected, with '+' and 'b' behind");
  int mode = neap__fs_check_mode(L, 3, call.name, call.mode);
  neap_runtime *rt = neap__rt(L);
  lua_settop(L, 1);
  neap__file_new(L, rt, path);
  lua_insert(L, 1);
  lua_pushinteger(L, flags);
  lua_pushinteger(L, mode);
  return neap__fs_call(L, rt, &call);
}

/* mkstemp(template) -> File, its path. Waits. */
static int l_mkstemp(lua_State *L) {
  static const neap__fscall call = {"mkstemp",
                                    "neap.fs.mkstemp",
                                    run_mkstemp,
                                    push_mkstemp,
                                    undo_mkstemp,
                                    "xp",
                                    0};
  size_t len;
  const char *path = neap__fs_check_path(L, 1, call.name, &len);
  neap_runtime *rt = neap__rt(L);
  lua_settop(L, 1);
  neap__file_new(L, rt, path);
  lua_insert(L, 1);
  return neap__fs_call(L, rt, &call);
}

const luaL_Reg neap__file_functions[] = {
    {"open", l_open}, {"mkstemp", l_mkstemp}, {NULL, NULL}};

/* ---- the methods ----------------------------------------------------------------------- */

static const neap__verb verb_line = {
    "read",        "File:lines", check_formats, quick_formats,
    begin_formats, step_read,    push_line};

/* file:lines(...) -> an iterator that reads by these formats. */
static int l_lines(lua_State *L) {
  int n = lua_gettop(L) - 1;
  neap__file_check(L, 1);
  check_formats(L);
  neap__push_self(L, neap__rt(L));
  lua_pushlightuserdata(L, (void *)(uintptr_t)&verb_line);
  lua_pushvalue(L, 1);
  lua_pushinteger(L, n);
  for (int i = 2; i <= n + 1; i++)
    lua_pushvalue(L, i);
  lua_pushcclosure(L, l_next_line, 4 + n);
  return 1;
}

void neap__file_add_methods(lua_State *L, neap_runtime *rt) {
  static const neap__verb verbs[] = {
      {"read", "File:read", check_formats, quick_formats, begin_formats,
       step_read, push_read},
      {"read", "File:read_some", check_some, quick_some, begin_some, step_read,
       push_read},
      {"read", "File:read_exactly", check_exactly, quick_exactly, begin_exactly,
       step_read, push_read},
      {"read", "File:read_until", check_until, quick_until, begin_until,
       step_read, push_read},
      {"write", "File:write", check_write, quick_write, begin_write, step_write,
       push_file},
      {"flush", "File:flush", check_none, quick_flush, NULL, step_flush,
       push_file},
      {"sync", "File:sync", check_none, NULL, begin_steps, step_sync,
       push_file},
      {"stat", "File:stat", check_none, NULL, begin_steps, step_stat,
       push_stat},
      {"truncate", "File:truncate", check_truncate, NULL, begin_steps,
       step_truncate, push_file},
      {"seek", "File:seek", check_seek, quick_seek, begin_steps, step_seek,
       push_number},
      {"close", "File:close", NULL, NULL, NULL, step_close, push_true},
      {"close", "File:__close", NULL, NULL, NULL, step_close, push_true},
      {NULL, NULL, NULL, NULL, NULL, NULL, NULL},
  };
  static const luaL_Reg methods[] = {{"lines", l_lines}, {NULL, NULL}};
  for (const neap__verb *verb = verbs; verb->op != NULL; verb++) {
    neap__push_self(L, rt);
    lua_pushlightuserdata(L, (void *)(uintptr_t)verb);
    lua_pushcclosure(L, verb->check == NULL ? neap__file_close : neap__file_do,
                     2);
    lua_setfield(L, -2, strchr(verb->name, ':') + 1);
  }
  neap__set_funcs(L, rt, methods);
}
