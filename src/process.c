/* SPDX-License-Identifier: MIT
 *
 * process.c - child processes: waiting for their end, signals, ending them. The module
 * "neap.core.process".
 *
 * Signals go only to children that were not reaped: their number is theirs. libuv reaps
 * inside a poll of the loop, each by its number, so that children of others (io.popen)
 * stay theirs.
 */
#include "process.h"

#include "stream.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#define MOST 1e6 /* seconds of grace */
#define LAST 1.0 /* seconds that a killed child gets to vanish */

/* A task that waits in close(). Its memory is its own: the wait goes on until the child
 * has ended, also when the task is cancelled. */
typedef struct neap__closer {
  neap_wait wait;
  neap__process *process;
  struct neap__closer *next;
} closer;

/* A child that was left running when its loop was closed. */
struct neap__stray {
  neap__stray *next;
  int pid;
};

static neap__process *of(neap__io *io) {
  return neap__container_of(io, neap__process, io);
}

/* ---- signals --------------------------------------------------------------------- */

/* Its first process has been reaped. As long as there are others of the group, no new
 * process gets the number; if one has it, there were none. */
static bool is_group_ours(const neap__process *p) {
  return kill(p->pid, 0) < 0 && errno == ESRCH;
}

/* 0 or a UV_E* code. */
static int signal_to(const neap__process *p, int number) {
  if (p->lost || (p->exited && !(p->group && is_group_ours(p))))
    return UV_ESRCH;
  if (kill(p->group ? -p->pid : p->pid, number) == 0) return 0;
  return uv_translate_sys_error(errno);
}

/* ---- its end is asked for --------------------------------------------------------------- */

static void on_timer_closed(uv_handle_t *uv) {
  neap__loop *loop = uv->data;
  loop->open_handles--;
  neap__alloc(loop->rt, uv, sizeof(uv_timer_t), 0);
}

static void stop_patience(neap__process *p) {
  uv_timer_t *timer = p->patience;
  if (timer == NULL) return;
  p->patience = NULL;
  timer->data = p->io.loop;
  uv_close((uv_handle_t *)timer, on_timer_closed);
}

static void on_impatient(uv_timer_t *uv) {
  neap__process *p = uv->data;
  signal_to(p, SIGKILL);
}

/* SIGTERM now, and SIGKILL when the time is over. */
static void begin_end(neap__process *p) {
  neap__loop *loop = p->io.loop;
  if (p->ending) return;
  p->ending = true;
  signal_to(p, SIGTERM);
  uv_timer_t *timer = neap__alloc(loop->rt, NULL, 0, sizeof *timer);
  if (timer == NULL) {
    signal_to(p, SIGKILL);
    return;
  }
  double ms = p->grace < MOST ? p->grace * 1000 : MOST * 1000;
  uv_timer_init(loop->uv, timer);
  loop->open_handles++;
  timer->data = p;
  uv_update_time(loop->uv);
  uv_timer_start(timer, on_impatient, (uint64_t)ms, 0);
  uv_unref((uv_handle_t *)timer);
  p->patience = timer;
}

/* ---- its end ------------------------------------------------------------------------ */

static void wake_all(neap__process *p, int status) {
  while (neap__waitq_wake(&p->waiters, status) != NULL) {
  }
  while (p->closers != NULL) {
    closer *c = p->closers;
    p->closers = c->next;
    neap_wake(&c->wait, status);
  }
}

void neap__process_closing(neap__io *io) {
  neap__process *p = of(io);
  stop_patience(p);
  if (!p->exited) p->lost = true;
  wake_all(p, p->lost ? UV_ESRCH : 0);
}

static void ended(neap__process *p, int64_t code, int number) {
  p->exited = true;
  p->code = (int)code;
  p->signal = number;
  if (p->ending && p->group) signal_to(p, SIGKILL);
}

void neap__process_on_exit(uv_process_t *uv, int64_t code, int number) {
  neap__process *p = uv->data;
  ended(p, code, number);
  neap__io_close(&p->io);
}

/* ---- the end of its loop -------------------------------------------------------------- */

static void remember(neap__process *p) {
  neap_runtime *rt = p->io.rt;
  neap__stray *stray = neap__alloc(rt, NULL, 0, sizeof *stray);
  if (stray == NULL) return; /* the end of this process will do it */
  *stray = (neap__stray){.next = rt->strays, .pid = p->pid};
  rt->strays = stray;
}

void neap__strays_reap(neap_runtime *rt) {
  neap__stray **at = &rt->strays;
  while (*at != NULL) {
    neap__stray *stray = *at;
    int status;
    if (waitpid(stray->pid, &status, WNOHANG) == 0) {
      at = &stray->next;
      continue;
    }
    *at = stray->next;
    neap__alloc(rt, stray, sizeof *stray, 0);
  }
}

void neap__strays_free(neap_runtime *rt) {
  neap__strays_reap(rt);
  while (rt->strays != NULL) {
    neap__stray *stray = rt->strays;
    rt->strays = stray->next;
    neap__alloc(rt, stray, sizeof *stray, 0);
  }
}

