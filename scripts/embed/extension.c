/* extension.c - a Lua module in C whose functions wait, for `require "extension"`.
 *
 * after(seconds, ...) shows an awaitable over a libuv handle, checksum(text, rounds)
 * work for the thread pool. Both can be cancelled at any moment. A host would register
 * the module with luaL_requiref(L, "extension", luaopen_extension, 0).
 */
#include <neap.h>

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- after ----------------------------------------------------------------------- */

/* One wait. libuv holds the timer until on_closed, the only place that frees it. */
typedef struct after_op {
  uv_timer_t timer;
  neap_wait wait;
} after_op;

static after_op *after_of(neap_wait *wait) {
  return (after_op *)(void *)((char *)wait - offsetof(after_op, wait));
}

static void on_closed(uv_handle_t *handle) {
  free(handle->data);
}

/* Callbacks of libuv's run no Lua: they say that the wait is over. */
static void on_timer(uv_timer_t *timer) {
  neap_wake(&((after_op *)timer->data)->wait, 0);
}

/* The task is cancelled. After this nothing calls neap_wake any more. */
static neap_aborted after_abort(neap_wait *wait) {
  uv_timer_stop(&after_of(wait)->timer);
  return NEAP_ABORT_DONE;
}

/* Runs in the task, woken or cancelled: releases first, then returns or raises. */
static int after_finish(lua_State *L, neap_wait *wait) {
  after_op *op = after_of(wait);
  int status = wait->status;
  uv_close((uv_handle_t *)&op->timer, on_closed);
  if (L == NULL) return 0; /* the task was closed by force */
  if (status < 0) return neap_fail(L, status, "after");
  return lua_gettop(L) - 1; /* the arguments are still here */
}

/* after(seconds, ...) -> ... Waits. */
static int l_after(lua_State *L) {
  lua_Number seconds = luaL_checknumber(L, 1);
  luaL_argcheck(L, seconds >= 0 && seconds <= 1e9, 1, "0 to 1e9 expected");
  neap_check_park(L, "extension.after"); /* the last thing that may raise */

  after_op *op = calloc(1, sizeof *op);
  if (op == NULL) return luaL_error(L, "not enough memory");
  op->wait.abort = after_abort;
  op->wait.finish = after_finish;
  op->wait.name = "extension.after";
  op->timer.data = op;
  uv_timer_init(neap_loop(neap_of(L)), &op->timer);
  uv_timer_start(&op->timer, on_timer, (uint64_t)ceil(seconds * 1000), 0);
  return neap_park(L, &op->wait);
}

/* ---- checksum -------------------------------------------------------------------- */

/* The thread has a copy of the text: the string may be collected meanwhile. */
typedef struct sum_work {
  neap_work work;
  lua_Integer rounds;
  uint32_t sum;
  size_t length;
  unsigned char text[];
} sum_work;

/* On a thread of the pool: no Lua. */
static void sum_run(neap_work *work) {
  sum_work *w = (sum_work *)work;
  uint32_t sum = 2166136261u; /* FNV-1a */
  for (lua_Integer round = 0; round < w->rounds; round++)
    for (size_t i = 0; i < w->length; i++)
      sum = (sum ^ w->text[i]) * 16777619u;
  w->sum = sum;
}

static int sum_finish(lua_State *L, neap_work *work, int status) {
  uint32_t sum = ((sum_work *)work)->sum;
  free(work);
  if (L == NULL) return 0;
  if (status < 0) return neap_fail(L, status, "checksum");
  lua_pushinteger(L, sum);
  return 1;
}

/* checksum(text, rounds) -> integer. Waits. */
static int l_checksum(lua_State *L) {
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  lua_Integer rounds = luaL_optinteger(L, 2, 1);
  neap_check_park(L, "extension.checksum");

  sum_work *w = malloc(sizeof *w + length);
  if (w == NULL) return luaL_error(L, "not enough memory");
  memset(w, 0, sizeof *w);
  w->work.run = sum_run;
  w->work.finish = sum_finish;
  w->rounds = rounds;
  w->length = length;
  memcpy(w->text, text, length);
  return neap_offload(L, &w->work, "extension.checksum");
}

int luaopen_extension(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"after", l_after},
      {"checksum", l_checksum},
      {NULL, NULL},
  };
  /* In stock lua5.4 this is what starts neap. */
  lua_getglobal(L, "require");
  lua_pushliteral(L, "neap");
  lua_call(L, 1, 0);
  luaL_newlib(L, functions);
  return 1;
}
