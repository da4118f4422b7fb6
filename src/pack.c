/* SPDX-License-Identifier: MIT
 *
 * pack.c - writes values of Lua as the bytes of a packet; see packcode.h.
 *
 * Objects are written breadth first, from a list: neither the C stack nor Lua's grows
 * with how deep tables are nested. No Lua code runs on the way: while tables are
 * traversed nothing is called that could run the collector's finalizers, except in an
 * emergency, in which it runs none.
 *
 * What is written goes to a buffer of the runtime, and is copied at the end.
 */
#include "packcode.h"

/* ---- bytes ----------------------------------------------------------------------------- */

/* Room for n more bytes, or NULL. */
static unsigned char *room_slow(neap__writer *w, size_t n) {
  struct neap__packer *packer = w->packer;
  size_t needed = packer->length + n;
  size_t more = packer->capacity < 256 ? 256 : packer->capacity * 2;
  if (more < needed) more = needed;
  unsigned char *new =
      neap__alloc(w->rt, packer->buffer, packer->capacity, more);
  if (new == NULL) return NULL;
  packer->buffer = new;
  packer->capacity = more;
  return new + packer->length;
}

static inline unsigned char *room(neap__writer *w, size_t n) {
  struct neap__packer *packer = w->packer;
  if (NEAP__LIKELY(packer->capacity - packer->length >= n))
    return packer->buffer + packer->length;
  return room_slow(w, n);
}

/* A code and up to two numbers. */
static enum neap__why put_code(neap__writer *w, enum neap__code code, int n,
                               uint64_t a, uint64_t b) {
  unsigned char *p = room(w, 24);
  if (p == NULL) return NEAP__W_MEMORY;
  *p++ = (unsigned char)code;
  if (n > 0) p = neap__put_number(p, a);
  if (n > 1) p = neap__put_number(p, b);
  w->packer->length = (size_t)(p - w->packer->buffer);
  return NEAP__W_OK;
}

static enum neap__why put_bytes(neap__writer *w, const void *bytes, size_t n) {
  unsigned char *p = room(w, n);
  if (p == NULL) return NEAP__W_MEMORY;
  if (n > 0) memcpy(p, bytes, n);
  w->packer->length += n;
  return NEAP__W_OK;
}

/* ---- objects -------------------------------------------------------------------------- */

/* Numbers the value at `index`, which is new. */
static enum neap__why add_object(neap__writer *w,
                                 struct neap__packed_place *place, int index) {
  struct neap__packer *packer = w->packer;
  uint32_t number = packer->nobjects;
  if (number == packer->objects_capacity &&
      !neap__packer_grow(w->rt, &packer->parents, &packer->objects_capacity,
                         sizeof *packer->parents, number + 1))
    return NEAP__W_MEMORY;
  packer->parents[number] = w->at;
  place->number = number;
  if (number < NEAP__STACKED) {
    lua_copy(w->L, index, w->base + NEAP__S_OBJECTS + (int)number);
  } else {
    packer->nlisted = number + 1;
    lua_pushvalue(w->L, index);
    lua_rawseti(w->L, w->base + NEAP__S_LIST, (lua_Integer)number + 1);
  }
  packer->nobjects++;
  return NEAP__W_OK;
}

static void push_object(neap__writer *w, uint32_t number) {
  if (number < NEAP__STACKED) {
    lua_pushvalue(w->L, w->base + NEAP__S_OBJECTS + (int)number);
  } else {
    lua_rawgeti(w->L, w->base + NEAP__S_LIST, (lua_Integer)number + 1);
  }
}

/* Gets ready for values that are no plain ones. [-0, +NEAP__S_END, v] */
static void prepare(neap__writer *w) {
  lua_State *L = w->L;
  struct neap__packer *packer = w->packer;
  lua_settop(L, w->base);
  neap__packer_forget(L, packer);
  if (packer->large) neap__packer_shrink(L, packer);
  if (packer->named == NULL || !packer->names_known)
    neap__names_build(L, w->rt);
  neap__reg_get(L, NEAP__R_NAMES);
  lua_rawgeti(L, -1, NEAP__N_NAMES);
  lua_rawgeti(L, -2, NEAP__N_LIST);
  lua_remove(L, -3);
  lua_settop(L, w->base + NEAP__S_END);
}