/* Whether it is no longer ours to wait for. */
static bool reap(neap__process *p) {
  int status = 0;
  pid_t pid;
  do {
    pid = waitpid(p->pid, &status, WNOHANG);
  } while (pid < 0 && errno == EINTR);
  if (pid == 0) return false;
  p->ending = true;
  ended(p, pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 0,
        pid > 0 && WIFSIGNALED(status) ? WTERMSIG(status) : 0);
  return true;
}

/* The next child of the loop, from `io` on, that is to end and has not. */
static neap__process *next_running(neap__loop *loop, neap__io *io) {
  const void *tag = neap__tag(loop->rt, NEAP__K_PROCESS);
  while (io != NULL) {
    if (io->tag == tag && !of(io)->exited && !of(io)->detached) return of(io);
    io = io->next == loop->ios ? NULL : io->next;
  }
  return NULL;
}

static neap__process *after(neap__loop *loop, neap__process *p) {
  return next_running(loop, p->io.next == loop->ios ? NULL : p->io.next);
}

/* Those that are running still. `seconds` since they were asked to end. */
static bool look_at_all(neap__loop *loop, double seconds) {
  double most = loop->rt->grace;
  bool left = false;
  neap__process *p = next_running(loop, loop->ios);
  for (; p != NULL; p = after(loop, p)) {
    if (reap(p)) continue;
    double grace = p->grace < most ? p->grace : most;
    if (seconds >= grace) signal_to(p, SIGKILL);
    if (seconds < grace + LAST) left = true;
  }
  return left;
}

void neap__processes_end(neap__loop *loop) {
  neap__process *p = next_running(loop, loop->ios);
  uint64_t began = uv_hrtime();
  unsigned pause = 1;
  for (; p != NULL; p = after(loop, p))
    signal_to(p, SIGTERM);
  while (look_at_all(loop, (double)(uv_hrtime() - began) / 1e9)) {
    uv_sleep(pause);
    if (pause < 8) pause *= 2;
  }
  const void *tag = neap__tag(loop->rt, NEAP__K_PROCESS);
  for (neap__io *io = loop->ios; io != NULL;) {
    if (io->tag == tag && !of(io)->exited) remember(of(io));
    io = io->next == loop->ios ? NULL : io->next;
  }
  neap__strays_reap(loop->rt);
}

/* ---- methods ---------------------------------------------------------------------------- */

static neap__process *self(lua_State *L) {
  return (neap__process *)neap__io_check(L, neap__rt(L), 1, NEAP__K_PROCESS,
                                         "Process");
}

static int push_end(lua_State *L, const neap__process *p) {
  char buffer[32];
  if (p->signal == 0) {
    lua_pushinteger(L, p->code);
    return 1;
  }
  lua_pushnil(L);
  lua_pushstring(L, neap__signal_name(p->signal, buffer, sizeof buffer));
  return 2;
}

static int refuse(lua_State *L, int status, const char *op) {
  return neap_refuse(L, status, op);
}

static neap_aborted wait_abort(neap_wait *wait) {
  neap__process *p = neap__link_of(wait)->object;
  neap__waitq_remove(&p->waiters, wait);
  return NEAP_ABORT_DONE;
}

static int wait_finish(lua_State *L, neap_wait *wait) {
  neap__process *p = neap__link_of(wait)->object;
  neap__io_release(&p->io);
  if (L == NULL) return 0;
  if (wait->status < 0) return refuse(L, wait->status, "wait");
  return push_end(L, p);
}

/* process:wait() -> its exit code; or nil and the name of the signal that ended it.
 * Waits. */
static int l_wait(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__process *p = self(L);
  if (p == NULL) return 0;
  if (p->exited || p->lost) {
    neap__check_again(rt, L, "Process:wait");
    return p->exited ? push_end(L, p) : refuse(L, UV_ESRCH, "wait");
  }
  neap__check_park(rt, L, "Process:wait");
  neap__io_check_here(L, rt, &p->io);
  neap_wait *wait =
      neap__io_wait(rt, wait_abort, wait_finish, "Process:wait", p);
  neap__waitq_push(&p->waiters, wait);
  neap__io_hold(&p->io);
  return neap__park(rt, L, wait);
}

/* process:kill(signal) -> true; or nil, err. SIGTERM unless said. */
static int l_kill(lua_State *L) {
  neap__process *p = self(L);
  int number = lua_isnoneornil(L, 2) ? SIGTERM : neap__check_signal(L, 2);
  int status = p == NULL ? UV_ESRCH : signal_to(p, number);
  if (status < 0) return refuse(L, status, "kill");
  lua_pushboolean(L, 1);
  return 1;
}

static int l_is_running(lua_State *L) {
  const neap__process *p = self(L);
  lua_pushboolean(L, p != NULL && !p->exited && !p->lost);
  return 1;
}

