/* SPDX-License-Identifier: MIT
 *
 * tty.h - what the files of the module "neap.core.tty" share.
 */
#ifndef NEAP_TTY_H
#define NEAP_TTY_H

#include "internal.h"

/* The descriptor that argument `arg` names: a number, a Stream, or a file of Lua's; none:
 * the first of 0, 1, 2 that is a terminal, or -1. Raises for others. [-0, +0, v] */
int neap__tty_fd(lua_State *L, int arg);
/* A descriptor of our own for the same open file, not inherited. -1: errno. */
int neap__tty_dup(int fd);

/* ttymode.c: functions of the module, and the class of its guards. */
extern const luaL_Reg neap__tty_mode_functions[];
void neap__tty_mode_open(lua_State *L, neap_runtime *rt);

#endif
