/* SPDX-License-Identifier: MIT
 *
 * pool.c - threads that take jobs from one queue: ThreadPoolExecutor.
 *
 * Workers take their next job themselves, so that they go on while the loop that sent the
 * jobs is busy. One that finds none is in the list of idle ones; the next job wakes the
 * last of them by a mail. The pool is shared memory under its mutex; no other lock is
 * taken and no Lua runs while it is held.
 */
#include "job.h"
#include "thread.h"

#include <stdio.h>
#include <string.h>

typedef struct pool pool;

typedef struct worker {
  neap__mail wake;
  neap__call next; /* takes the next job, in a turn */
  neap__thread *thread;
  neap__loop *loop; /* its own; NULL until its first mail */
  pool *pool;       /* a reference */
  struct worker *next_idle;
  bool idle;
} worker;

struct pool {
  neap__shared shared; /* first; never crosses */
  uv_mutex_t mutex;    /* guards what follows */
  neap__job *head, *tail;
  size_t queued;
  worker *idle;
  bool closed;
  /* of the runtime that has made it */
  unsigned size, alive;
  uint64_t started;
  size_t memory_limit;
  char name[20];
};

/* ---- queue; the mutex is held --------------------------------------------------- */

static void enqueue(pool *p, neap__job *job) {
  job->queued = true;
  job->queue_next = NULL;
  job->queue_prev = p->tail;
  if (p->tail != NULL) {
    p->tail->queue_next = job;
  } else {
    p->head = job;
  }
  p->tail = job;
  p->queued++;
}

static void dequeue(pool *p, neap__job *job) {
  job->queued = false;
  if (job->queue_prev != NULL) {
    job->queue_prev->queue_next = job->queue_next;
  } else {
    p->head = job->queue_next;
  }
  if (job->queue_next != NULL) {
    job->queue_next->queue_prev = job->queue_prev;
  } else {
    p->tail = job->queue_prev;
  }
  p->queued--;
}

static worker *take_idle(pool *p) {
  worker *w = p->idle;
  if (w == NULL) return NULL;
  p->idle = w->next_idle;
  w->idle = false;
  return w;
}

static void leave_idle(pool *p, worker *w) {
  if (!w->idle) return;
  worker **at = &p->idle;
  while (*at != w)
    at = &(*at)->next_idle;
  *at = w->next_idle;
  w->idle = false;
}

/* ---- in a worker ----------------------------------------------------------------- */

static void on_finished(neap__job *job, neap__loop *loop) {
  worker *w = job->ud;
  neap__ready(loop, &w->next.item);
}

/* Another one is woken instead. Where none is idle, the end of a worker is about to be
 * noticed. */
static void pass_on(pool *p) {
  uv_mutex_lock(&p->mutex);
  worker *w = p->head != NULL ? take_idle(p) : NULL;
  if (w != NULL) neap__thread_ref(w->thread); /* it may be ending, too */
  uv_mutex_unlock(&p->mutex);
  if (w == NULL) return;
  neap__post(w->thread->box, &w->wake);
  neap__thread_unref(w->thread);
}

/* Takes a job, or is idle, or at the end of the pool ends. A loop that ends begins none. */
static void work(worker *w) {
  pool *p = w->pool;
  if (w->loop->ending || w->loop->rt->finishing) {
    pass_on(p);
    return;
  }
  uv_mutex_lock(&p->mutex);
  neap__job *job = p->head;
  bool end = false;
  if (job != NULL) {
    dequeue(p, job);
    job->there = neap__mailbox_ref(w->thread->box);
    job->ud = w;
    job->finished = on_finished;
  } else if (p->closed) {
    end = true;
  } else if (!w->idle) {
    w->idle = true;
    w->next_idle = p->idle;
    p->idle = w;
  }
  uv_mutex_unlock(&p->mutex);
  if (job != NULL) neap__job_run(job, w->loop, w->loop->rt->L);
  if (end) w->loop->stopping = true;
}

static void work_next(neap__call *call) {
  worker *w = neap__container_of(call, worker, next);
  if (!w->loop->closed) work(w);
}

