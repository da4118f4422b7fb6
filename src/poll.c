/* SPDX-License-Identifier: MIT
 *
 * poll.c - readiness of descriptors that are somebody else's: loop:add_reader and its
 * kin, neap.wait_readable, neap.wait_writable.
 *
 * A loop has one handle of libuv for a descriptor, for exactly as long as somebody is
 * interested, with the events of all of them. It is level-triggered: a callback is
 * queued once for each look at the system, behind what is ready already.
 *
 * libuv tells the system of a descriptor when it polls next, and gives up the process
 * when that fails. Hence the look at `fresh` ones just before.
 */
#include "io.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

typedef struct neap__poll {
  neap__io io;
  uv_poll_t uv;
  int fd;
  int events;             /* that libuv was told */
  neap__handle *calls[2]; /* for readable, writable; or NULL */
  neap__waitq waits[2];
  struct neap__poll *next_fresh;
  bool fresh; /* the system has not been told yet */
  bool dead;  /* the descriptor was closed behind our back */
} neap__poll;

enum { READ, WRITE };
static const int event_of[] = {UV_READABLE, UV_WRITABLE};

/* ---- the loop's table -------------------------------------------------------- */

static neap__poll *find(const neap__loop *loop, int fd) {
  return (size_t)fd < loop->npolls ? loop->polls[fd] : NULL;
}

bool neap__is_watched(const neap__loop *loop, const uv_handle_t *uv) {
  uv_os_fd_t fd;
  if (NEAP__LIKELY(loop->npolls == 0)) return false;
  return uv_fileno(uv, &fd) == 0 && find(loop, fd) != NULL;
}

static bool reserve(neap__loop *loop, int fd) {
  size_t n = loop->npolls > 0 ? loop->npolls : 16;
  if ((size_t)fd < loop->npolls) return true;
  while (n <= (size_t)fd)
    n *= 2;
  neap__poll **table =
      neap__alloc(loop->rt, loop->polls, loop->npolls * sizeof(neap__poll *),
                  n * sizeof(neap__poll *));
  if (table == NULL) return false;
  for (size_t i = loop->npolls; i < n; i++)
    table[i] = NULL;
  loop->polls = table;
  loop->npolls = n;
  return true;
}

void neap__polls_free(neap__loop *loop) {
  neap__alloc(loop->rt, loop->polls, loop->npolls * sizeof(neap__poll *), 0);
  loop->polls = NULL;
  loop->npolls = 0;
}

/* ---- what libuv is told ---------------------------------------------------------- */

/* Those that wait for it go on: their next call tells them how it is. */
static void fire(neap__poll *p, int which, int status) {
  neap__handle *handle = p->calls[which];
  while (neap__waitq_wake(&p->waits[which], status) != NULL) {
  }
  if (handle != NULL && !handle->cancelled && !handle->item.queued)
    neap__ready(p->io.loop, &handle->item);
}

/* 0 for a descriptor that the system can watch. */
static int check_open(int fd) {
  struct stat st;
  if (fstat(fd, &st) < 0) return uv_translate_sys_error(errno);
  return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) ? UV_EPERM : 0;
}

static void forget_fresh(neap__poll *p) {
  neap__poll **at = &p->io.loop->fresh_polls;
  if (!p->fresh) return;
  while (*at != p)
    at = &(*at)->next_fresh;
  *at = p->next_fresh;
  p->fresh = false;
}

/* The loop is about to poll. */
static void look_at_fresh(neap__loop *loop) {
  loop->before_poll = NULL;
  while (loop->fresh_polls != NULL) {
    neap__poll *p = loop->fresh_polls;
    forget_fresh(p);
    int status = check_open(p->fd);
    if (status == 0) continue;
    uv_poll_stop(&p->uv);
    p->events = 0;
    p->dead = true;
    neap__io_release(&p->io);
    fire(p, READ, status);
    fire(p, WRITE, status);
    if (p->calls[READ] == NULL && p->calls[WRITE] == NULL)
      neap__io_close(&p->io);
  }
}

static int update(neap__poll *p);

