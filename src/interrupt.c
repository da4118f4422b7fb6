/* SPDX-License-Identifier: MIT
 *
 * interrupt.c - interrupting Lua code that does not wait, in another thread.
 *
 * A debug hook can be set by a signal handler of the very thread that runs the code, so
 * that is what happens: the thread gets a signal, whose handler asks its runtime. SIGURG
 * does nothing by default, and nobody is surprised by one too many.
 */
#include "thread.h"

#include <errno.h>
#include <string.h>

#define SIGNAL SIGURG

typedef void signal_handler(int number);
typedef void info_handler(int number, siginfo_t *info, void *context);

/* A signal handler is given no argument of its own. */
__attribute__((tls_model("initial-exec"))) /* nothing is made in the handler */
static _Thread_local neap_runtime *volatile here; /* NOLINT */
static uv_once_t once = UV_ONCE_INIT;             /* NOLINT */
/* Whose signal it is when it was not sent by us; one of them, or neither. */
static struct {
  _Atomic(signal_handler *) plain;
  _Atomic(info_handler *) info;
} previous; /* NOLINT */

static void on_signal(int number, siginfo_t *info, void *context) {
  int saved = errno;
  neap_runtime *rt = here;
  signal_handler *plain = atomic_load(&previous.plain);
  info_handler *with_info = atomic_load(&previous.info);
  if (rt != NULL && atomic_load(&rt->insisted) > 0) {
    neap_interrupt(rt, SIGTERM, true);
  } else if (with_info != NULL) {
    with_info(number, info, context);
  } else if (plain != NULL) {
    plain(number);
  }
  errno = saved;
}

/* Somebody may have taken the signal meanwhile: he gets what is his. */
static void install(void) {
  struct sigaction action, other;
  if (sigaction(SIGNAL, NULL, &other) == 0 && (other.sa_flags & SA_SIGINFO) &&
      other.sa_sigaction == on_signal)
    return;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_signal;
  /* Without SA_RESTART: a system call that waits is to come back. */
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  if (sigaction(SIGNAL, &action, &other) < 0) return;
  if (other.sa_flags & SA_SIGINFO) {
    if (other.sa_sigaction == on_signal) return;
    atomic_store(&previous.info, other.sa_sigaction);
  } else {
    bool none = other.sa_handler == SIG_DFL || other.sa_handler == SIG_IGN;
    atomic_store(&previous.info, (info_handler *)NULL);
    atomic_store(&previous.plain, none ? NULL : other.sa_handler);
  }
}

void neap__interruptible(neap_runtime *rt) {
  uv_once(&once, install);
  here = rt;
}

void neap__interrupt_thread(uv_thread_t id) {
  install();
  pthread_kill(id, SIGNAL);
}
