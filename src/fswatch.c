/* SPDX-License-Identifier: MIT
 *
 * fswatch.c - changes of a file or folder, as the system tells them.
 *
 * They are kept until somebody asks, equal ones once; past a limit only that there were
 * more. A watched file that is gone ends the watcher; one that another took the place
 * of is watched on.
 */
#include "fs.h"

#include <string.h>

#define MOST 256 /* changes kept */

typedef struct change {
  struct change *next;
  size_t size;
  int events;
  char name[];
} change;

typedef struct watcher {
  neap__io io;
  uv_fs_event_t uv;
  neap__waitq waiters;
  change *first, *last;
  size_t n;
  bool lost;  /* more than MOST came */
  bool ended; /* no more will come */
  int error;  /* why, or 0 */
  char path[];
} watcher;

/* ---- what came ------------------------------------------------------------------------ */

static change *take_first(watcher *w) {
  change *c = w->first;
  w->first = c->next;
  if (w->first == NULL) w->last = NULL;
  w->n--;
  return c;
}

static void forget(watcher *w) {
  while (w->first != NULL) {
    change *c = take_first(w);
    neap__alloc(w->io.rt, c, c->size, 0);
  }
}

static void keep(watcher *w, const char *name, int events) {
  size_t len = name == NULL ? 0 : strlen(name), size = sizeof(change) + len + 1;
  if (name == NULL) name = "";
  for (const change *c = w->first; c != NULL; c = c->next)
    if (c->events == events && strcmp(c->name, name) == 0) return;
  change *c = w->n < MOST ? neap__alloc(w->io.rt, NULL, 0, size) : NULL;
  if (c == NULL) {
    w->lost = true;
    return;
  }
  *c = (change){.size = size, .events = events};
  memcpy(c->name, name, len + 1);
  if (w->last == NULL)
    w->first = c;
  else
    w->last->next = c;
  w->last = c;
  w->n++;
}

static bool has_any(const watcher *w) {
  return w->first != NULL || w->lost || w->ended;
}

/* Nothing more will come: all who wait are told. */
static void end(watcher *w, int error) {
  if (w->ended) return;
  w->ended = true;
  w->error = error;
  uv_fs_event_stop(&w->uv);
  while (neap__waitq_wake(&w->waiters, 0) != NULL) {
  }
}

static bool is_own_name(const watcher *w, const char *name) {
  const char *slash = strrchr(w->path, '/');
  return name == NULL || strcmp(name, slash == NULL ? w->path : slash + 1) == 0;
}

static void on_event(uv_fs_event_t *uv, const char *name, int events,
                     int status);

/* Perhaps it is not there any more, or is another one. */
static void look_again(watcher *w) {
  uv_fs_t fs;
  int status = uv_fs_stat(NULL, &fs, w->path, NULL);
  uv_fs_req_cleanup(&fs);
  if (status == 0) {
    uv_fs_event_stop(&w->uv);
    status = uv_fs_event_start(&w->uv, on_event, w->path, 0);
  }
  if (status < 0) end(w, status == UV_ENOENT ? 0 : status);
}

static void on_event(uv_fs_event_t *uv, const char *name, int events,
                     int status) {
  watcher *w = neap__container_of(uv, watcher, uv);
  if (status < 0) {
    end(w, status);
    return;
  }
  keep(w, name, events & UV_RENAME ? UV_RENAME : UV_CHANGE);
  if ((events & UV_RENAME) && is_own_name(w, name)) look_again(w);
  if (w->first != NULL || w->lost) neap__waitq_wake(&w->waiters, 0);
}

/* ---- waiting --------------------------------------------------------------------------- */

static watcher *self(lua_State *L) {
  return (watcher *)(void *)neap__io_check(L, neap__rt(L), 1, NEAP__K_FSWATCH,
                                           "Watcher");
}

/* Pushes the first change, which is there. [-0, +n, m] */
static int push_first(lua_State *L, watcher *w) {
  luaL_checkstack(L, 6, NULL);
  if (w->first == NULL && !w->lost) {
    if (w->error != 0)
      return neap__fs_refuse(L, w->error, "watch", w->path, NULL);
    lua_pushnil(L);
    return 1;
  }
  lua_createtable(L, 0, 2);
  if (w->first == NULL) {
    lua_pushliteral(L, "overflow");
    lua_setfield(L, -2, "event");
    w->lost = false;
  } else {
    if (w->first->name[0] != '\0') {
      lua_pushstring(L, w->first->name);
      lua_setfield(L, -2, "name");
    }
    lua_pushstring(L, w->first->events == UV_RENAME ? "rename" : "change");
    lua_setfield(L, -2, "event");
    change *c = take_first(w);
    neap__alloc(w->io.rt, c, c->size, 0);
  }
  /* Another that waits has its turn, too. */
  if (w->first != NULL || w->lost) neap__waitq_wake(&w->waiters, 0);
  return 1;
}

