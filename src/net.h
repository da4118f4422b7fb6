/* SPDX-License-Identifier: MIT
 *
 * net.h - what net.c and listener.c share.
 */
#ifndef NEAP_NET_H
#define NEAP_NET_H

#include "address.h"
#include "io.h"

/* Descriptor of a new socket that does not block and is not inherited, or a UV_E*
 * code. */
int neap__socket(int family);
/* An integer option of a socket; 0 or a UV_E* code. */
int neap__socket_option(int fd, int level, int name, int value);
/* A peer that is silent for so many seconds is asked for a sign of life; it is given up
 * after about as long again. 0: it is not asked. */
int neap__socket_keepalive(int fd, int seconds);

/* listener.c: adds its functions to the table on top. [-0, +0, m] */
void neap__listener_open(lua_State *L, neap_runtime *rt);

#endif
