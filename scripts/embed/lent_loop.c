/* lent_loop.c - a program that has a libuv loop already, and lets Lua tasks run on it.
 *
 * The program's own timer and the script's tasks share one loop and one thread. The
 * program calls uv_run as it always did; when it frees the runtime, the loop is as it
 * was before.
 */
#include <neap.h>

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

static const char script[] = "local neap = require 'neap'\n"
                             "for _, name in ipairs {'ping', 'pong'} do\n"
                             "  neap.create_task(function()\n"
                             "    neap.sleep(name == 'ping' and 0.02 or 0.06)\n"
                             "    print('script: ' .. name)\n"
                             "  end)\n"
                             "end\n"
                             "function answer(question)\n"
                             "  neap.sleep(0.25)\n"
                             "  return question .. ' 42'\n"
                             "end\n";

/* Reports of errors that nobody handled. */
static void on_log(void *ud, const char *text, size_t length) {
  (void)ud;
  fwrite(text, 1, length, stderr);
}

/* The task that we started has ended: its results are on the stack. */
static void on_answer(neap_task *task, lua_State *L, neap_outcome outcome,
                      int nresults, void *ud) {
  (void)ud;
  if (outcome == NEAP_RETURNED && nresults == 1) {
    printf("host: %s\n", lua_tostring(L, -1));
  } else {
    printf("host: no answer: %s\n", luaL_tolstring(L, -1, NULL));
  }
  neap_release(task);
}

typedef struct host {
  neap_runtime *rt;
  int ticks;
} host;

/* Three ticks, told on stderr; at the second one the script is asked something. */
static void on_tick(uv_timer_t *timer) {
  host *h = timer->data;
  fprintf(stderr, "host: tick %d\n", ++h->ticks);
  if (h->ticks == 2) {
    lua_State *L = neap_lua(h->rt);
    lua_getglobal(L, "answer");
    lua_pushliteral(L, "the answer is");
    if (neap_spawn(h->rt, L, 1, on_answer, NULL) == NULL) abort();
  }
  if (h->ticks == 3) uv_close((uv_handle_t *)timer, NULL);
}

int main(void) {
  uv_loop_t loop;
  uv_timer_t timer;
  int error = uv_loop_init(&loop);
  if (error < 0) return EXIT_FAILURE;

  neap_config config = {.size = sizeof config, .loop = &loop, .log = on_log};
  neap_runtime *rt = neap_new(&config, &error);
  if (rt == NULL) {
    fprintf(stderr, "cannot start: %s\n", uv_strerror(error));
    return EXIT_FAILURE;
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  uv_timer_init(&loop, &timer);
  host h = {.rt = rt};
  timer.data = &h;
  if (neap_dostring(rt, script, "=script") != LUA_OK) {
    fprintf(stderr, "%s\n", neap_report(rt));
    neap_free(rt);
    return EXIT_FAILURE;
  }
  uv_update_time(&loop); /* the script has taken a moment */
  uv_timer_start(&timer, on_tick, 200, 200);
  uv_run(&loop, UV_RUN_DEFAULT); /* until our timer and all tasks are through */
  puts("host: all done");

  neap_free(rt);
  return uv_loop_close(&loop) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
