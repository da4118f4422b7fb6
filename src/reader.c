/* SPDX-License-Identifier: MIT
 *
 * reader.c - what was read and not yet asked for, and what is asked for of it.
 *
 * The formats asked for are found from the first on; `taken` bytes belong to those that
 * were found. Nothing is taken out before neap__reader_push has pushed all of it, so
 * that what raises there loses nothing.
 */
#include "reader.h"

#include <ctype.h>
#include <locale.h>
#include <stdint.h>
#include <string.h>

#define SMALL 1024      /* a buffer up to this size is kept when it is empty */
#define LEAST 256       /* no buffer is smaller */
#define NUMERAL_MAX 200 /* characters of a numeral, as in Lua's own library */

/* ---- the buffer ------------------------------------------------------------------ */

void neap__reader_init(neap__reader *reader, neap_runtime *rt) {
  memset(reader, 0, sizeof *reader);
  reader->rt = rt;
  reader->limit = NEAP__READ_LIMIT;
}

char *neap__reader_bulk(neap__reader *reader) {
  neap_runtime *rt = reader->rt;
  if (reader->data != NULL || rt->bulk_lent) return NULL;
  if (rt->bulk == NULL) rt->bulk = neap__alloc(rt, NULL, 0, NEAP__BULK);
  if (rt->bulk == NULL) return NULL;
  rt->bulk_lent = true;
  reader->data = rt->bulk;
  reader->cap = NEAP__BULK;
  return reader->data;
}

void neap__reader_free_bulk(neap_runtime *rt) {
  if (!rt->bulk_lent) neap__alloc(rt, rt->bulk, NEAP__BULK, 0);
  rt->bulk = NULL;
  rt->bulk_lent = false;
}

static bool has_bulk(const neap__reader *reader) {
  return reader->data != NULL && reader->data == reader->rt->bulk;
}

static void free_data(neap__reader *reader) {
  if (has_bulk(reader)) {
    reader->rt->bulk_lent = false;
  } else if (reader->data != NULL) {
    neap__alloc(reader->rt, reader->data, reader->cap, 0);
  }
}

void neap__reader_free(neap__reader *reader) {
  free_data(reader);
  reader->data = NULL;
  reader->start = reader->len = reader->cap = 0;
}

static bool grow(neap__reader *reader, size_t need) {
  size_t cap = need;
  if (reader->cap != 0 && need <= SIZE_MAX / 2) cap += need / 2;
  if (cap < LEAST) cap = LEAST;
  char *data;
  if (reader->start == 0 && !has_bulk(reader)) {
    data = neap__alloc(reader->rt, reader->data, reader->cap, cap);
    if (data == NULL) return false;
  } else {
    data = neap__alloc(reader->rt, NULL, 0, cap);
    if (data == NULL) return false;
    memcpy(data, neap__reader_bytes(reader), reader->len);
    free_data(reader);
    reader->start = 0;
  }
  reader->data = data;
  reader->cap = cap;
  return true;
}

char *neap__reader_space(neap__reader *reader, size_t want, size_t *got) {
  size_t behind = reader->start + reader->len;
  if (reader->data == NULL || reader->cap - behind < want) {
    if (want > SIZE_MAX - reader->len) return NULL;
    size_t need = reader->len + want;
    /* Moving no more than was dropped since the last time costs nothing much. */
    if (reader->data != NULL && need <= reader->cap &&
        reader->start >= reader->len) {
      memmove(reader->data, neap__reader_bytes(reader), reader->len);
      reader->start = 0;
    } else if (!grow(reader, need)) {
      return NULL;
    }
    behind = reader->start + reader->len;
  }
  *got = reader->cap - behind;
  return reader->data + behind;
}

bool neap__reader_add(neap__reader *reader, const char *data, size_t n) {
  size_t got;
  if (n == 0) return true;
  char *to = neap__reader_space(reader, n, &got);
  if (to == NULL) return false;
  memcpy(to, data, n);
  reader->len += n;
  return true;
}

void neap__reader_drop(neap__reader *reader, size_t n) {
  reader->serial++;
  reader->start += n;
  reader->len -= n;
  neap__reader_trim(reader);
}

void neap__reader_trim(neap__reader *reader) {
  if (reader->len > 0) return;
  reader->start = 0;
  if (reader->cap > SMALL) neap__reader_free(reader);
}

/* ---- asking ---------------------------------------------------------------------- */

static void begin(neap__reader *reader) {
  reader->serial++;
  reader->nformats = reader->at = 0;
  reader->taken = reader->scanned = 0;
  reader->over = false;
}

static void want(neap__reader *reader, char what, size_t count) {
  neap__format *format = &reader->formats[reader->nformats++];
  format->what = what;
  format->count = count;
  format->end = format->skip = 0;
  format->found = format->failed = false;
}

void neap__reader_want(neap__reader *reader, char what, size_t count) {
  begin(reader);
  want(reader, what, count);
}

