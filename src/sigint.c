/* SPDX-License-Identifier: MIT
 *
 * sigint.c - Ctrl-C where neap is a module of somebody else's host (stock lua5.4):
 * while a loop runs, SIGINT interrupts the root's wait; outside, the host's own
 * handler is in place. The disposition of a signal is the process's, so one runtime
 * at a time has it: the one variable of the library that is not in a runtime.
 */
#include "internal.h"

#include <signal.h>

static _Atomic(neap_runtime *) owner; /* NOLINT */

static void on_sigint(int number) {
  neap_runtime *rt = atomic_load(&owner);
  if (rt == NULL) return;
  if (!pthread_equal(pthread_self(), rt->thread)) {
    pthread_kill(rt->thread, number);
    return;
  }
  signal(number, SIG_DFL); /* a second one ends the process */
  neap_interrupt(rt, number, true);
}

void neap__sigint_catch(neap_runtime *rt) {
  struct sigaction action = {.sa_handler = on_sigint};
  neap_runtime *nobody = NULL;
  rt->thread = pthread_self();
  if (neap__signal_taken(rt, SIGINT)) return; /* a handler of the program's */
  if (!atomic_compare_exchange_strong(&owner, &nobody, rt)) return;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, &rt->host_sigint);
  if (rt->host_sigint.sa_handler == SIG_IGN) neap__sigint_release(rt);
}

void neap__sigint_release(neap_runtime *rt) {
  if (atomic_load(&owner) != rt) return;
  sigaction(SIGINT, &rt->host_sigint, NULL);
  atomic_store(&owner, NULL);
}