static void on_poll(uv_poll_t *uv, int status, int events) {
  neap__poll *p = uv->data;
  neap__loop *loop = p->io.loop;
  if (status < 0) { /* an error of the descriptor: libuv has stopped */
    events = UV_READABLE | UV_WRITABLE;
    p->events = 0;
  }
  for (int i = READ; i <= WRITE; i++)
    if (events & event_of[i]) fire(p, i, 0);
  update(p);
  neap__loop_rearm(loop);
}

/* Tells libuv what those who are left are interested in, and lets go of the handle
 * where nobody is. 0 or a UV_E* code. */
static int update(neap__poll *p) {
  int events = 0;
  for (int i = READ; i <= WRITE; i++)
    if (p->calls[i] != NULL || p->waits[i].head != NULL) events |= event_of[i];
  if (events == 0) {
    neap__io_close(&p->io);
    return 0;
  }
  if (p->dead || events == p->events) return 0;
  int status = uv_poll_start(&p->uv, events, on_poll);
  if (status < 0) return status;
  p->events = events;
  if (!p->fresh) {
    neap__loop *loop = p->io.loop;
    p->fresh = true;
    p->next_fresh = loop->fresh_polls;
    loop->fresh_polls = p;
    loop->before_poll = look_at_fresh;
  }
  return 0;
}

static void closing(neap__io *io) {
  neap__poll *p = neap__container_of(io, neap__poll, io);
  forget_fresh(p);
  io->loop->polls[p->fd] = NULL;
  for (int i = READ; i <= WRITE; i++)
    while (neap__waitq_wake(&p->waits[i], UV_ECANCELED) != NULL) {
    }
}

/* uv_poll_init makes the descriptor non-blocking. That is its owner's business, and of
 * other processes that have it too. */
static int init_poll(neap__loop *loop, uv_poll_t *uv, int fd) {
  int flags = fcntl(fd, F_GETFL);
  int status = uv_poll_init(loop->uv, uv, fd);
  if (flags >= 0 && !(flags & O_NONBLOCK)) fcntl(fd, F_SETFL, flags);
  return status;
}

/* The loop's poll for the descriptor, made where there is none; or NULL. Follow it by
 * an interest and by `update`. */
static neap__poll *obtain(neap__loop *loop, int fd, int *status) {
  if ((*status = check_open(fd)) < 0) return NULL;
  neap__poll *p = find(loop, fd);
  if (p != NULL) {
    if (p->dead) { /* another descriptor of the same number */
      p->dead = false;
      neap__io_hold(&p->io);
    }
    /* The number may be another's by now: have the system told again. */
    p->events = 0;
    return p;
  }
  *status = UV_ENOMEM;
  if (!reserve(loop, fd)) return NULL;
  p = neap__io_new(loop->rt, NEAP__K_POLL, sizeof *p);
  if (p == NULL) return NULL;
  if ((*status = init_poll(loop, &p->uv, fd)) < 0) {
    neap__block_free(loop->rt, p);
    return NULL;
  }
  p->fd = fd;
  p->io.closing = closing;
  neap__io_open(&p->io, loop, (uv_handle_t *)&p->uv);
  neap__io_hold(&p->io);
  loop->polls[fd] = p;
  return p;
}

/* ---- arguments --------------------------------------------------------------------- */

/* The integer on top, which `arg` gave. [-1, +0, v] */
static int take_number(lua_State *L, int arg) {
  int exact;
  lua_Integer fd = lua_tointegerx(L, -1, &exact);
  if (!exact || lua_type(L, -1) != LUA_TNUMBER)
    return luaL_typeerror(L, arg, "descriptor");
  if (fd < 0 || fd > INT32_MAX)
    return luaL_argerror(L, arg, lua_pushfstring(L, "%I is no descriptor", fd));
  lua_pop(L, 1);
  return (int)fd;
}

/* An integer, a file of Lua's io library, or an object with getfd() or fileno(), or the
 * number as a field of such a name, or `fd`. */
