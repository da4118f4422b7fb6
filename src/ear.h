/* SPDX-License-Identifier: MIT
 *
 * ear.h - signals of the process: their names, and who hears them.
 *
 * A loop has one handle of libuv for each signal that is asked for on it. It serves the
 * callback of loop:add_signal_handler and any number of ears. The handle keeps the loop
 * going only while an ear is held.
 */
#ifndef NEAP_EAR_H
#define NEAP_EAR_H

#include "internal.h"

/* Hears a signal on a loop. The memory is its owner's. */
typedef struct neap__ear neap__ear;
struct neap__ear {
  neap__ear *next;      /* of the signal */
  neap__signal *signal; /* NULL: hears nothing */
  int number;
  unsigned holds;
  void (*heard)(neap__ear *ear);   /* runs no Lua */
  void (*closing)(neap__ear *ear); /* its loop is being closed; the same */
};

/* Raises: SIGKILL and SIGSTOP cannot be caught. [-0, +0, v] */
int neap__signal_uncatchable(lua_State *L, int arg, int number);
/* Fields of the table on top: SIGTERM = 15 and so on. [-0, +0, m] */
void neap__signal_set_numbers(lua_State *L);

/* Starts to hear ear->number on the loop. 0 or a UV_E* code. */
int neap__signal_hear(neap__loop *loop, neap__ear *ear);
/* The end of that; for any ear. */
void neap__signal_unhear(neap__ear *ear);
/* Somebody waits for it: the loop stays alive. */
void neap__signal_hold(neap__ear *ear, bool hold);
/* Whether a handle of libuv is that of a handler, which tells of it. */
bool neap__signal_is_handler(const neap__loop *loop, const uv_handle_t *uv);

#endif