/* ---- values ---------------------------------------------------------------------------- */

static enum neap__why cannot(neap__writer *w, int index, enum neap__why why) {
  w->bad = index;
  return why;
}

/* Looked at once for a packet, and only where names matter: it takes a microsecond. */
static bool names_changed(neap__writer *w) {
  if (w->names_checked) return false;
  w->names_checked = neap__names_current(w->L, w->packer);
  return !w->names_checked;
}

/* Writes the name of the value at `index` when it has one. */
static enum neap__why put_name(neap__writer *w, int index, const void *pointer,
                               bool *found) {
  lua_State *L = w->L;
  *found = false;
  if (pointer != NULL && !neap__may_be_named(w->packer, pointer))
    return NEAP__W_OK;
  if (names_changed(w)) return NEAP__W_NAMES;
  lua_pushvalue(L, index);
  if (lua_rawget(L, w->base + NEAP__S_NAMES) != LUA_TSTRING) {
    lua_pop(L, 1);
    return NEAP__W_OK;
  }
  size_t n;
  const char *name = lua_tolstring(L, -1, &n);
  enum neap__why why = put_code(w, NEAP__C_NAME, 1, n, 0);
  if (why == NEAP__W_OK) why = put_bytes(w, name, n);
  lua_pop(L, 1);
  *found = true;
  return why;
}

static int add_code(lua_State *L, const void *bytes, size_t n, void *ud) {
  (void)L;
  return put_bytes(ud, bytes, n) != NEAP__W_OK;
}

static enum neap__why put_function(neap__writer *w, int index) {
  lua_State *L = w->L;
  struct neap__packer *packer = w->packer;
  bool foreign = w->flags & NEAP__FOREIGN;
  if (foreign && !packer->has_key) return cannot(w, index, NEAP__W_UNSEALED);
  unsigned char *p = room(w, 16);
  if (p == NULL) return NEAP__W_MEMORY;
  *p = NEAP__C_FUNCTION;
  size_t head = packer->length + 1;
  packer->length = head + (foreign ? 12 : 4);
  size_t start = packer->length;
  lua_pushvalue(L, index);
  int failed = lua_dump(L, add_code, w, 0);
  lua_pop(L, 1);
  if (failed) return NEAP__W_MEMORY;
  size_t size = packer->length - start;
  if (size > UINT32_MAX) return NEAP__W_SIZE;
  neap__put_word(packer->buffer + head, size, 4);
  if (foreign)
    neap__put_word(packer->buffer + head + 4,
                   neap__seal(packer->key, packer->buffer + start, size), 8);
  return NEAP__W_OK;
}

/* About how many fields it has besides those in a row. */
static unsigned count_fields(lua_State *L, int index, lua_Unsigned row) {
  unsigned n = 0;
  if (row > 0) {
    lua_pushinteger(L, (lua_Integer)row);
  } else {
    lua_pushnil(L);
  }
  while (lua_next(L, index)) {
    lua_pop(L, 1);
    if (++n < 64) continue;
    lua_pop(L, 1);
    break;
  }
  return n;
}

static enum neap__why put_table(neap__writer *w, int index) {
  lua_Unsigned row = lua_rawlen(w->L, index);
  return put_code(w, NEAP__C_TABLE, 2, row, count_fields(w->L, index, row));
}

static enum neap__why put_shared(neap__writer *w, int index, bool *found) {
  struct neap__packer *packer = w->packer;
  neap__shared *shared = neap__shared_at(w->L, w->rt, index);
  *found = shared != NULL;
  if (shared == NULL) return NEAP__W_OK;
  if (w->flags & NEAP__FOREIGN) return cannot(w, index, NEAP__W_SHARED);
  if (packer->nrefs == packer->refs_capacity &&
      !neap__packer_grow(w->rt, &packer->refs, &packer->refs_capacity,
                         sizeof *packer->refs, packer->nrefs + 1))
    return NEAP__W_MEMORY;
  packer->refs[packer->nrefs] = neap__shared_ref(shared);
  return put_code(w, NEAP__C_SHARED, 1, packer->nrefs++, 0);
}