/* Closes its streams, those that it has. */
static void close_streams(lua_State *L, neap_runtime *rt) {
  static const char *const names[] = {"stdin", "stdout", "stderr"};
  lua_getiuservalue(L, 1, 1);
  for (int i = 0; i < 3 && lua_istable(L, -1); i++) {
    lua_pushstring(L, names[i]);
    lua_rawget(L, -2);
    neap__io **box = neap__test(L, rt, -1, NEAP__K_STREAM);
    if (box != NULL && *box != NULL) neap__io_close(*box);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* The end is near, and will be waited for all the same. */
static neap_aborted close_abort(neap_wait *wait) {
  signal_to(neap__container_of(wait, closer, wait)->process, SIGKILL);
  return NEAP_ABORT_PENDING;
}

static int close_finish(lua_State *L, neap_wait *wait) {
  closer *c = neap__container_of(wait, closer, wait);
  neap__io *io = &c->process->io;
  int status = wait->status;
  neap__io_release(io);
  neap__alloc(io->rt, c, sizeof *c, 0);
  if (L == NULL || status != UV_ECANCELED) return 0;
  return neap__raise_cancelled(L, neap__rt(L));
}

/* process:close(): closes its streams, ends it and waits for that. A detached one is
 * let go of. Waits. */
static int l_close(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__process *p = self(L);
  lua_settop(L, 1);
  if (p == NULL) return 0;
  close_streams(L, rt);
  if (p->exited) {
    if (p->group && !p->ending) signal_to(p, SIGKILL);
    p->ending = true;
  }
  if (p->exited || p->lost || p->detached) return 0;
  begin_end(p);
  neap__check_place(rt, L, "Process:close");
  neap__io_check_here(L, rt, &p->io);
  closer *c = neap__alloc(rt, NULL, 0, sizeof *c);
  if (c == NULL) return luaL_error(L, "not enough memory");
  *c = (closer){.process = p, .next = p->closers};
  c->wait.abort = close_abort;
  c->wait.finish = close_finish;
  c->wait.name = "Process:close";
  p->closers = c;
  neap__io_hold(&p->io);
  return neap__park(rt, L, &c->wait);
}

/* check_wait(name): raises unless the caller may wait. */
static int l_check_wait(lua_State *L) {
  neap__check_park(neap__rt(L), L, luaL_checkstring(L, 1));
  return 0;
}

/* The loop goes on watching it until it has ended. */
static int l_gc(lua_State *L) {
  neap__io **box = neap__test(L, neap__rt(L), 1, NEAP__K_PROCESS);
  neap__io *io = box != NULL ? *box : NULL;
  if (io == NULL) return 0;
  *box = NULL;
  if (io->open) {
    io->owned = false;
  } else {
    neap__io_disown(io);
  }
  return 0;
}

/* upvalues: runtime, the methods. process.pid, process.stdin, or a method. */
static int l_index(lua_State *L) {
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL) return 1;
  neap__process *p = self(L);
  if (lua_type(L, 2) != LUA_TSTRING || p == NULL) return 1;
  if (lua_getiuservalue(L, 1, 1) != LUA_TTABLE) return 1;
  lua_pushvalue(L, 2);
  lua_rawget(L, -2);
  return 1;
}

static void push_process(lua_State *L, const neap__process *p) {
  char buffer[32];
  if (p == NULL) {
    lua_pushliteral(L, "<Process>");
  } else if (p->exited && p->signal != 0) {
    lua_pushfstring(L, "<Process %d ended by %s>", p->pid,
                    neap__signal_name(p->signal, buffer, sizeof buffer));
  } else if (p->exited) {
    lua_pushfstring(L, "<Process %d exited %d>", p->pid, p->code);
  } else {
    lua_pushfstring(L, "<Process %d %s>", p->pid,
                    p->lost     ? "lost"
                    : p->ending ? "ending"
                                : "running");
  }
}

static int l_tostring(lua_State *L) {
  push_process(L, self(L));
  return 1;
}

static void tell(lua_State *L, const void *object) {
  push_process(L, object);
}

int neap__open_process(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"wait", l_wait},
      {"kill", l_kill},
      {"is_running", l_is_running},
      {"close", l_close},
      {"__close", l_close},
      {"__gc", l_gc},
      {"__tostring", l_tostring},
      {NULL, NULL},
  };
  static const luaL_Reg functions[] = {
      {"spawn", neap__l_process_spawn},
      {"descriptor", neap__l_process_descriptor},
      {"check_wait", l_check_wait},
      {"environment", neap__l_process_environment},
      {NULL, NULL},
  };
  static const neap__teller teller = {.push = tell};
  neap_runtime *rt = neap_of(L);
  neap__stream_open(L, rt);
  neap__new_class(L, rt, NEAP__K_PROCESS, "neap.Process", methods);
  neap__push_self(L, rt);
  lua_pushvalue(L, -2);
  lua_pushcclosure(L, l_index, 2);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  neap__set_teller(rt, NEAP__K_PROCESS, &teller);
  lua_createtable(L, 0, 4);
  neap__set_funcs(L, rt, functions);
  return 1;
}