static void deliver_wake(neap__mail *mail, neap__loop *loop, lua_State *L) {
  worker *w = neap__container_of(mail, worker, wake);
  (void)L;
  uv_mutex_lock(&w->pool->mutex);
  w->loop = loop;
  uv_mutex_unlock(&w->pool->mutex);
  work(w);
}

/* It has ended since it was idle. */
static void lose_wake(neap__mail *mail) {
  pass_on(neap__container_of(mail, worker, wake)->pool);
}

/* ---- where the pool was made -------------------------------------------------------- */

static void destroy(neap__shared *shared) {
  pool *p = (pool *)(void *)shared;
  uv_mutex_destroy(&p->mutex);
  neap__share_alloc(p, 0);
}

static void no_class(lua_State *L, neap_runtime *rt) {
  (void)L;
  (void)rt;
}

static const neap__shared_type type = {NEAP__K_POOL, "pool", no_class, destroy};

static void drop_worker(neap__thread *t) {
  worker *w = t->ud;
  neap__shared_unref(&w->pool->shared);
  neap__share_alloc(w, 0);
}

/* The Future of a job in the queue was cancelled. */
static bool withdraw(neap__job *job) {
  pool *p = (pool *)(void *)job->pool;
  uv_mutex_lock(&p->mutex);
  bool queued = job->queued;
  if (queued) dequeue(p, job);
  uv_mutex_unlock(&p->mutex);
  return queued;
}

static void worker_gone(neap__thread *t, neap_runtime *rt);

typedef struct growth {
  pool *pool;
  neap__loop *loop;
  int status;
} growth;

/* growth (light userdata): starts one more worker. */
static int l_grow(lua_State *L) {
  growth *g = lua_touserdata(L, 1);
  pool *p = g->pool;
  char name[32];
  g->status = UV_ENOMEM;
  snprintf(name, sizeof name, "%s-%llu", p->name,
           (unsigned long long)p->started + 1);
  neap__thread *t = neap__thread_new(L, g->loop, name);
  if (t == NULL) return 0;
  worker *w = neap__share_alloc(NULL, sizeof *w);
  if (w == NULL) {
    neap__thread_unref(t);
    return 0;
  }
  *w =
      (worker){.wake = {NULL, deliver_wake, lose_wake}, .thread = t, .pool = p};
  w->next.item.kind = NEAP__CALL;
  w->next.run = work_next;
  neap__shared_ref(&p->shared);
  t->memory_limit = p->memory_limit;
  t->gone = worker_gone;
  t->drop = drop_worker;
  t->ud = w;
  neap__post(t->box, &w->wake); /* waits there for its loop */
  g->status = neap__thread_start(t);
  if (g->status < 0) return 0;
  p->started++;
  p->alive++;
  return 0;
}

static int grow(lua_State *L, pool *p, neap__loop *loop) {
  growth g = {p, loop, UV_ENOMEM};
  if (!lua_checkstack(L, 4)) return UV_ENOMEM;
  lua_pushcfunction(L, l_grow);
  lua_pushlightuserdata(L, &g);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) lua_pop(L, 1);
  return g.status;
}

/* The first job in the queue whose loop goes on, or NULL. */
static neap__job *first_wanted(pool *p) {
  uv_mutex_lock(&p->mutex);
  neap__job *job = p->head;
  while (job != NULL && (job->home_loop == NULL || job->home_loop->ending))
    job = job->queue_next;
  uv_mutex_unlock(&p->mutex);
  return job;
}

/* A worker has ended, or is left alone: another takes its place where one is needed. One
 * that could not even begin takes a job with it, or it would go on like this for ever. */
static void worker_gone(neap__thread *t, neap_runtime *rt) {
  worker *w = t->ud;
  pool *p = w->pool;
  uv_mutex_lock(&p->mutex);
  leave_idle(p, w);
  bool began = w->loop != NULL || t->asked; /* to end, before it could */
  uv_mutex_unlock(&p->mutex);
  p->alive--;
  neap__job *job;
  while (p->alive < p->size && (job = first_wanted(p)) != NULL) {
    if (began && grow(rt->L, p, job->home_loop) == 0) return;
    if (p->alive > 0) return;
    began = true;
    if (withdraw(job)) /* nobody is left to run it */
      neap__job_break(job, "no worker thread could be started");
  }
}

