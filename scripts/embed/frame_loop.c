/* frame_loop.c - a game that gives its scripts one turn a frame.
 *
 * Each character is a task. A script waits for the next frame with next_frame(), an
 * awaitable of the game's own, or for seconds with neap.sleep. The game stays master
 * of its loop: neap_step runs what is ready and comes back.
 */
#include <neap.h>

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

enum { FRAMES = 8, WAITING_MAX = 64 };

typedef struct game {
  int frame;
  neap_wait *waiting[WAITING_MAX]; /* for the next frame */
  int nwaiting;
} game;

static const char script[] =
    "local neap = require 'neap'\n"
    "local door = neap.Event()\n"
    "local function frames(n) for _ = 1, n do next_frame() end end\n"
    "neap.create_task(function()\n"
    "  for step = 1, 3 do frames(1) say('guard', 'step ' .. step) end\n"
    "  say('guard', 'opens the door') door:set()\n"
    "end)\n"
    "neap.create_task(function()\n"
    "  door:wait() say('hero', 'slips through')\n"
    "  frames(2) say('hero', 'is outside')\n"
    "end)\n"
    "neap.create_task(function()\n"
    "  local _ <close> = setmetatable({}, {__close = function()\n"
    "    say('bird', 'flies away')\n"
    "  end})\n"
    "  while true do frames(4) say('bird', 'sings') end\n"
    "end)\n";

static game *the_game(lua_State *L) {
  return lua_touserdata(L, lua_upvalueindex(1));
}

/* say(who, what) */
static int l_say(lua_State *L) {
  printf("frame %d: the %s %s\n", the_game(L)->frame, luaL_checkstring(L, 1),
         luaL_checkstring(L, 2));
  return 0;
}

/* ---- next_frame: an awaitable ---------------------------------------------------- */

typedef struct frame_op {
  neap_wait wait;
  game *game;
} frame_op;

/* The task is cancelled: it waits no longer, and nobody will wake it. */
static neap_aborted frame_abort(neap_wait *wait) {
  game *g = ((frame_op *)wait)->game;
  for (int i = 0; i < g->nwaiting; i++)
    if (g->waiting[i] == wait) g->waiting[i] = NULL;
  return NEAP_ABORT_DONE;
}

/* Back in the task: releases the operation, then gives the result. */
static int frame_finish(lua_State *L, neap_wait *wait) {
  int status = wait->status;
  int frame = ((frame_op *)wait)->game->frame;
  free(wait);
  if (L == NULL) return 0;
  if (status < 0) return neap_fail(L, status, "next_frame");
  lua_pushinteger(L, frame);
  return 1;
}

/* next_frame() -> its number. Waits. */
static int l_next_frame(lua_State *L) {
  game *g = the_game(L);
  neap_check_park(L, "next_frame"); /* what may raise comes first */
  if (g->nwaiting == WAITING_MAX) return luaL_error(L, "too many characters");
  frame_op *op = calloc(1, sizeof *op);
  if (op == NULL) return luaL_error(L, "not enough memory");
  op->wait.abort = frame_abort;
  op->wait.finish = frame_finish;
  op->wait.name = "next_frame";
  op->game = g;
  g->waiting[g->nwaiting++] = &op->wait;
  return neap_park(L, &op->wait);
}

static void wake_all(game *g) {
  int n = g->nwaiting;
  g->nwaiting = 0;
  for (int i = 0; i < n; i++)
    if (g->waiting[i] != NULL) neap_wake(g->waiting[i], 0);
}

/* ---- the game ---------------------------------------------------------------------- */

static void add_function(lua_State *L, game *g, const char *name,
                         lua_CFunction function) {
  lua_pushlightuserdata(L, g);
  lua_pushcclosure(L, function, 1);
  lua_setglobal(L, name);
}

int main(void) {
  game g = {.frame = 0};
  int error;
  neap_runtime *rt = neap_new(NULL, &error);
  if (rt == NULL) {
    fprintf(stderr, "cannot start: %s\n", uv_strerror(error));
    return EXIT_FAILURE;
  }
  add_function(neap_lua(rt), &g, "say", l_say);
  add_function(neap_lua(rt), &g, "next_frame", l_next_frame);
  if (neap_dostring(rt, script, "=script") != LUA_OK) {
    fprintf(stderr, "%s\n", neap_report(rt));
    neap_free(rt);
    return EXIT_FAILURE;
  }
  for (g.frame = 0; g.frame < FRAMES; g.frame++) {
    wake_all(&g);
    neap_step(rt, 0); /* the scripts' part of the frame */
    while (neap_timeout(rt) == 0)
      neap_step(rt, 0); /* what they woke */
    /* ... and here the game would draw. */
  }
  neap_free(rt); /* who is still at it is cancelled, in order */
  return EXIT_SUCCESS;
}
