/* SPDX-License-Identifier: MIT
 *
 * interrupt.c - interrupting Lua code that does not wait, in another thread.
 *
 * A debug hook can be set by a signal handler of the very thread that runs the code, so
 * that is what happens: the thread gets a signal, whose handler asks its runtime. SIGURG
 * does nothing by default, and nobody is surprised by one too many.
 */
#include "thread.h"

#include <string.h>

#define SIGNAL SIGURG

/* A signal handler is given no argument of its own. */
__attribute__((tls_model("initial-exec"))) /* nothing is made in the handler */
static _Thread_local neap_runtime *volatile here; /* NOLINT */
static uv_once_t once = UV_ONCE_INIT;             /* NOLINT */
static struct sigaction previous;                 /* NOLINT */

static void on_signal(int number, siginfo_t *info, void *context) {
  neap_runtime *rt = here;
  if (rt != NULL) {
    neap_interrupt(rt, SIGTERM, true);
  } else if (previous.sa_flags & SA_SIGINFO) {
    previous.sa_sigaction(number, info, context);
  } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    previous.sa_handler(number);
  }
}

static void install(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_signal;
  /* Without SA_RESTART: a system call that waits is to come back. */
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGNAL, &action, &previous);
}

void neap__interruptible(neap_runtime *rt) {
  uv_once(&once, install);
  here = rt;
}

void neap__interrupt_thread(uv_thread_t id) {
  pthread_kill(id, SIGNAL);
}
