/* SPDX-License-Identifier: MIT
 *
 * neap.h - the public interface of libneap: asyncio for Lua 5.4 on libuv.
 *
 * Five sections: version and types, life cycle, running, tasks from C, and
 * extension (awaitable operations of your own). docs/EMBEDDING.md is the guide.
 *
 * Conventions, valid for every function unless its comment says otherwise:
 *   - A function that can fail returns 0 or more for success and a negative
 *     UV_E* code (uv.h) for failure; a bool answers a question.
 *   - Times are seconds. Strings that go in are copied, strings that come out
 *     live until the next call of the same function on the same runtime.
 *   - Functions are called from the thread that runs the runtime. Those that may
 *     be called from any thread, or from a signal handler, say so.
 *   - "waits" marks functions that suspend the calling Lua task; "raises" those
 *     that may leave by a Lua error (a jump), and therefore must be called from a
 *     C function that Lua called. The rest never raise.
 *   - The library never exits, never prints and never aborts when memory runs out.
 */
#ifndef NEAP_H
#define NEAP_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lua.h>
#include <uv.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define NEAP_API extern __attribute__((visibility("default")))
#else
#define NEAP_API extern
#endif

/* ---- 1. version and types ----------------------------------------------- */

#define NEAP_VERSION "0.1.0"

/* The version of the library that is linked, e.g. "0.1.0". Any thread. */
NEAP_API const char *neap_version(void);

/* One Lua state with its loop and tasks. Used by one thread at a time. */
typedef struct neap_runtime neap_runtime;

/* A task. C holds one through neap_spawn; it stays valid until neap_release. */
typedef struct neap_task neap_task;

/* What a finished task left behind; see neap_done. */
typedef enum neap_outcome {
  NEAP_RETURNED,  /* results are on the stack */
  NEAP_RAISED,    /* one value is on the stack: the error */
  NEAP_CANCELLED, /* one value is on the stack: the CancelledError */
} neap_outcome;

/* Where a line of text for the developer goes (reports of lost errors, warnings).
 * Must not call into the runtime. */
typedef void (*neap_log)(void *ud, const char *text, size_t length);

/* An error that nobody looked at, or one raised by a loop callback, that no
 * exception handler set from Lua took. `message` is a line such as "Task exception
 * was never retrieved"; `report` is the whole text with its traceback. Must not
 * raise. Without this hook the report goes to the log hook. */
typedef void (*neap_unhandled)(void *ud, const char *message,
                               const char *report);

/* ---- 2. life cycle ------------------------------------------------------- */

enum {
  /* Open none of Lua's standard libraries (a lent state has its own). The module
     is there all the same: luaL_requiref(L, "neap", luaopen_neap, 1). */
  NEAP_NO_LIBS = 1,
  /* Take no paths from the environment (LUA_PATH and its kin), as `lua -E`. */
  NEAP_NO_ENV = 2,
};

/* How a runtime is made. Set `size` to sizeof(neap_config), zero the rest, and
 * fill in what matters: a zero means the default. */
typedef struct neap_config {
  /* sizeof(neap_config), so that the struct may grow. */
  size_t size;
  /* Allocator of the Lua state and of neap's own blocks, and its first argument.
   * NULL: one of neap's own, for many small blocks. Ignored with a lent L. */
  lua_Alloc alloc;
  void *alloc_ud;
  /* Bytes; 0: none. Past it allocation fails, which is the Lua error "not enough
   * memory". Ignored with a lent L. */
  size_t memory_limit;
  /* A lent loop; NULL: the runtime makes its own. Left as found: its other handles
   * are never touched. */
  uv_loop_t *loop;
  /* A lent state (its main thread); NULL: makes its own. Must outlive the runtime,
   * and can be lent only once: what Lua code has kept of neap stays in it. */
  lua_State *L;
  /* NULL: reports are dropped. */
  neap_log log;
  /* NULL: reports go to `log`. */
  neap_unhandled unhandled;
  /* First argument of `log`, `unhandled` and `exit`. */
  void *ud;
  /* package.path and package.cpath; NULL: Lua's defaults. */
  const char *lua_path;
  const char *lua_cpath;
  /* Seconds that cancelled tasks get to end at shutdown; 0: 10 s. */
  double grace;
  /* NEAP_NO_LIBS, NEAP_NO_ENV. */
  unsigned flags;
  /* The root caught the SystemExit of neap_exit or SIGTERM by a pcall and waits
   * again: called there, at its wait. A host ends the process here (neap_free works).
   * NULL, or when it returns: SystemExit is raised again. */
  void (*exit)(void *ud);
} neap_config;

