/* SPDX-License-Identifier: MIT
 *
 * reader.h - what was read and not yet asked for, and what is asked for: Lua's formats,
 * exact counts, separators. Streams and files fill it; it does no I/O itself.
 *
 * One thing is asked for at a time (`want`). Nothing is taken out before all of it is
 * there: a reader that is cancelled has lost nothing.
 */
#ifndef NEAP_READER_H
#define NEAP_READER_H

#include "internal.h"

/* How long a line, or what ends with a separator, may be when nobody says. */
#define NEAP__READ_LIMIT ((size_t)1 << 20)

typedef struct neap__format {
  /* 'l' 'L' 'a' 'n' '#': that many, '+': some, 'x': exactly, 'u': until */
  char what;
  size_t count; /* of '#', '+' (at most), 'x'; of 'u' its limit */
  size_t end,
      skip; /* what was found: bytes of it, and bytes after it to drop */
  bool found;
  bool failed; /* of 'n': what is there is no numeral */
} neap__format;

#define NEAP__FORMATS 8

typedef struct neap__reader {
  neap_runtime *rt;
  char *data; /* bytes start to start + len are to be read */
  size_t start, len, cap;
  size_t limit;          /* of lines and separators */
  size_t taken;          /* bytes of the formats that were found */
  size_t scanned;        /* bytes after those in which there is no separator */
  const char *separator; /* of 'u': a Lua string that the caller keeps */
  size_t separator_len;
  uint32_t serial; /* of what was asked for, and of what was taken */
  int error; /* no more will come because of this UV_E* code (not UV_ECANCELED), or 0 */
  bool eof;  /* no more will come */
  bool over; /* what is asked for is longer than the limit */
  int nformats, at;
  neap__format formats[NEAP__FORMATS];
} neap__reader;

void neap__reader_init(neap__reader *reader, neap_runtime *rt);
void neap__reader_free(neap__reader *reader);

/* The one buffer of the runtime for much, NEAP__BULK bytes, where the reader has none of
 * its own and no other reader has it; or NULL. It goes back when it has been emptied: so
 * the same memory, which the processor has at hand, is filled again and again, and as
 * much is read at once as is worth it without each stream having that much. */
#define NEAP__BULK ((size_t)512 * 1024)
char *neap__reader_bulk(neap__reader *reader);
/* Frees it; a reader that has it keeps it as its own. */
void neap__reader_free_bulk(neap_runtime *rt);
/* Room for `want` bytes or more after those that are there; *got: how many. NULL: no
 * memory. */
char *neap__reader_space(neap__reader *reader, size_t want, size_t *got);
/* n bytes were put there. */
static inline void neap__reader_added(neap__reader *reader, size_t n) {
  reader->len += n;
}
/* Adds a copy. False: no memory. */
bool neap__reader_add(neap__reader *reader, const char *data, size_t n);
/* n bytes were taken from the front. Gives memory back when nothing is left. */
void neap__reader_drop(neap__reader *reader, size_t n);
/* Gives back room that was taken and not used, when nothing is there. */
void neap__reader_trim(neap__reader *reader);
static inline const char *neap__reader_bytes(const neap__reader *reader) {
  return reader->data + reader->start;
}

/* Asks for the formats that are arguments `first` to the top, as of file:read (none:
 * a line); raises argument errors. [-0, +0, v] */
void neap__reader_want_formats(lua_State *L, neap__reader *reader, int first);
/* Asks for one thing. The separator is kept by the caller. */
void neap__reader_want(neap__reader *reader, char what, size_t count);
void neap__reader_want_until(neap__reader *reader, const char *separator,
                             size_t n, size_t limit);
/* Whether all that is asked for is there, or cannot come any more. */
bool neap__reader_ready(neap__reader *reader);
/* How many more bytes are needed at least, to size reads; 1 when nobody can tell. */
size_t neap__reader_missing(const neap__reader *reader);
/* Once it is ready: pushes it, and takes it out: results as of file:read. At the end of
 * the stream nil (or "" for "a"); where it is too long nil and LimitOverrunError (with
 * `consumed`), and nothing is taken; for 'x' and 'u' that the end cuts off nil and
 * IncompleteReadError (with `partial`, which is taken, and `expected`), but nil alone
 * where nothing at all was left; after an error nil and an OSError with `op`, and what
 * is there stays. Returns the number of results. What raises here has taken nothing.
 * [-0, +n, v] */
int neap__reader_push(lua_State *L, neap__reader *reader, const char *op);

#endif
