/* SPDX-License-Identifier: MIT
 *
 * io.c - the life of handles and requests of libuv that our modules make: see io.h.
 */
#include "io.h"

#include <string.h>

/* ---- handles ------------------------------------------------------------------ */

void *neap__io_new(neap_runtime *rt, enum neap__kind kind, size_t size) {
  neap__io *io = neap__block_try(rt, size);
  if (io == NULL) return NULL;
  io->tag = neap__tag(rt, kind);
  io->rt = rt;
  return io;
}

static void free_io(neap_runtime *rt, neap__io *io) {
  if (io->drop != NULL) io->drop(io);
  neap__block_free(rt, io);
}

static void link_in(neap__io *io) {
  neap__io *first = io->loop->ios;
  if (first == NULL) {
    io->next = io->prev = io;
    io->loop->ios = io;
    return;
  }
  io->next = first;
  io->prev = first->prev;
  first->prev->next = io;
  first->prev = io;
}

static void take_out(neap__io *io) {
  neap__loop *loop = io->loop;
  if (io->next == io) {
    loop->ios = NULL;
  } else {
    if (loop->ios == io) loop->ios = io->next;
    io->next->prev = io->prev;
    io->prev->next = io->next;
  }
  io->next = io->prev = NULL;
}

void neap__io_open(neap__io *io, neap__loop *loop, uv_handle_t *uv) {
  io->loop = loop;
  io->uv = uv;
  uv->data = io;
  io->open = io->libuv = true;
  loop->open_handles++;
  link_in(io);
  if (io->holds == 0) uv_unref(uv);
}

static void on_closed(uv_handle_t *uv) {
  neap__io *io = uv->data;
  io->libuv = false;
  io->loop->open_handles--;
  if (!io->owned) free_io(io->rt, io);
}

void neap__io_close(neap__io *io) {
  if (!io->open) return;
  io->open = false;
  take_out(io);
  if (io->closing != NULL) io->closing(io);
  uv_close(io->uv, on_closed);
}

void neap__io_disown(neap__io *io) {
  neap__io_close(io);
  io->owned = false;
  if (!io->libuv) free_io(io->rt, io);
}

void neap__io_close_all(neap__loop *loop) {
  while (loop->ios != NULL)
    neap__io_close(loop->ios);
}

/* ---- the objects of Lua ---------------------------------------------------------- */

neap__io **neap__io_box(lua_State *L, neap_runtime *rt, enum neap__kind kind) {
  neap__io **box = lua_newuserdatauv(L, sizeof *box, 1);
  *box = NULL;
  neap__push_class(L, rt, kind);
  lua_setmetatable(L, -2);
  return box;
}

neap__io *neap__io_check(lua_State *L, neap_runtime *rt, int index,
                         enum neap__kind kind, const char *name) {
  neap__io **box = neap__test(L, rt, index, kind);
  if (box == NULL) luaL_typeerror(L, index, name);
  return *box;
}

void neap__check_loop_here(lua_State *L, neap_runtime *rt,
                           const neap__loop *loop) {
  const neap_task *task = rt->current;
  const neap__loop *here = task == NULL || task == &rt->root
                               ? neap__the_loop(L, rt)
                               : task->future.loop;
  if (NEAP__UNLIKELY(here != loop))
    luaL_error(L, "it belongs to another event loop");
}

/* Whether the value at 1 is one of those whose __gc is `gc`. */
static bool is_for(lua_State *L, lua_CFunction gc) {
  if (lua_type(L, 1) != LUA_TUSERDATA || !lua_getmetatable(L, 1)) return false;
  lua_pushliteral(L, "__gc");
  lua_rawget(L, -2);
  bool own = lua_tocfunction(L, -1) == gc;
  lua_pop(L, 2);
  return own;
}

int neap__io_gc(lua_State *L) {
  if (!is_for(L, neap__io_gc)) return 0;
  neap__io **box = lua_touserdata(L, 1), *io = *box;
  if (io == NULL || io->holds > 0) return 0;
  *box = NULL;
  neap__io_disown(io);
  return 0;
}

neap_wait *neap__io_wait(neap_runtime *rt, neap_abort abort, neap_finish finish,
                         const char *name, void *object) {
  neap_wait *wait = neap__own_wait(rt, abort, finish, name);
  wait->flags = NEAP__ON_IO;
  neap__link_of(wait)->object = object;
  return wait;
}

/* ---- requests -------------------------------------------------------------------- */

static neap_aborted req_abort(neap_wait *wait) {
  neap__req *req = neap__container_of(wait, neap__req, wait);
  uv_cancel(req->uv); /* only where it has not begun */
  return NEAP_ABORT_PENDING;
}

void *neap__req_new(lua_State *L, neap_runtime *rt, size_t size, size_t uv,
                    neap_finish finish, const char *name) {
  neap__loop *loop = neap__the_loop(L, rt);
  neap__req *req = neap__alloc(rt, NULL, 0, size);
  if (req == NULL) luaL_error(L, "not enough memory");
  memset(req, 0, size);
  req->wait.abort = req_abort;
  req->wait.finish = finish;
  req->wait.name = name;
  req->loop = loop;
  req->size = size;
  req->uv = (uv_req_t *)(void *)((char *)req + uv);
  return req;
}

void neap__req_started(neap__req *req) {
  req->loop->open_handles++;
}

void neap__req_done(neap__req *req, int status) {
  req->loop->open_handles--;
  neap_wake(&req->wait, status);
}

void neap__req_free(neap__req *req) {
  neap__alloc(req->loop->rt, req, req->size, 0);
}
