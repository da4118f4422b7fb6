/* SPDX-License-Identifier: MIT
 *
 * address.h - socket addresses: from and to what Lua code writes. Numeric only: names
 * are resolve's business (dns.c).
 */
#ifndef NEAP_ADDRESS_H
#define NEAP_ADDRESS_H

#include "internal.h"

#include <sys/socket.h>

/* "127.0.0.1", "::1", "fe80::1%eth0" (or %2) and a port. 0, UV_EINVAL for what is no
 * numeric address, UV_ENODEV for a scope that is not there. */
int neap__address_parse(const char *host, size_t len, int port,
                        struct sockaddr_storage *out);
/* A path (one that begins with "\0": an abstract name); *out_len: of the address. 0,
 * UV_EINVAL for "" and for a path with a zero in it, UV_ENAMETOOLONG. */
int neap__address_unix(const char *path, size_t len,
                       struct sockaddr_storage *out, socklen_t *out_len);
/* Length of an "inet" or "inet6" address, as system calls want it. */
socklen_t neap__address_len(const struct sockaddr_storage *address);
/* Pushes host (or path, or nil for a family that we do not know), port (or nil) and
 * family ("inet", "inet6", "unix") and returns 3; `len` counts for paths only.
 * [-0, +3, m] */
int neap__address_push(lua_State *L, const void *address, socklen_t len);
/* Pushes it as net.connect takes it: host, port (nil, nil for a family that we do not
 * know), or "unix:/path"; returns their number. [-0, +2, m] */
int neap__address_name(lua_State *L, const void *address, socklen_t len);

/* The port, 0 to 65535, at `index`. Raises "bad `what` to `name` (...)", with the place
 * in the program; `what`: "option 'port'" or "argument #2". [-0, +0, v] */
int neap__check_port(lua_State *L, neap_runtime *rt, int index,
                     const char *what, const char *name);
/* Raises "bad `what` to 'name' (`expected` expected, got ...)" for the value at `index`,
 * with the place in the program, not in a file of ours. [-0, +0, v] */
int neap__bad_value(lua_State *L, neap_runtime *rt, int index, const char *what,
                    const char *name, const char *expected);

#endif