/* A table, function or userdata. */
static enum neap__why put_object(neap__writer *w, int index, int type) {
  lua_State *L = w->L;
  bool found = false;
  enum neap__why why;
  const void *pointer = lua_topointer(L, index);
  if (type == LUA_TUSERDATA) {
    why = put_shared(w, index, &found);
    if (why != NEAP__W_OK || found) return why;
  }
  if (type == LUA_TFUNCTION && names_changed(w)) return NEAP__W_NAMES;
  bool copied = type == LUA_TTABLE ||
                (type == LUA_TFUNCTION && !lua_iscfunction(L, index));
  struct neap__packed_place *place = NULL;
  if (copied) {
    place = neap__packer_place(w, pointer);
    if (place == NULL) return NEAP__W_MEMORY;
    if (place->number != NEAP__NO_OBJECT)
      return put_code(w, NEAP__C_REF, 1, place->number, 0);
  }
  why = put_name(w, index, pointer, &found);
  if (why != NEAP__W_OK) return why;
  if (found) {
    /* Its place stays without a number: named again if seen again. */
    return NEAP__W_OK;
  }
  if (!copied) return cannot(w, index, NEAP__W_KIND);
  why = type == LUA_TTABLE ? put_table(w, index) : put_function(w, index);
  return why != NEAP__W_OK ? why : add_object(w, place, index);
}

static enum neap__why put_string(neap__writer *w, int index) {
  size_t n;
  const char *s = lua_tolstring(w->L, index, &n);
  if (n <= NEAP__SHORT_MAX) {
    unsigned char *p = room(w, NEAP__SHORT_MAX + 1);
    if (p == NULL) return NEAP__W_MEMORY;
    *p = (unsigned char)(NEAP__C_SHORT + n);
    memcpy(p + 1, s, n);
    w->packer->length += n + 1;
    return NEAP__W_OK;
  }
  struct neap__packed_place *place = neap__packer_place(w, s);
  if (place == NULL) return NEAP__W_MEMORY;
  if (place->number != NEAP__NO_OBJECT)
    return put_code(w, NEAP__C_REF, 1, place->number, 0);
  enum neap__why why = put_code(w, NEAP__C_STRING, 1, n, 0);
  if (why == NEAP__W_OK) why = put_bytes(w, s, n);
  return why != NEAP__W_OK ? why : add_object(w, place, index);
}

/* The value at `index`, not a relative one. */
static enum neap__why put_value(neap__writer *w, int index) {
  lua_State *L = w->L;
  int type = lua_type(L, index);
  unsigned char *p;
  switch (type) {
  case LUA_TNIL:
    return put_code(w, NEAP__C_NIL, 0, 0, 0);
  case LUA_TBOOLEAN:
    return put_code(w, lua_toboolean(L, index) ? NEAP__C_TRUE : NEAP__C_FALSE,
                    0, 0, 0);
  case LUA_TNUMBER:
    p = room(w, 16);
    if (p == NULL) return NEAP__W_MEMORY;
    p = lua_isinteger(L, index) ? neap__put_integer(p, lua_tointeger(L, index))
                                : neap__put_float(p, lua_tonumber(L, index));
    w->packer->length = (size_t)(p - w->packer->buffer);
    return NEAP__W_OK;
  case LUA_TSTRING:
    return put_string(w, index);
  case LUA_TTABLE:
  case LUA_TFUNCTION:
  case LUA_TUSERDATA:
  case LUA_TLIGHTUSERDATA:
    return put_object(w, index, type);
  default:
    return cannot(w, index, NEAP__W_KIND);
  }
}

/* ---- what is inside objects ------------------------------------------------------------ */

