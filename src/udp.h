/* SPDX-License-Identifier: MIT
 *
 * udp.h - what udp.c and udpopt.c share.
 */
#ifndef NEAP_UDP_H
#define NEAP_UDP_H

#include "address.h"
#include "io.h"

typedef struct neap__packet neap__packet;

typedef struct neap__udp {
  neap__io io;
  uv_udp_t uv;
  neap__packet *first, *last;
  size_t bytes, limit;
  neap__waitq receivers;
  lua_Integer missed; /* datagrams for which there was no memory */
  unsigned burst;
  unsigned serial; /* of what is first */
  int family;
  bool connected, receiving;
  bool asked; /* somebody wants to receive */
} neap__udp;

/* A socket without address or owner. NULL, and a UV_E* code in *status. */
neap__udp *neap__udp_new(neap__loop *loop, int family, int *status);
/* The socket at index 1, which is open; raises. `name`: the function. [-0, +0, v] */
neap__udp *neap__udp_check(lua_State *L, const char *name);
/* An address of IPv4 as a socket of IPv6 has it. */
void neap__udp_map(struct sockaddr_storage *address);
/* Pushes host, port, family, one of IPv4 as such, and returns 3. [-0, +3, m] */
int neap__udp_push_address(lua_State *L,
                           const struct sockaddr_storage *address);

/* udpopt.c: open(opts), and methods */
int neap__udp_open(lua_State *L);
extern const luaL_Reg neap__udp_option_methods[];

#endif