void neap__reader_want_until(neap__reader *reader, const char *separator,
                             size_t n, size_t limit) {
  begin(reader);
  want(reader, 'u', limit);
  reader->separator = separator;
  reader->separator_len = n;
}

void neap__reader_want_formats(lua_State *L, neap__reader *reader, int first) {
  int top = lua_gettop(L);
  if (top - first >= NEAP__FORMATS)
    luaL_argerror(L, first + NEAP__FORMATS, "too many formats");
  begin(reader);
  if (top < first) want(reader, 'l', 0);
  for (int i = first; i <= top; i++) {
    if (lua_type(L, i) == LUA_TNUMBER) {
      lua_Integer n = luaL_checkinteger(L, i);
      luaL_argcheck(L, n >= 0, i, "a count is 0 or more");
      want(reader, '#', (size_t)n);
      continue;
    }
    const char *format = luaL_checkstring(L, i);
    if (*format == '*') format++;
    if (*format == '\0' || strchr("lLan", *format) == NULL)
      luaL_argerror(L, i, "invalid format");
    want(reader, *format, 0);
  }
}

/* Whether no more will come, and all that came is good. */
static bool at_end(const neap__reader *reader) {
  return reader->eof && reader->error == 0;
}

/* ---- numerals -------------------------------------------------------------------- */

typedef struct numeral {
  const unsigned char *next, *end;
  int length; /* of what was taken, without spaces before it */
  bool too_long;
} numeral;

static int peek(const numeral *n) {
  return n->next < n->end ? *n->next : -1;
}

static bool take(numeral *n) {
  if (n->length == NUMERAL_MAX) {
    n->too_long = true;
    return false;
  }
  n->length++;
  n->next++;
  return true;
}

static bool take_one_of(numeral *n, int a, int b) {
  int c = peek(n);
  return (c == a || c == b) && take(n);
}

static int take_digits(numeral *n, bool hex) {
  int count = 0;
  for (int c; (c = peek(n)) >= 0 && (hex ? isxdigit(c) : isdigit(c));)
    if (take(n))
      count++;
    else
      break;
  return count;
}

/* Goes over the numeral that may stand at n->next, and says whether it is one. */
static bool scan_numeral(numeral *n) {
  take_one_of(n, '-', '+');
  int digits = 0, exponent = 1;
  bool hex = false;
  if (take_one_of(n, '0', '0')) {
    if (take_one_of(n, 'x', 'X'))
      hex = true;
    else
      digits = 1;
  }
  digits += take_digits(n, hex);
  if (take_one_of(n, (unsigned char)localeconv()->decimal_point[0], '.'))
    digits += take_digits(n, hex);
  if (digits > 0 &&
      (hex ? take_one_of(n, 'p', 'P') : take_one_of(n, 'e', 'E'))) {
    take_one_of(n, '-', '+');
    exponent = take_digits(n, false);
  }
  return !n->too_long && digits > 0 && exponent > 0;
}

static bool find_numeral(neap__reader *reader, neap__format *format,
                         const char *data, size_t len) {
  size_t spaces = reader->scanned;
  while (spaces < len && isspace((unsigned char)data[spaces]))
    spaces++;
  reader->scanned = spaces;
  const unsigned char *from = (const unsigned char *)data;
  numeral n = {from + spaces, from + len, 0, false};
  bool good = scan_numeral(&n);
  if (n.next == n.end && !at_end(reader)) {
    reader->over = spaces > reader->limit;
    return false;
  }
  format->end = (size_t)(n.next - from);
  format->failed = !good;
  return true;
}

/* Pushes the numeral, a nil if it is none after all. [-0, +1, m] */
static void push_numeral(lua_State *L, const char *data, size_t len) {
  char text[NUMERAL_MAX + 1];
  while (len > 0 && isspace((unsigned char)*data)) {
    data++;
    len--;
  }
  if (len > NUMERAL_MAX) len = 0;
  memcpy(text, data, len);
  text[len] = '\0';
  if (lua_stringtonumber(L, text) == 0) lua_pushnil(L);
}

/* ---- looking for what is asked for ------------------------------------------------- */

static bool find_line(neap__reader *reader, neap__format *format,
                      const char *data, size_t len) {
  const char *newline =
      len == reader->scanned
          ? NULL
          : memchr(data + reader->scanned, '\n', len - reader->scanned);
  size_t length = newline != NULL ? (size_t)(newline - data) : len;
  reader->scanned = length;
  if (length > reader->limit) {
    reader->over = true;
    return false;
  }
  if (newline != NULL) {
    format->end = format->what == 'L' ? length + 1 : length;
    format->skip = format->what != 'L';
    return true;
  }
  format->end = len;
  return at_end(reader) && len > 0;
}

static bool find_separator(neap__reader *reader, neap__format *format,
                           const char *data, size_t len) {
  size_t n = reader->separator_len;
  const char *at = NULL;
  if (len - reader->scanned >= n)
    at = n == 1 ? memchr(data + reader->scanned, reader->separator[0],
                         len - reader->scanned)
                : memmem(data + reader->scanned, len - reader->scanned,
                         reader->separator, n);
  size_t before = at != NULL ? (size_t)(at - data) : len >= n ? len + 1 - n : 0;
  reader->scanned = before;
  if (before > format->count) {
    reader->over = true;
    return false;
  }
  format->end = before + n;
  return at != NULL;
}