/* ---- the module "neap.core.pool" ------------------------------------------------------ */

static pool *self(lua_State *L) {
  pool **box = neap__check(L, neap__rt(L), 1, NEAP__K_POOL, "pool");
  if (*box == NULL) luaL_argerror(L, 1, "the pool is gone");
  return *box;
}

/* new(size, name, memory_limit or nil) -> a pool of at most `size` threads. */
static int l_new(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  lua_Integer size = luaL_checkinteger(L, 1);
  luaL_argcheck(L, size >= 1, 1, "out of range");
  if (size > INT32_MAX) size = INT32_MAX; /* more than there can be */
  const char *name = luaL_checkstring(L, 2);
  lua_Integer limit = luaL_optinteger(L, 3, 0);
  pool **box = lua_newuserdatauv(L, sizeof *box, 1);
  *box = NULL;
  neap__push_class(L, rt, NEAP__K_POOL);
  lua_setmetatable(L, -2);
  lua_createtable(
      L, 0, 4); /* function -> its code, while somebody has the function */
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_setiuservalue(L, -2, 1);
  pool *p = neap__share_alloc(NULL, sizeof *p);
  if (p == NULL) return luaL_error(L, "not enough memory");
  *p = (pool){.size = (unsigned)size,
              .memory_limit = limit > 0 ? (size_t)limit : 0};
  snprintf(p->name, sizeof p->name, "%s", name);
  neap__shared_init(&p->shared, &type);
  int status = uv_mutex_init(&p->mutex);
  if (status < 0) {
    neap__share_alloc(p, 0);
    return neap_fail(L, status, "pool");
  }
  *box = p;
  return 1;
}

/* code (light userdata), function */
static int l_fill_code(lua_State *L) {
  neap__code *code = lua_touserdata(L, 1);
  neap__pack(L, neap_of(L), 2, 1, 0, "argument", &code->packet);
  return 0;
}

static bool same_packets(const neap__packet *a, const neap__packet *b) {
  return a->size == b->size && a->nrefs == b->nrefs &&
         memcmp(neap__packet_bytes(a), neap__packet_bytes(b), a->size) == 0 &&
         (a->nrefs == 0 || memcmp(a->big.refs, b->big.refs,
                                  a->nrefs * sizeof *a->big.refs) == 0);
}

/* The code of the function at 2, with an object on the stack that holds it: that of an
 * earlier job, as long as its upvalues are the same. [-0, +1, v] */
static neap__code *code_of(lua_State *L, neap_runtime *rt) {
  lua_getiuservalue(L, 1, 1);
  lua_pushvalue(L, 2);
  neap__code *known = NULL;
  if (lua_rawget(L, -2) == LUA_TUSERDATA)
    known = (neap__code *)(void *)neap__shared_check(L, rt, lua_gettop(L),
                                                     &neap__code_type);
  neap__code *code = neap__share_alloc(NULL, sizeof *code);
  if (code == NULL) luaL_error(L, "not enough memory");
  *code = (neap__code){.packet = {0}};
  neap__shared_init(&code->shared, &neap__code_type);
  lua_pushcfunction(L, l_fill_code);
  lua_pushlightuserdata(L, code);
  lua_pushvalue(L, 2);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
    neap__shared_unref(&code->shared);
    neap__raise_here(L);
  }
  if (known != NULL && same_packets(&known->packet, &code->packet)) {
    neap__shared_unref(&code->shared);
    lua_remove(L, -2);
    return known;
  }
  lua_pop(L, 1);
  lua_pushcfunction(L, neap__l_hold_code);
  lua_pushlightuserdata(L, code);
  int status = lua_pcall(L, 1, 1, 0);
  neap__shared_unref(&code->shared);
  if (status != LUA_OK) lua_error(L);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -2);
  lua_rawset(L, -4);
  lua_remove(L, -2);
  return code;
}