/* Makes a runtime. `config` may be NULL. On failure returns NULL and stores the
 * UV_E* code in *error where `error` is not NULL (UV_ENOMEM, UV_EINVAL for a
 * config of an unknown size, or what uv_loop_init said). */
NEAP_API neap_runtime *neap_new(const neap_config *config, int *error);

/* Ends everything that runs, in one order: cancels all tasks, runs turns until
 * they have ended (or the grace period is over), closes the coroutines that are
 * left, closes all handles. Threads that still hold a wait (neap_arm_threadsafe) or
 * work of the pool are waited for. Lua stays usable for plain code; a second call does
 * nothing. Returns the number of tasks that had to be closed by force. Runs Lua.
 * Not from inside a task or a loop callback (UV_EBUSY). */
NEAP_API int neap_shutdown(neap_runtime *rt);

/* neap_shutdown, then closes the Lua state (unless it was lent) and the loop
 * (unless it was lent) and frees the runtime. NULL is ignored. */
NEAP_API void neap_free(neap_runtime *rt);

/* The runtime's main Lua thread. Code run on it is the root: it may await, and
 * awaiting there runs the loop in place. */
NEAP_API lua_State *neap_lua(neap_runtime *rt);

/* The runtime that a Lua state belongs to, or NULL where there is none. */
NEAP_API neap_runtime *neap_of(lua_State *L);

/* The libuv loop that operations of this moment belong to: that of the running
 * (or else the current) loop object. Register handles here, close them in the
 * `finish` or `abort` of their wait. */
NEAP_API uv_loop_t *neap_loop(neap_runtime *rt);

/* ---- 3. running ---------------------------------------------------------- */

/* lua_pcall for the root, with a traceback: calls the function below its `nargs`
 * arguments on the stack of neap_lua(rt). Returns LUA_OK with `nresults` results
 * on the stack, or another LUA_* status with the error value on the stack (its
 * report: neap_report). Awaits inside run the loop. */
NEAP_API int neap_call(neap_runtime *rt, int nargs, int nresults);

/* Loads and calls a file (NULL: standard input), or a string. Same results as
 * neap_call with 0 results; a syntax error is LUA_ERRSYNTAX, a file that cannot be
 * read LUA_ERRFILE (lauxlib.h). */
NEAP_API int neap_dofile(neap_runtime *rt, const char *path);
NEAP_API int neap_dostring(neap_runtime *rt, const char *code,
                           const char *chunkname);

/* The text for the error value on top of the stack of neap_lua(rt): its message,
 * the traceback that belongs to it, and those of the tasks it came through. */
NEAP_API const char *neap_report(neap_runtime *rt);

/* Tasks remain, and nothing can wake them. */
#define NEAP_EDEADLK (-EDEADLK)

/* Runs turns until nothing is left that could still happen: no ready task, no
 * deadline, no active handle. Returns 0; UV_EINTR after neap_stop or
 * neap_interrupt; NEAP_EDEADLK when tasks remain that nothing can wake (each is
 * reported). Not from inside a task or a loop callback (UV_EBUSY). */
NEAP_API int neap_run(neap_runtime *rt);

/* One turn: runs what is ready, then waits for events at most `timeout` seconds
 * (0: just looks; negative: until there are some); where nothing is left to wait for
 * it returns at once. Returns the number of tasks, deadlines and operations that are
 * still pending; UV_EINTR after neap_interrupt or neap_exit; UV_EBUSY as neap_run. */
NEAP_API int neap_step(neap_runtime *rt, double timeout);

/* For foreign event loops: a descriptor that is readable when neap_step has
 * something to do, and the seconds after which it has in any case (0: at once,
 * negative: no limit). Ask again after each neap_step. */
NEAP_API int neap_backend_fd(neap_runtime *rt);
NEAP_API double neap_timeout(neap_runtime *rt);

/* Makes neap_run return UV_EINTR after its present turn. Any thread. */
NEAP_API void neap_stop(neap_runtime *rt);