static enum neap__why put_fields(neap__writer *w, int table) {
  lua_State *L = w->L;
  enum neap__why why = NEAP__W_OK;
  lua_Integer next = 1;
  lua_pushnil(L);
  while (lua_next(L, table)) {
    if (next > 0) {
      if (lua_isinteger(L, table + 1) && lua_tointeger(L, table + 1) == next) {
        next++;
      } else {
        next = 0;
        if ((why = put_code(w, NEAP__C_PAIRS, 0, 0, 0)) != NEAP__W_OK)
          return why;
      }
    }
    if (next == 0) {
      w->in = NEAP__IN_KEY;
      if ((why = put_value(w, table + 1)) != NEAP__W_OK) return why;
    }
    w->in = NEAP__IN_FIELD;
    if ((why = put_value(w, table + 2)) != NEAP__W_OK) return why;
    lua_pop(L, 1);
  }
  if (!lua_getmetatable(L, table)) return put_code(w, NEAP__C_END, 0, 0, 0);
  bool found;
  w->in = NEAP__IN_METATABLE;
  why = put_code(w, NEAP__C_END_META, 0, 0, 0);
  if (why == NEAP__W_OK)
    why = put_name(w, table + 1, lua_topointer(L, table + 1), &found);
  if (why == NEAP__W_OK && !found) why = cannot(w, table, NEAP__W_METATABLE);
  return why;
}

static enum neap__why put_upvalue(neap__writer *w, int function, int i,
                                  const char *name) {
  struct neap__packer *packer = w->packer;
  lua_State *L = w->L;
  if (strcmp(name, "_ENV") == 0) {
    enum neap__why why = put_code(w, NEAP__C_NAME, 1, 1, 0);
    return why != NEAP__W_OK ? why : put_bytes(w, "g", 1);
  }
  struct neap__packed_place *place =
      neap__packer_place(w, lua_upvalueid(L, function, i));
  if (place == NULL) return NEAP__W_MEMORY;
  if (place->number != NEAP__NO_OBJECT) {
    struct neap__packed_upvalue *seen = &packer->upvalues[place->number];
    return put_code(w, NEAP__C_UPVALUE, 2, seen->function, seen->index);
  }
  if (packer->nupvalues == packer->upvalues_capacity &&
      !neap__packer_grow(w->rt, &packer->upvalues, &packer->upvalues_capacity,
                         sizeof *packer->upvalues, packer->nupvalues + 1))
    return NEAP__W_MEMORY;
  place->number = packer->nupvalues;
  packer->upvalues[packer->nupvalues++] =
      (struct neap__packed_upvalue){w->at, (uint32_t)i};
  w->in = NEAP__IN_UPVALUE;
  w->upvalue = i;
  return put_value(w, function + 1);
}

static enum neap__why put_upvalues(neap__writer *w, int function) {
  const char *name;
  for (int i = 1; (name = lua_getupvalue(w->L, function, i)) != NULL; i++) {
    enum neap__why why = put_upvalue(w, function, i, name);
    if (why != NEAP__W_OK) return why;
    lua_pop(w->L, 1);
  }
  return put_code(w, NEAP__C_END, 0, 0, 0);
}

/* Everything: the values, then what is inside of the objects. */
static enum neap__why put_all(neap__writer *w) {
  struct neap__packer *packer = w->packer;
  enum neap__why why = NEAP__W_OK;
  packer->length = 0;
  packer->nobjects = packer->nupvalues = packer->nplaces = 0;
  neap__packer_drop_refs(packer);
  if (++packer->use == 0) {
    if (packer->places != NULL)
      memset(packer->places, 0,
             packer->places_capacity * sizeof *packer->places);
    packer->use = 1;
  }
  w->at = NEAP__NO_OBJECT;
  w->in = NEAP__IN_VALUES;
  for (int i = 0; i < w->n; i++)
    if ((why = put_value(w, w->first + i)) != NEAP__W_OK) return why;
  for (uint32_t number = 0; number < packer->nobjects; number++) {
    push_object(w, number);
    w->at = number;
    int index = w->base + NEAP__S_END + 1;
    switch (lua_type(w->L, index)) {
    case LUA_TTABLE:
      why = put_fields(w, index);
      break;
    case LUA_TFUNCTION:
      why = put_upvalues(w, index);
      break;
    default:
      break;
    }
    if (why != NEAP__W_OK) return why;
    lua_settop(w->L, index - 1);
  }
  return NEAP__W_OK;
}