/* submit(pool, fn, ...) -> Future; nil when the pool is closed. */
static int l_submit(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  pool *p = self(L);
  luaL_checkany(L, 2);
  luaL_checkstack(L, 8, NULL);
  int n = lua_gettop(L);
  if (p->closed) return 0;
  neap__code *code = code_of(L, rt);
  lua_replace(L, 2); /* the code's object, in the place of the function */
  bool gap = n > 2;
  if (gap) { /* errors count the arguments from the function on */
    lua_pushnil(L);
    lua_insert(L, 3);
    n++;
  }
  neap__job *job = neap__job_of(L, rt, code, 3, n - 2);
  job->gap = gap;
  job->pool = neap__shared_ref(&p->shared); /* as long as it may be withdrawn */
  job->withdraw = withdraw;
  neap__job_ref(job);
  uv_mutex_lock(&p->mutex);
  enqueue(p, job);
  worker *w = take_idle(p);
  uv_mutex_unlock(&p->mutex);
  if (w != NULL) {
    neap__post(w->thread->box, &w->wake);
  } else if (p->alive < p->size) {
    int status = grow(L, p, job->home_loop);
    if (status < 0 && p->alive == 0 && withdraw(job)) {
      neap__job_break(job, "no worker thread could be started");
    }
  }
  return 1;
}

/* The first job in the queue, or NULL. */
static neap__job *peek(pool *p) {
  uv_mutex_lock(&p->mutex);
  neap__job *job = p->head;
  uv_mutex_unlock(&p->mutex);
  return job;
}

/* close(pool, cancel): takes no more jobs; `cancel`: those in the queue are cancelled.
 * The workers end when none is left. */
static int l_close(lua_State *L) {
  pool *p = self(L);
  neap__job *job;
  while (lua_toboolean(L, 2) && (job = peek(p)) != NULL) {
    if (job->home_loop == NULL)
      break; /* it is being closed, which does the same */
    neap__job_cancel(job, L);
    /* Where somebody else has completed its Future it is still there. */
    if (withdraw(job)) neap__job_break(job, "the executor was shut down");
  }
  worker *w;
  do {
    uv_mutex_lock(&p->mutex);
    p->closed = true;
    w = take_idle(p);
    uv_mutex_unlock(&p->mutex);
    if (w != NULL) neap__post(w->thread->box, &w->wake);
  } while (w != NULL);
  return 0;
}

/* workers(pool) -> list of the handles of the loops of those that have not ended. */
static int l_workers(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  pool *p = self(L);
  lua_createtable(L, (int)p->alive, 0);
  lua_Integer n = 0;
  for (neap__thread *t = rt->threads; t != NULL; t = t->next) {
    if (t->gone != worker_gone || ((worker *)t->ud)->pool != p) continue;
    neap__shared_push(L, rt, &t->box->shared);
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

/* state(pool) -> how many jobs are in the queue, how many workers there are. */
static int l_state(lua_State *L) {
  pool *p = self(L);
  uv_mutex_lock(&p->mutex);
  size_t queued = p->queued;
  uv_mutex_unlock(&p->mutex);
  lua_pushinteger(L, (lua_Integer)queued);
  lua_pushinteger(L, (lua_Integer)p->alive);
  return 2;
}

/* What is in the queue is done all the same, and then the workers end. */
static int l_gc(lua_State *L) {
  pool **box = neap__test(L, neap__rt(L), 1, NEAP__K_POOL);
  if (box == NULL || *box == NULL) return 0;
  pool *p = *box;
  lua_settop(L, 1);
  l_close(L);
  *box = NULL;
  neap__shared_unref(&p->shared);
  return 0;
}

int neap__open_pool(lua_State *L) {
  static const luaL_Reg methods[] = {{"__gc", l_gc}, {NULL, NULL}};
  static const luaL_Reg functions[] = {
      {"new", l_new},         {"submit", l_submit}, {"close", l_close},
      {"workers", l_workers}, {"state", l_state},   {NULL, NULL},
  };
  neap_runtime *rt = neap_of(L);
  if (rt->mt[NEAP__K_POOL] == NULL) { /* the module may be loaded again */
    neap__new_class(L, rt, NEAP__K_POOL, "neap.pool", methods);
    lua_pop(L, 1);
  }
  neap__shared_class(L, rt, &neap__mailbox_type);
  neap__shared_class(L, rt, &neap__code_type);
  lua_pop(L, 2);
  lua_createtable(L, 0, 5);
  neap__set_funcs(L, rt, functions);
  return 1;
}