static int check_fd(lua_State *L, int arg) {
  static const char *const names[] = {"getfd", "fileno", "fd"};
  luaL_checkstack(L, 4, NULL);
  const luaL_Stream *stream = luaL_testudata(L, arg, LUA_FILEHANDLE);
  if (stream != NULL) {
    if (stream->closef == NULL) return luaL_argerror(L, arg, "closed file");
    return fileno(stream->f);
  }
  bool indexed = lua_istable(L, arg);
  if (lua_isuserdata(L, arg) &&
      luaL_getmetafield(L, arg, "__index") != LUA_TNIL) {
    lua_pop(L, 1);
    indexed = true;
  }
  for (size_t i = 0; indexed && i < sizeof names / sizeof *names; i++) {
    int type = lua_getfield(L, arg, names[i]);
    if (type == LUA_TFUNCTION) {
      lua_pushvalue(L, arg);
      lua_call(L, 1, 1);
    }
    if (type != LUA_TNIL) return take_number(L, arg);
    lua_pop(L, 1);
  }
  lua_pushvalue(L, arg);
  return take_number(L, arg);
}

/* Whether the value is of ours: its descriptor has a handle of libuv's already. */
static bool is_own(lua_State *L, neap_runtime *rt, int arg) {
  return neap__test(L, rt, arg, NEAP__K_STREAM) != NULL ||
         neap__test(L, rt, arg, NEAP__K_LISTENER) != NULL;
}

/* ---- callbacks ----------------------------------------------------------------------- */

/* The callback is not to run any more, also where it is queued. */
static void release(lua_State *L, neap__handle *handle) {
  neap_runtime *rt = handle->rt;
  handle->keeps = 0;
  handle->cancelled = 1;
  if (handle->item.queued || rt->callback == handle->slot) return;
  neap__unanchor(L, rt, handle->slot);
  handle->slot = 0;
}

static void drop_call(lua_State *L, neap__poll *p, int which) {
  neap__loop *loop = p->io.loop;
  release(L, p->calls[which]);
  p->calls[which] = NULL;
  update(p);
  neap__loop_rearm(loop);
}

void neap__polls_close(neap__loop *loop, lua_State *L) {
  for (size_t fd = 0; fd < loop->npolls; fd++)
    for (int i = READ; i <= WRITE; i++)
      if (loop->polls[fd] != NULL && loop->polls[fd]->calls[i] != NULL)
        drop_call(L, loop->polls[fd], i);
}

static int add(lua_State *L, int which, const char *op) {
  neap_runtime *rt = neap__rt(L);
  neap__loop *loop = neap__check_loop(L, rt);
  luaL_checkany(L, 2);
  int fd = check_fd(L, 2);
  neap__check_callback(L, 3);
  if (is_own(L, rt, 2)) return neap_fail(L, UV_EEXIST, op);
  neap__handle *handle = neap__handle_new(L, rt, loop, lua_gettop(L) - 3);
  handle->keeps = 1;
  handle->slot = neap__anchor(L, rt);
  int status;
  neap__poll *p = obtain(loop, fd, &status);
  if (p != NULL) {
    neap__handle *old = p->calls[which];
    p->calls[which] = handle;
    status = update(p);
    if (status < 0) {
      p->calls[which] = old;
      update(p);
    } else if (old != NULL) {
      release(L, old);
    }
  }
  if (status < 0) {
    release(L, handle);
    return neap_fail(L, status, op);
  }
  neap__loop_rearm(loop);
  return 0;
}

static int take_out(lua_State *L, int which) {
  neap__loop *loop = neap__check_loop(L, neap__rt(L));
  luaL_checkany(L, 2);
  neap__poll *p = find(loop, check_fd(L, 2));
  bool found = p != NULL && p->calls[which] != NULL;
  if (found) drop_call(L, p, which);
  lua_pushboolean(L, found);
  return 1;
}

/* loop:add_reader(fd, fn, ...): the loop calls fn(...) while fd is readable. Takes the
 * place of the reader that it has. Raises OSError for what cannot be watched. */
static int l_add_reader(lua_State *L) {
  return add(L, READ, "add_reader");
}