/* ---- packets ---------------------------------------------------------------------------- */

/* The head of a packet; at most NEAP__HEAD bytes. */
#define HEAD 16
static unsigned char *put_head(unsigned char *p, unsigned flags, int n,
                               uint32_t nobjects) {
  if (flags & NEAP__FOREIGN) {
    *p++ = 'N';
    *p++ = 'P';
    *p++ = NEAP__PACKET_VERSION;
  }
  return neap__put_number(neap__put_number(p, (uint64_t)n), nobjects);
}

/* Makes *out of what is in the packer. */
static enum neap__why take(neap__writer *w, neap__packet *out) {
  struct neap__packer *packer = w->packer;
  unsigned char head[HEAD];
  size_t n = (size_t)(put_head(head, w->flags, w->n, packer->nobjects) - head);
  size_t refs = packer->nrefs * sizeof *packer->refs;
  if (packer->length > UINT32_MAX - HEAD) return NEAP__W_SIZE;
  neap__packet new = {.size = (uint32_t)(n + packer->length),
                      .nrefs = packer->nrefs};
  unsigned char *to = new.small;
  if (new.size > NEAP__PACKET_SMALL || new.nrefs > 0) {
    unsigned char *block = neap__share_alloc(NULL, refs + new.size);
    if (block == NULL) return NEAP__W_MEMORY;
    new.big.refs = (neap__shared **)(void *)block;
    new.big.data = to = block + refs;
    if (refs > 0) memcpy(block, packer->refs, refs);
  }
  memcpy(to, head, n);
  if (packer->length > 0) memcpy(to + n, packer->buffer, packer->length);
  packer->nrefs = 0;
  *out = new;
  return NEAP__W_OK;
}

void neap__pack(lua_State *L, neap_runtime *rt, int first, int n,
                unsigned flags, const char *what, neap__packet *out) {
  if (n == 0 && !(flags & NEAP__FOREIGN)) {
    *out = (neap__packet){0};
    return;
  }
  if (!(flags & NEAP__FOREIGN) && neap__pack_plain(L, first, n, out)) return;
  first = lua_absindex(L, first);
  neap__writer w = {.L = L,
                    .rt = rt,
                    .packer = neap__packer(L, rt),
                    .flags = flags,
                    .first = first,
                    .n = n,
                    .base = lua_gettop(L)};
  luaL_checkstack(L, NEAP__S_END + 100, NULL);
  prepare(&w);
  enum neap__why why = put_all(&w);
  if (why == NEAP__W_MEMORY) { /* as Lua does before it gives up */
    lua_gc(L, LUA_GCCOLLECT);
    prepare(&w);
    why = put_all(&w);
  }
  /* A value that cannot cross may be in a module that we do not know yet. */
  if (why == NEAP__W_NAMES || why == NEAP__W_KIND || why == NEAP__W_METATABLE) {
    w.packer->names_known = false;
    prepare(&w);
    w.names_checked = true;
    why = put_all(&w);
  }
  if (why >= NEAP__W_KIND) neap__pack_refuse(&w, why, what);
  /* Nothing that could run a finalizer, until all is out of the packer. */
  lua_settop(L, w.base);
  neap__packer_forget(L, w.packer);
  neap__packet new;
  if (why == NEAP__W_OK) why = take(&w, &new);
  neap__packer_drop_refs(w.packer);
  if (w.packer->capacity > NEAP__BUFFER_KEPT ||
      w.packer->places_capacity > NEAP__PLACES_KEPT)
    neap__packer_trim(rt, w.packer, NEAP__PLACES_KEPT, NEAP__BUFFER_KEPT);
  if (why == NEAP__W_OK) {
    *out = new;
    if (w.packer->large) neap__packer_shrink(L, w.packer);
  } else {
    luaL_error(L, why == NEAP__W_SIZE ? "the values are too large to cross"
                                      : "not enough memory");
  }
}
