/* SPDX-License-Identifier: MIT
 *
 * process.h - what the two files about child processes share.
 *
 * A child is watched by its loop until it has ended, whoever still has its object: only
 * so is it reaped. What is closed with the object are the streams.
 */
#ifndef NEAP_PROCESS_H
#define NEAP_PROCESS_H

#include "io.h"

struct neap__closer;

typedef struct neap__process {
  neap__io io;
  uv_process_t uv;
  neap__waitq waiters;
  struct neap__closer *closers; /* wait for the end that they asked for */
  uv_timer_t *patience; /* until it is killed: children live in real time */
  double grace;         /* seconds from SIGTERM to SIGKILL */
  int pid;
  int code;   /* once it has ended: its exit code, */
  int signal; /* or the signal that ended it; 0: none */
  bool exited;
  bool ending;   /* close() was called */
  bool lost;     /* its loop was closed, nobody knows more of it */
  bool group;    /* signals are for its process group */
  bool detached; /* is not ended with its object or loop */
} neap__process;

/* libuv's callback. */
void neap__process_on_exit(uv_process_t *uv, int64_t code, int number);
/* For io->closing. */
void neap__process_closing(neap__io *io);
/* Reaps those that outlived their loop and have ended meanwhile. */
void neap__strays_reap(neap_runtime *rt);

/* child.c: starting one.
 * spawn(argv, env, cwd, flags, stdin, stdout, stderr, grace) -> process; or nil, err */
int neap__l_process_spawn(lua_State *L);
/* descriptor(object) -> the descriptor of a file or a stream, and whether a
 * child takes it over; nil and why not; or nothing for other objects. */
int neap__l_process_descriptor(lua_State *L);
/* environment() -> the variables of this process, a list of "NAME=value". */
int neap__l_process_environment(lua_State *L);

#endif
