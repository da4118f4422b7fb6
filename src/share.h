/* SPDX-License-Identifier: MIT
 *
 * share.h - what several threads hold: memory outside all runtimes, with a count of
 * references, and one object for it in each Lua state that has seen it.
 *
 * A shared thing begins with a neap__shared. An object in Lua is a userdata whose only
 * content is the pointer; it holds one reference.
 */
#ifndef NEAP_SHARE_H
#define NEAP_SHARE_H

#include "internal.h"

typedef struct neap__shared neap__shared;

/* What there is one of for each kind of shared thing. */
typedef struct neap__shared_type {
  enum neap__kind kind; /* of its objects */
  const char *name;     /* for errors: "Channel" */
  /* Makes the class in this state; called once, before the first object. [-0, +0, m] */
  void (*open)(lua_State *L, neap_runtime *rt);
  /* The last reference is gone. Any thread. */
  void (*destroy)(neap__shared *shared);
} neap__shared_type;

struct neap__shared {
  const neap__shared_type *type;
  atomic_uint refs;
};

/* Memory that threads share: malloc's, not of a runtime. NULL when there is none.
 * size == 0 frees. The bytes are not zeroed. */
void *neap__share_alloc(void *ptr, size_t size);

static inline void neap__shared_init(neap__shared *shared,
                                     const neap__shared_type *type) {
  shared->type = type;
  atomic_init(&shared->refs, 1);
}
static inline neap__shared *neap__shared_ref(neap__shared *shared) {
  atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
  return shared;
}
/* NULL is ignored. */
void neap__shared_unref(neap__shared *shared);

/* Pushes the object of a new thing, which `make` returns with its first reference, or
 * NULL when there is no memory. [-0, +1, m] */
void neap__shared_make(lua_State *L, neap_runtime *rt,
                       const neap__shared_type *type,
                       neap__shared *(*make)(const void *arg), const void *arg);
/* Pushes the state's object for it, made where there is none yet, with a reference of
 * its own. [-0, +1, m] */
void neap__shared_push(lua_State *L, neap_runtime *rt, neap__shared *shared);
/* The thing of this type at `index`; raises for other values. [-0, +0, v] */
neap__shared *neap__shared_check(lua_State *L, neap_runtime *rt, int index,
                                 const neap__shared_type *type);
/* What crosses by reference at `index`, whatever its type, or NULL: for who lets it cross,
 * which a channel takes note of. A Loop of this state gives its mailbox, which may be
 * made for that. [-0, +0, m] */
neap__shared *neap__shared_at(lua_State *L, neap_runtime *rt, int index);
/* The class of a type, made where there is none yet, is pushed. [-0, +1, m] */
void neap__shared_class(lua_State *L, neap_runtime *rt,
                        const neap__shared_type *type);
/* The __gc of such objects: of the class that `open` makes. */
int neap__l_shared_gc(lua_State *L);

#endif