/* loop:add_writer(fd, fn, ...): the same for writing. */
static int l_add_writer(lua_State *L) {
  return add(L, WRITE, "add_writer");
}

/* loop:remove_reader(fd) -> whether there was one. */
static int l_remove_reader(lua_State *L) {
  return take_out(L, READ);
}

/* loop:remove_writer(fd) -> whether there was one. */
static int l_remove_writer(lua_State *L) {
  return take_out(L, WRITE);
}

/* ---- waiting ---------------------------------------------------------------------------- */

static neap_aborted stop_waiting(neap_wait *wait, int which) {
  neap__poll *p = neap__link_of(wait)->object;
  neap__waitq_remove(&p->waits[which], wait);
  update(p);
  return NEAP_ABORT_DONE;
}

static neap_aborted read_abort(neap_wait *wait) {
  return stop_waiting(wait, READ);
}

static neap_aborted write_abort(neap_wait *wait) {
  return stop_waiting(wait, WRITE);
}

/* The descriptor's poll may be gone by now. */
static int poll_finish(lua_State *L, neap_wait *wait) {
  if (L == NULL) return 0;
  if (wait->status < 0) {
    const char *op = wait->name + sizeof "neap." - 1;
    return neap_refuse(L, wait->status, op);
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int wait_until(lua_State *L, int which, const char *name) {
  static const neap_abort aborts[] = {read_abort, write_abort};
  neap_runtime *rt = neap__rt(L);
  luaL_checkany(L, 1);
  int fd = check_fd(L, 1);
  neap__check_park(rt, L, name);
  int status = UV_EEXIST;
  neap__poll *p = NULL;
  if (!is_own(L, rt, 1)) p = obtain(neap__the_loop(L, rt), fd, &status);
  if (p != NULL) {
    neap_wait *wait = neap__io_wait(rt, aborts[which], poll_finish, name, p);
    neap__waitq_push(&p->waits[which], wait);
    status = update(p);
    if (status == 0) return neap__park(rt, L, wait);
    stop_waiting(wait, which);
  }
  return neap_refuse(L, status, name + sizeof "neap." - 1);
}

/* wait_readable(fd) -> true once it is readable; nil, err where that cannot be watched.
 * Waits. */
static int l_wait_readable(lua_State *L) {
  return wait_until(L, READ, "neap.wait_readable");
}

/* wait_writable(fd) -> true once it is writable; nil, err. Waits. */
static int l_wait_writable(lua_State *L) {
  return wait_until(L, WRITE, "neap.wait_writable");
}

/* ---- for tests, and the table ------------------------------------------------------------ */

/* drop_poll(handle) -> whether it was the callback of a descriptor, and now is not. */
int neap__l_drop_poll(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  const neap__handle *handle = neap__check(L, rt, 1, NEAP__K_HANDLE, "Handle");
  const neap__loop *loop = handle->loop;
  for (size_t fd = 0; handle->keeps && fd < loop->npolls; fd++)
    for (int i = READ; i <= WRITE; i++)
      if (loop->polls[fd] != NULL && loop->polls[fd]->calls[i] == handle) {
        drop_call(L, loop->polls[fd], i);
        lua_pushboolean(L, 1);
        return 1;
      }
  lua_pushboolean(L, 0);
  return 1;
}

static void push_poll(lua_State *L, const void *object) {
  lua_pushfstring(L, "<descriptor %d>", ((const neap__poll *)object)->fd);
}

void neap__poll_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {
      {"add_reader", l_add_reader},
      {"remove_reader", l_remove_reader},
      {"add_writer", l_add_writer},
      {"remove_writer", l_remove_writer},
      {NULL, NULL},
  };
  static const luaL_Reg functions[] = {
      {"wait_readable", l_wait_readable},
      {"wait_writable", l_wait_writable},
      {NULL, NULL},
  };
  static const neap__teller teller = {.push = push_poll};
  neap__push_class(L, rt, NEAP__K_LOOP);
  neap__set_funcs(L, rt, methods);
  lua_pop(L, 1);
  neap__set_teller(rt, NEAP__K_POLL, &teller);
  neap__set_funcs(L, rt, functions);
}