static neap_aborted abort_next(neap_wait *wait) {
  watcher *w = neap__link_of(wait)->object;
  neap__waitq_remove(&w->waiters, wait);
  return NEAP_ABORT_DONE;
}

static int wait_next(lua_State *L, watcher *w);

static int finish_next(lua_State *L, neap_wait *wait) {
  watcher *w = neap__link_of(wait)->object;
  neap__io_release(&w->io);
  if (wait->status == UV_ECANCELED || L == NULL) {
    if (has_any(w) && !w->ended) neap__waitq_wake(&w->waiters, 0);
    return L == NULL ? 0 : neap__raise_cancelled(L, neap__rt(L));
  }
  return has_any(w) ? push_first(L, w) : wait_next(L, w);
}

static int wait_next(lua_State *L, watcher *w) {
  neap_runtime *rt = neap__rt(L);
  neap_wait *wait =
      neap__io_wait(rt, abort_next, finish_next, "Watcher:next", w);
  neap__io_hold(&w->io);
  neap__waitq_push(&w->waiters, wait);
  return neap__park(rt, L, wait);
}

/* watcher:next() -> { name =, event = }, nil at the end. Waits. */
static int l_next(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  watcher *w = self(L);
  lua_settop(L, 1);
  if (w == NULL) {
    lua_pushnil(L);
    return 1;
  }
  if (w->ended || (has_any(w) && w->waiters.head == NULL)) {
    neap__check_again(rt, L, "Watcher:next");
    return push_first(L, w);
  }
  neap__check_park(rt, L, "Watcher:next");
  if (w->io.loop != neap__the_loop(L, rt))
    return luaL_error(L, "this watcher belongs to another loop");
  return wait_next(L, w);
}

/* The same for `for`; raises what went wrong. */
static int l_call(lua_State *L) {
  int n = l_next(L);
  return n == 2 ? lua_error(L) : n;
}

/* watcher:close(): ends it, and who waits for it; changes that were not asked for are
 * forgotten. */
static int l_close(lua_State *L) {
  watcher *w = self(L);
  if (w == NULL) return 0;
  forget(w);
  w->lost = false;
  neap__io_close(&w->io);
  return 0;
}

static int l_path(lua_State *L) {
  watcher *w = self(L);
  lua_pushstring(L, w == NULL ? NULL : w->path);
  return 1;
}

/* ---- the object ------------------------------------------------------------------------ */

static void closing(neap__io *io) {
  watcher *w = (watcher *)(void *)io;
  end(w, 0);
}

static void drop(neap__io *io) {
  forget((watcher *)(void *)io);
}

static void describe(lua_State *L, const void *object) {
  const watcher *w = object;
  lua_pushfstring(L, "<Watcher %s%s>", w->path, w->ended ? " closed" : "");
}

static int l_tostring(lua_State *L) {
  watcher *w = self(L);
  if (w == NULL)
    lua_pushliteral(L, "<Watcher closed>");
  else
    describe(L, w);
  return 1;
}

/* watch(path) -> Watcher, nil, nil, Watcher: for `for`, which closes it. */
static int l_watch(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  size_t len;
  const char *path = neap__fs_check_path(L, 1, "neap.fs.watch", &len);
  neap__check_again(rt, L, "neap.fs.watch");
  neap__loop *loop = neap__the_loop(L, rt);
  neap__io **box = neap__io_box(L, rt, NEAP__K_FSWATCH);
  watcher *w = neap__io_new(rt, NEAP__K_FSWATCH, sizeof *w + len + 1);
  if (w == NULL) return luaL_error(L, "not enough memory");
  memcpy(w->path, path, len + 1);
  w->io.closing = closing;
  w->io.drop = drop;
  uv_fs_event_init(loop->uv, &w->uv); /* cannot fail */
  neap__io_open(&w->io, loop, (uv_handle_t *)&w->uv);
  neap__io_own(box, &w->io);
  int status = uv_fs_event_start(&w->uv, on_event, w->path, 0);
  if (status < 0) {
    neap__io_close(&w->io);
    return neap__fs_refuse(L, status, "watch", path, NULL);
  }
  lua_pushnil(L);
  lua_pushnil(L);
  lua_pushvalue(L, -3);
  return 4;
}

void neap__fswatch_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {
      {"next", l_next},           {"close", l_close},   {"path", l_path},
      {"__call", l_call},         {"__close", l_close}, {"__gc", neap__io_gc},
      {"__tostring", l_tostring}, {NULL, NULL},
  };
  static const luaL_Reg functions[] = {{"watch", l_watch}, {NULL, NULL}};
  static const neap__teller teller = {.push = describe};
  neap__new_class(L, rt, NEAP__K_FSWATCH, "neap.fs.Watcher", methods);
  lua_pop(L, 1);
  neap__set_teller(rt, NEAP__K_FSWATCH, &teller);
  neap__set_funcs(L, rt, functions);
}
