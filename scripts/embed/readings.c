/* readings.c - a thread of the program's that feeds tasks.
 *
 * The thread stands for a device or a library with threads of its own. What it has to
 * tell it posts with neap_call_threadsafe: the runtime's thread takes it from there, in
 * order, and puts it into a queue that a task reads. A handle keeps the loop going for
 * as long as the thread may have something to say.
 */
#include <neap.h>

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct device {
  neap_runtime *rt;
  uv_async_t open; /* never sent: it is there, so the loop goes on */
} device;

typedef struct reading {
  device *from;
  double value;
  bool last;
} reading;

static const char script[] =
    "local neap = require 'neap'\n"
    "local readings = neap.Queue()\n"
    "function on_reading(value) readings:put_nowait(value) end\n"
    "function on_closed() readings:shutdown() end\n"
    "neap.create_task(function()\n"
    "  local sum, n = 0, 0\n"
    "  for value in readings:iter() do\n"
    "    sum, n = sum + value, n + 1\n"
    "    print('reading', value, 'mean', sum / n)\n"
    "  end\n"
    "  print 'the device is closed'\n"
    "end)\n";

/* ---- in the runtime's thread --------------------------------------------------------- */

/* The call: a loop callback, with what was posted as its argument. */
static int l_deliver(lua_State *L) {
  reading *r = lua_touserdata(L, 1);
  reading copy = *r;
  free(r); /* before anything may raise */
  if (copy.last) {
    uv_close((uv_handle_t *)&copy.from->open, NULL);
    lua_getglobal(L, "on_closed");
    lua_call(L, 0, 0);
    return 0;
  }
  lua_getglobal(L, "on_reading");
  lua_pushnumber(L, copy.value);
  lua_call(L, 1, 0);
  return 0;
}

/* ---- in the device's thread ------------------------------------------------------------ */

static void post(device *d, double value, bool last) {
  reading *r = malloc(sizeof *r);
  if (r == NULL) abort();
  *r = (reading){d, value, last};
  if (neap_call_threadsafe(d->rt, l_deliver, r) < 0) free(r); /* not called */
}

static void on_thread(void *arg) {
  for (int i = 1; i <= 4; i++) {
    uv_sleep(2);
    post(arg, i * i, false);
  }
  post(arg, 0, true);
}

int main(void) {
  device d = {.rt = neap_new(NULL, NULL)};
  uv_thread_t thread;
  if (d.rt == NULL) return 1;
  if (neap_dostring(d.rt, script, "=readings") != LUA_OK) {
    fprintf(stderr, "%s\n", neap_report(d.rt));
    return 1;
  }
  uv_async_init(neap_loop(d.rt), &d.open, NULL);
  if (uv_thread_create(&thread, on_thread, &d) < 0) return 1;
  int status = neap_run(d.rt);
  uv_thread_join(&thread); /* it posts no more: the runtime may go */
  neap_free(d.rt);
  return status == 0 ? 0 : 1;
}