/* Whether the format is there. At the end of the stream those that cannot come any
 * more are not. */
static bool find(neap__reader *reader, neap__format *format) {
  const char *data = "";
  if (reader->data != NULL) data = neap__reader_bytes(reader) + reader->taken;
  size_t len = reader->len - reader->taken;
  switch (format->what) {
  case 'l':
  case 'L':
    return find_line(reader, format, data, len);
  case 'n':
    return find_numeral(reader, format, data, len);
  case 'u':
    return find_separator(reader, format, data, len);
  case 'a':
    format->end = len;
    return at_end(reader);
  case '+':
    format->end = len < format->count ? len : format->count;
    return len > 0 || format->count == 0;
  case '#':
    format->end = len < format->count ? len : format->count;
    return len > 0 && (len >= format->count || at_end(reader));
  default: /* 'x' */
    format->end = format->count;
    return len >= format->count;
  }
}

bool neap__reader_ready(neap__reader *reader) {
  while (reader->at < reader->nformats) {
    neap__format *format = &reader->formats[reader->at];
    if (!find(reader, format))
      return reader->over || reader->eof || reader->error != 0;
    if (format->failed) return true;
    format->found = true;
    reader->taken += format->end + format->skip;
    reader->scanned = 0;
    reader->at++;
  }
  return true;
}

size_t neap__reader_missing(const neap__reader *reader) {
  if (reader->at == reader->nformats) return 1;
  const neap__format *format = &reader->formats[reader->at];
  size_t have = reader->len - reader->taken;
  if ((format->what == '#' || format->what == 'x') && format->count > have)
    return format->count - have;
  return 1;
}

/* ---- taking it out --------------------------------------------------------------- */

/* Gives the error object on top a field. [-0, +0, m] */
static void set_size(lua_State *L, const char *name, size_t n) {
  lua_pushinteger(L, (lua_Integer)n);
  lua_setfield(L, -2, name);
}

static int push_over(lua_State *L, const neap__reader *reader) {
  luaL_checkstack(L, 4, NULL);
  lua_pushnil(L);
  lua_pushfstring(L, "nothing that ends it within %I bytes",
                  (lua_Integer)(reader->formats[reader->at].what == 'u'
                                    ? reader->formats[reader->at].count
                                    : reader->limit));
  neap__error_new(L, NEAP__LIMITOVERRUNERROR);
  set_size(L, "consumed", reader->scanned);
  return 2;
}

/* The stream ended in the middle of what was asked for: what there is of it goes into
 * the error. */
static int push_incomplete(lua_State *L, neap__reader *reader,
                           const neap__format *format) {
  luaL_checkstack(L, 4, NULL);
  lua_pushnil(L);
  if (format->what == 'x')
    lua_pushfstring(L, "the end came after %I of %I bytes",
                    (lua_Integer)reader->len, (lua_Integer)format->count);
  else
    lua_pushfstring(L, "the end came after %I bytes without the separator",
                    (lua_Integer)reader->len);
  neap__error_new(L, NEAP__INCOMPLETEREADERROR);
  lua_pushlstring(L, neap__reader_bytes(reader), reader->len);
  lua_setfield(L, -2, "partial");
  if (format->what == 'x') set_size(L, "expected", format->count);
  neap__reader_drop(reader, reader->len);
  return 2;
}

int neap__reader_push(lua_State *L, neap__reader *reader, const char *op) {
  const neap__format *last = &reader->formats[reader->at];
  bool all = reader->at == reader->nformats;
  if (NEAP__UNLIKELY(!all && !last->failed)) {
    if (reader->over) return push_over(L, reader);
    if (reader->error != 0) return neap_refuse(L, reader->error, op);
    if ((last->what == 'x' || last->what == 'u') && reader->len > 0)
      return push_incomplete(L, reader, last);
  }
  luaL_checkstack(L, NEAP__FORMATS + 1, NULL);
  const char *data = reader->data != NULL ? neap__reader_bytes(reader) : "";
  size_t taken = 0;
  uint32_t serial = reader->serial;
  int n = 0;
  for (; n < reader->at; n++) {
    const neap__format *format = &reader->formats[n];
    size_t end = format->end, skip = format->skip;
    if (format->what == 'n')
      push_numeral(L, data + taken, end);
    else
      lua_pushlstring(L, data + taken, end);
    taken += end + skip;
    if (NEAP__UNLIKELY(reader->serial != serial))
      return luaL_error(L, "a finalizer has read from the same stream");
  }
  if (!all) {
    lua_pushnil(L);
    n++;
    if (last->failed) taken += last->end;
  }
  if (taken > 0) neap__reader_drop(reader, taken);
  return n;
}