/* Has the runtime call `function` with `ud`, as a light userdata, as its only argument.
 * Any thread, until neap_free begins; not from a signal handler. The call is made as a
 * loop callback, at the beginning of a turn of whichever loop runs, or of the next one
 * that does: neap_run, neap_step, an await of the root, and a uv_run of a lent loop are
 * all woken for it. Calls are made in the order in which they were posted. `function`
 * must not wait; an error that it raises is reported ("Exception in callback").
 *
 * Returns 0, and then the call is made once, whatever happens: neap_run does not end
 * before, and neap_shutdown makes what is left. Until the last task has ended there it
 * takes calls; then it returns UV_ECANCELED, and `function` will not be called, nor is it
 * after UV_ENOMEM. That calls may still come keeps no loop going, nor, as long as it is
 * not in uv_run, does a pending one a lent loop: keep a handle or neap_arm_threadsafe. */
NEAP_API int neap_call_threadsafe(neap_runtime *rt, lua_CFunction function,
                                  void *ud);

/* Interrupts the program as Ctrl-C does: KeyboardInterrupt (`signal` SIGINT) or
 * SystemExit is raised at the root's wait, or, where Lua code is busy, in it. Any
 * thread; may be called from a signal handler, but only of the runtime's own
 * thread where `busy` is true (it then sets a debug hook to stop busy code). */
NEAP_API void neap_interrupt(neap_runtime *rt, int signal, bool busy);

/* The task tree of all loops, for the developer: a text of many lines, each task with
 * its state, what it waits for and since when, where it was created, and its stack.
 * From inside a task too. Runs no Lua code of the program's. */
NEAP_API const char *neap_dump(neap_runtime *rt);

/* Asks for that text to be given to the log hook: when the loop looks for events the
 * next time (at once where it is waiting for some, after microseconds where tasks
 * keep it busy), or, where `busy` is true, from a debug hook in the Lua code that is
 * busy. Any thread; may be called from a signal handler, but only of the runtime's own
 * thread, and only with `busy` true. Nothing of the program notices, but for a debug
 * hook of its own, which misses an event. Requests that were not served yet are one. */
NEAP_API void neap_request_dump(neap_runtime *rt, bool busy);

/* os.exit for hosts, when called inside a task or a loop callback (elsewhere returns
 * UV_EINVAL: just neap_free and exit): interrupts the root with SystemExit, so that
 * neap_call and neap_run end, and never returns to its caller: a task stays
 * suspended until it is cancelled by the shutdown; where it cannot wait SystemExit is
 * raised. Keeping the exit code is the host's business. Waits, raises. */
NEAP_API int neap_exit(lua_State *L);

/* Whether errors were reported that nobody looked at (the host exits with 1). */
NEAP_API bool neap_had_unhandled(neap_runtime *rt);

/* ---- 4. tasks from C ----------------------------------------------------- */

/* Called in the turn in which the task ends, with its results (NEAP_RETURNED) or its
 * error on the stack of L, which the callee leaves as it likes. It counts as the
 * one who looked at the error. Must not wait; may raise (reported). Called exactly once,
 * except for a task that neap_shutdown had to close by force: then not at all. */
typedef void (*neap_done)(neap_task *task, lua_State *L, neap_outcome outcome,
                          int nresults, void *ud);

/* Makes a task of the function below its `nargs` arguments on the stack of L (any
 * thread of the runtime's state) and pops them. It starts in the next turn. `done`
 * may be NULL. Returns a reference to give back with neap_release, or NULL when
 * memory ran out or the runtime is shut down (the values are popped all the same). */
NEAP_API neap_task *neap_spawn(neap_runtime *rt, lua_State *L, int nargs,
                               neap_done done, void *ud);

/* task:cancel(message); `message` may be NULL. Returns false when it had ended. */
NEAP_API bool neap_cancel(neap_task *task, const char *message);

/* Whether the task has ended. */
NEAP_API bool neap_is_done(const neap_task *task);

/* Pushes the Task object. [-0, +1, -] */
NEAP_API void neap_push_task(lua_State *L, neap_task *task);

/* Gives back the reference that neap_spawn made. The task goes on. */
NEAP_API void neap_release(neap_task *task);

/* task:await() as the last thing a C function does: `return neap_wait_task(L, 1);`
 * with a Task or Future at `index`. Waits, raises. */
NEAP_API int neap_wait_task(lua_State *L, int index);

/* ---- 5. extension: awaitable operations ---------------------------------- */

