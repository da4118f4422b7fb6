/* SPDX-License-Identifier: MIT
 *
 * packcode.h - the bytes of a packet, and what pack.c, unpack.c and names.c share.
 *
 * A packet is: the number of values, the number of objects, the values, then what is
 * inside the objects, in the order of their numbers. An object (a table, a Lua function
 * or a long string) is numbered where it is seen first, so that the reader can make it
 * there; from then on it is referred to. Numbers are written 7 bits a byte, the lowest
 * first. A packet for another process begins with "NP" and a version.
 *
 *   inside a table       values of 1, 2, ...; PAIRS and then keys and values, unless
 *                        there are none; END, or END_META and the name of its metatable
 *   inside a function    its upvalues, or UPVALUE; END
 */
#ifndef NEAP_PACKCODE_H
#define NEAP_PACKCODE_H

#include "packet.h"

#include <string.h>

enum neap__code {
  NEAP__C_END,
  NEAP__C_END_META, /* a name */
  NEAP__C_PAIRS,
  NEAP__C_NIL,
  NEAP__C_FALSE,
  NEAP__C_TRUE,
  NEAP__C_INTEGER, /* number, its sign in the lowest bit */
  NEAP__C_FLOAT,   /* 8 bytes, the lowest first */
  NEAP__C_STRING,  /* object: length, bytes */
  NEAP__C_TABLE,   /* object: about how many it has in a row, and others */
  NEAP__C_FUNCTION, /* object: 4 bytes of length, 8 of seal if foreign, bytecode */
  NEAP__C_REF,      /* number of an object */
  NEAP__C_SHARED,       /* index in `refs` */
  NEAP__C_NAME,         /* length, name: see names.c */
  NEAP__C_UPVALUE,      /* number of a function, which of its upvalues */
  NEAP__C_SMALL = 0x40, /* and up: integers from -8 on */
  NEAP__C_SHORT = 0x80, /* and up: strings by their length, then the bytes */
};
#define NEAP__SHORT_MAX 0x7f
#define NEAP__SMALL_MIN (-8)
#define NEAP__SMALL_MAX (NEAP__SMALL_MIN + 0x3f)

#define NEAP__PACKET_VERSION 1
#define NEAP__PACKET_HEADER 3 /* bytes */

/* Objects that are kept on Lua's stack; when there are more, a table takes them. */
#define NEAP__STACKED 16

/* What each runtime keeps between calls. */
struct neap__packer {
  /* output */
  unsigned char *buffer;
  size_t length, capacity;
  neap__shared **refs; /* each is held */
  uint32_t nrefs, refs_capacity;
  /* objects of the packet that is written */
  uint32_t *parents; /* number -> the one it was seen in first */
  uint32_t nobjects, objects_capacity;
  uint32_t nlisted; /* up to where the list of them may have something */
  bool large;       /* it had much, and has its memory still */
  struct neap__packed_upvalue {
    uint32_t function;
    uint32_t index;
  } * upvalues;
  uint32_t nupvalues, upvalues_capacity;
  struct neap__packed_place { /* pointer -> number, open addressing */
    const void *pointer;
    uint32_t number, use;
  } * places;
  uint32_t nplaces, places_capacity;
  uint32_t use; /* entries of others are free */
  /* names.c */
  const void **named; /* what has one, open addressing */
  uint32_t named_capacity;
  uint64_t loaded; /* mark of package.loaded when they were looked up */
  bool names_known;
  /* for other processes */
  unsigned char key[16];
  bool has_key;
};

/* Why a value was not written. */
enum neap__why {
  NEAP__W_OK,
  NEAP__W_MEMORY,
  NEAP__W_SIZE,
  NEAP__W_NAMES, /* start again with them looked up */
  /* it cannot cross */
  NEAP__W_KIND,      /* of its type */
  NEAP__W_METATABLE, /* that has no name */
  NEAP__W_SHARED,    /* a reference, to another process */
  NEAP__W_UNSEALED,  /* a function, to a process without a key */
};

enum neap__part {
  NEAP__IN_VALUES,
  NEAP__IN_KEY,
  NEAP__IN_FIELD,
  NEAP__IN_METATABLE,
  NEAP__IN_UPVALUE
};

typedef struct neap__writer {
  lua_State *L;
  neap_runtime *rt;
  struct neap__packer *packer;
  unsigned flags;
  int first, n; /* the values */
  int base;     /* of the stack that is used here */
  uint32_t at;  /* the object whose inside is written, or NEAP__NO_OBJECT */
  enum neap__part in; /* which part of it */
  int bad;            /* index of what cannot cross */
  int upvalue;
  bool names_checked;
} neap__writer;
/* On the stack, from base + 1 on. */
enum {
  NEAP__S_NAMES = 1,
  NEAP__S_LIST,
  NEAP__S_OBJECTS,
  NEAP__S_END = NEAP__S_OBJECTS + NEAP__STACKED
};

