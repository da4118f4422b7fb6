/* SPDX-License-Identifier: MIT
 *
 * packet.h - values of Lua as bytes, on the way from one Lua state to another.
 *
 * pack.c writes them, unpack.c reads them, names.c knows what crosses by its name.
 * Between threads a packet may hold references to shared things; for another process
 * there are only the bytes.
 */
#ifndef NEAP_PACKET_H
#define NEAP_PACKET_H

#include "share.h"

#define NEAP__PACKET_SMALL 24

/* A list of values. All zero: an empty one. Belongs to nobody's Lua state: it may be
 * moved by assignment, and is freed once. */
typedef struct neap__packet {
  uint32_t size;  /* bytes; up to NEAP__PACKET_SMALL of them are in `small` */
  uint32_t nrefs; /* then it is not small */
  union {
    unsigned char small[NEAP__PACKET_SMALL];
    struct {
      unsigned char *data;
      neap__shared **refs;
    } big;
  };
} neap__packet;

enum {
  /* For, or from, another process: no references, and functions are sealed. */
  NEAP__FOREIGN = 1,
};

/* Writes the n values from stack index `first` on. When one cannot cross, raises an
 * error whose message begins with where it is: "argument 2.handlers[3]: ..."; `what`
 * is the word for values ("argument"; with n == 1 and a `what` that ends in ':', such
 * as "value:", it stands without a number). *out is written only on success, and has to
 * be freed by the caller. [-0, +0, v] */
void neap__pack(lua_State *L, neap_runtime *rt, int first, int n,
                unsigned flags, const char *what, neap__packet *out);
/* Pushes the values and returns how many there are. Raises for bytes that mean nothing,
 * modules that are not found here, and memory. The packet stays the caller's, who frees
 * it after an error too. [-0, +n, v] */
int neap__unpack(lua_State *L, neap_runtime *rt, const neap__packet *packet,
                 unsigned flags);
/* Lets go of its memory and references, and makes it empty. */
void neap__packet_free(neap__packet *packet);

static inline const unsigned char *
neap__packet_bytes(const neap__packet *packet) {
  return packet->size <= NEAP__PACKET_SMALL && packet->nrefs == 0
             ? packet->small
             : packet->big.data;
}

/* The error at `index` with its traceback (a string, or nil, at `traceback`) as a packet
 * of two values; where the error cannot cross, its text does. Does not raise but for
 * memory. [-0, +0, m] */
void neap__pack_error(lua_State *L, neap_runtime *rt, int index, int traceback,
                      unsigned flags, neap__packet *out);

/* ---- names.c: what crosses by its name -------------------------------------- */

/* Pushes what has that name here; modules are required, which runs Lua code.
 * [-0, +1, v] */
void neap__named(lua_State *L, neap_runtime *rt, const char *name,
                 size_t length);
/* Names have to be looked up anew: something was loaded. */
void neap__names_changed(neap_runtime *rt);

#endif