typedef struct neap_wait neap_wait;

/* What an abort function answers. */
typedef enum neap_aborted {
  NEAP_ABORT_DONE,    /* the operation has stopped, and nothing will wake it */
  NEAP_ABORT_PENDING, /* it is stopping: neap_wake will still be called, once */
} neap_aborted;

/* Stops an operation because its task is cancelled. Runs no Lua. */
typedef neap_aborted (*neap_abort)(neap_wait *wait);

/* Runs in the task again (or, for the root, in place), once, whether the operation
 * was woken or aborted; with L == NULL when the task was closed by force at
 * shutdown, and then it must only release. Releases the operation, pushes the results and returns
 * their number, or raises. wait->status is what neap_wake was given, or UV_ECANCELED.
 * A cancellation that arrives after the wake overrides the status: what the
 * operation had obtained must then be undone here. May raise; must not wait. */
typedef int (*neap_finish)(lua_State *L, neap_wait *wait);

/* One operation that a task waits for. Set abort and finish (and name), zero the
 * rest. The memory is yours; it must stay valid until finish was called. */
struct neap_wait {
  neap_abort abort;
  neap_finish finish;
  const char *name; /* for reports, e.g. "mymodule.read"; a static string */
  int status;
  /* private from here on */
  unsigned flags;
  neap_task *task;
  void *link[4];
};

/* Raises a clear error unless the caller may wait here; `name` is the function
 * that wants to, e.g. "mymodule.read". Call it before anything is started: after
 * it, neap_park does not raise for its place. Raises. */
NEAP_API void neap_check_park(lua_State *L, const char *name);

/* Suspends the calling task until neap_wake: `return neap_park(L, &op->wait);`
 * as the last thing a C function does. Waits, raises. */
NEAP_API int neap_park(lua_State *L, neap_wait *wait);

/* Ends the wait: its task runs again in the next turn. `status` is 0 or more, or a
 * UV_E* code. A wait that is not parked or was woken already is left alone (and a
 * stale call changes nothing), as long as its memory is valid. From libuv
 * callbacks, C code and Lua C functions. */
NEAP_API void neap_wake(neap_wait *wait, int status);

/* Gets a wait ready to be woken from another thread: call it before the other
 * thread may know of the wait. While it is armed, the loop stays alive. */
NEAP_API void neap_arm_threadsafe(neap_runtime *rt, neap_wait *wait);

/* neap_wake from any thread, exactly once for each neap_arm_threadsafe. It keeps
 * the wait in use until its task runs: its abort returns NEAP_ABORT_PENDING. */
NEAP_API void neap_wake_threadsafe(neap_wait *wait, int status);

/* Raises the error for a UV_E* code: CancelledError for UV_ECANCELED, else an
 * OSError with code, message and `op`. For programming errors and cancellation.
 * Raises, always; declared int for `return neap_fail(...)`. */
NEAP_API int neap_fail(lua_State *L, int status, const char *op);

/* Pushes nil and the OSError for a UV_E* code and returns 2: what a C function
 * returns when the world refused. UV_ECANCELED raises, as in neap_fail. Raises. */
NEAP_API int neap_refuse(lua_State *L, int status, const char *op);

/* Work for libuv's thread pool. */
typedef struct neap_work neap_work;
struct neap_work {
  void (*run)(neap_work *work); /* on a pool thread; touches no Lua */
  /* In the task, once `run` has returned, also when the task was cancelled
   * meanwhile (`status` is then UV_ECANCELED; `run` may then not have been called at
   * all): frees the block, pushes results and returns their number, or returns
   * neap_fail(...). With L == NULL (the task was
   * closed by force at shutdown) it must only free. */
  int (*finish)(lua_State *L, neap_work *work, int status);
  /* private from here on */
  neap_wait wait;
  uv_work_t uv;
};

/* Runs `work` on the pool and suspends the task until it is through:
 * `return neap_offload(L, work, "mymodule.hash");`. A cancelled task waits for the
 * thread to let go of `work`. `work` is malloc'd by the caller, after
 * neap_check_park, and belongs to neap until finish. Waits, raises. */
NEAP_API int neap_offload(lua_State *L, neap_work *work, const char *name);

/* The module for stock lua5.4: require "neap". Raises. */
NEAP_API int luaopen_neap(lua_State *L);

#ifdef __cplusplus
}
#endif

#endif