#define NEAP__NO_OBJECT UINT32_MAX /* the parent of what is in none */
#define NEAP__BUFFER_KEPT 65536    /* bytes */
#define NEAP__PLACES_KEPT 4096     /* entries */

/* ---- bytes ----------------------------------------------------------------------- */

static inline unsigned char *neap__put_number(unsigned char *p, uint64_t x) {
  for (; x >= 0x80; x >>= 7)
    *p++ = (unsigned char)(x | 0x80);
  *p++ = (unsigned char)x;
  return p;
}

static inline unsigned char *neap__put_word(unsigned char *p, uint64_t x,
                                            int n) {
  for (int i = 0; i < n; i++, x >>= 8)
    *p++ = (unsigned char)x;
  return p;
}

static inline unsigned char *neap__put_integer(unsigned char *p,
                                               lua_Integer value) {
  if (value >= NEAP__SMALL_MIN && value <= NEAP__SMALL_MAX) {
    *p++ = (unsigned char)(NEAP__C_SMALL + (value - NEAP__SMALL_MIN));
    return p;
  }
  uint64_t x = (uint64_t)value << 1 ^ (value < 0 ? UINT64_MAX : 0);
  *p++ = NEAP__C_INTEGER;
  return neap__put_number(p, x);
}

static inline unsigned char *neap__put_float(unsigned char *p,
                                             lua_Number value) {
  uint64_t x;
  _Static_assert(sizeof x == sizeof value, "floats have 8 bytes");
  memcpy(&x, &value, sizeof x);
  *p++ = NEAP__C_FLOAT;
  return neap__put_word(p, x, 8);
}

/* ---- packplain.c ------------------------------------------------------------------ */

/* Writes values of which none is an object but for strings; false for others. Raises for
 * memory. */
bool neap__pack_plain(lua_State *L, int first, int n, neap__packet *out);

/* ---- packer.c ------------------------------------------------------------------- */

/* The runtime's, made where there is none; raises for memory. */
struct neap__packer *neap__packer(lua_State *L, neap_runtime *rt);
void neap__packer_free(neap_runtime *rt);
void neap__packer_drop_refs(struct neap__packer *packer);
/* Makes *array of *capacity elements larger, for at least `needed`; false when there is no
 * memory. */
bool neap__packer_grow(neap_runtime *rt, void *array, uint32_t *capacity,
                       size_t element, uint32_t needed);
/* Lets go of what is larger than that. */
void neap__packer_trim(neap_runtime *rt, struct neap__packer *packer,
                       uint32_t limit, size_t bytes);
/* The place of what is at this address; if it is new, a free one is taken and its number
 * is NEAP__NO_OBJECT. NULL when there is no memory. */
struct neap__packed_place *neap__packer_place(neap__writer *w,
                                              const void *pointer);
/* Empties the list of objects. Allocates nothing. [-0, +0, -] */
void neap__packer_forget(lua_State *L, struct neap__packer *packer);
/* Lets go of a list that was large. May run finalizers, which may write packets. */
void neap__packer_shrink(lua_State *L, struct neap__packer *packer);

/* ---- packpath.c ------------------------------------------------------------------- */

/* Raises the error of the value at w->bad. `what`: of neap__pack. */
int neap__pack_refuse(neap__writer *w, enum neap__why why, const char *what);

static inline uint32_t neap__pointer_hash(const void *pointer) {
  uint64_t x = (uint64_t)(uintptr_t)pointer * UINT64_C(0x9e3779b97f4a7c15);
  return (uint32_t)(x >> 32);
}

/* ---- names.c ------------------------------------------------------------------ */

/* Fields of the table NEAP__R_NAMES. */
enum {
  NEAP__N_NAMES = 1, /* value -> name; weak keys */
  NEAP__N_TABLES,    /* registered name -> metatable */
  NEAP__N_LIST,      /* objects of the packet that is written */
};

/* Looks them up. [-0, +0, v] */
void neap__names_build(lua_State *L, neap_runtime *rt);
/* Whether package.loaded has what it had then. Allocates nothing. [-0, +0, -] */
bool neap__names_current(lua_State *L, const struct neap__packer *packer);
/* Whether what this pointer is of may have a name. */
static inline bool neap__may_be_named(const struct neap__packer *packer,
                                      const void *pointer) {
  uint32_t mask = packer->named_capacity - 1;
  for (uint32_t i = neap__pointer_hash(pointer);; i++) {
    const void *there = packer->named[i & mask];
    if (there == pointer) return true;
    if (there == NULL) return false;
  }
}
/* Gives the table at -1 a name, at -2. Raises where one of them is taken. [-2, +0, v] */
void neap__names_register(lua_State *L, neap_runtime *rt);

/* ---- seal.c --------------------------------------------------------------------- */

/* SipHash-2-4 of the bytes. */
uint64_t neap__seal(const unsigned char key[16], const void *data,
                    size_t length);

#endif
