/* SPDX-License-Identifier: MIT
 *
 * address.c - socket addresses from and to what Lua code writes: see address.h.
 */
#include "address.h"

#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

/* The number of an interface, by its name or number. 0: there is none. */
static unsigned scope_of(const char *name) {
  unsigned index = if_nametoindex(name);
  if (index != 0) return index;
  char *end;
  unsigned long number = strtoul(name, &end, 10);
  return name[0] >= '0' && name[0] <= '9' && *end == '\0' && number <= INT32_MAX
             ? (unsigned)number
             : 0;
}

static int parse6(char *text, int port, struct sockaddr_in6 *out) {
  char *scope = strchr(text, '%');
  if (scope != NULL) *scope++ = '\0';
  out->sin6_family = AF_INET6;
  out->sin6_port = htons((uint16_t)port);
  if (uv_inet_pton(AF_INET6, text, &out->sin6_addr) < 0) return UV_EINVAL;
  if (scope == NULL) return 0;
  out->sin6_scope_id = scope_of(scope);
  return out->sin6_scope_id != 0 ? 0 : UV_ENODEV;
}

int neap__address_parse(const char *host, size_t len, int port,
                        struct sockaddr_storage *out) {
  char text[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE];
  if (len >= sizeof text || memchr(host, '\0', len) != NULL) return UV_EINVAL;
  memcpy(text, host, len);
  text[len] = '\0';
  memset(out, 0, sizeof *out);
  if (strchr(text, ':') != NULL)
    return parse6(text, port, (struct sockaddr_in6 *)(void *)out);
  struct sockaddr_in *inet = (struct sockaddr_in *)(void *)out;
  inet->sin_family = AF_INET;
  inet->sin_port = htons((uint16_t)port);
  return uv_inet_pton(AF_INET, text, &inet->sin_addr) < 0 ? UV_EINVAL : 0;
}

int neap__address_unix(const char *path, size_t len,
                       struct sockaddr_storage *out, socklen_t *out_len) {
  struct sockaddr_un *un = (struct sockaddr_un *)(void *)out;
  bool abstract = len > 0 && path[0] == '\0';
  if (len == 0 || (!abstract && memchr(path, '\0', len) != NULL))
    return UV_EINVAL;
  if (len + !abstract > sizeof un->sun_path) return UV_ENAMETOOLONG;
  memset(out, 0, sizeof *out);
  un->sun_family = AF_UNIX;
  memcpy(un->sun_path, path, len);
  *out_len =
      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + !abstract);
  return 0;
}

socklen_t neap__address_len(const struct sockaddr_storage *address) {
  return address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                        : sizeof(struct sockaddr_in);
}

static void push_inet6(lua_State *L, const struct sockaddr_in6 *address) {
  char text[INET6_ADDRSTRLEN + 1], scope[IF_NAMESIZE];
  uv_inet_ntop(AF_INET6, &address->sin6_addr, text, sizeof text);
  if (address->sin6_scope_id == 0) {
    lua_pushstring(L, text);
  } else if (if_indextoname(address->sin6_scope_id, scope) != NULL) {
    lua_pushfstring(L, "%s%%%s", text, scope);
  } else {
    lua_pushfstring(L, "%s%%%d", text, (int)address->sin6_scope_id);
  }
  lua_pushinteger(L, ntohs(address->sin6_port));
  lua_pushliteral(L, "inet6");
}

static void push_unix(lua_State *L, const struct sockaddr_un *address,
                      socklen_t len) {
  size_t n = len > offsetof(struct sockaddr_un, sun_path)
                 ? len - offsetof(struct sockaddr_un, sun_path)
                 : 0;
  if (n > sizeof address->sun_path) n = sizeof address->sun_path;
  if (n > 0 && address->sun_path[0] != '\0') n = strnlen(address->sun_path, n);
  lua_pushlstring(L, address->sun_path, n);
  lua_pushnil(L);
  lua_pushliteral(L, "unix");
}

int neap__address_push(lua_State *L, const void *address, socklen_t len) {
  const struct sockaddr *any = address;
  luaL_checkstack(L, 4, NULL);
  if (any->sa_family == AF_INET) {
    const struct sockaddr_in *inet = address;
    char text[INET_ADDRSTRLEN + 1];
    uv_inet_ntop(AF_INET, &inet->sin_addr, text, sizeof text);
    lua_pushstring(L, text);
    lua_pushinteger(L, ntohs(inet->sin_port));
    lua_pushliteral(L, "inet");
  } else if (any->sa_family == AF_INET6) {
    push_inet6(L, address);
  } else if (any->sa_family == AF_UNIX) {
    push_unix(L, address, len);
  } else {
    lua_pushnil(L);
    lua_pushnil(L);
    lua_pushnil(L);
  }
  return 3;
}

int neap__address_name(lua_State *L, const void *address, socklen_t len) {
  int top = lua_gettop(L);
  neap__address_push(L, address, len);
  lua_settop(L, top + 2); /* not the family */
  if (((const struct sockaddr *)address)->sa_family != AF_UNIX) return 2;
  lua_pop(L, 1);
  lua_pushliteral(L, "unix:");
  lua_insert(L, -2);
  lua_concat(L, 2);
  return 1;
}

int neap__bad_value(lua_State *L, neap_runtime *rt, int index, const char *what,
                    const char *name, const char *expected) {
  char got[64];
  index = lua_absindex(L, index);
  luaL_checkstack(L, 8, NULL);
  if (lua_type(L, index) == LUA_TNUMBER) {
    if (lua_isinteger(L, index)) {
      snprintf(got, sizeof got, "%lld", (long long)lua_tointeger(L, index));
    } else {
      snprintf(got, sizeof got, "%.14g", lua_tonumber(L, index));
    }
  } else {
    snprintf(got, sizeof got, "%s", luaL_typename(L, index));
  }
  const neap__site *site = neap__site_at(L, rt, 1);
  if (site != NULL) {
    lua_pushfstring(L, "%s:%d: ", site->source, site->line);
  } else {
    lua_pushliteral(L, "");
  }
  lua_pushfstring(L, "bad %s to '%s' (%s expected, got %s)", what, name,
                  expected, got);
  lua_concat(L, 2);
  return lua_error(L);
}

int neap__check_port(lua_State *L, neap_runtime *rt, int index,
                     const char *what, const char *name) {
  int exact = 0;
  lua_Integer port =
      lua_type(L, index) == LUA_TNUMBER ? lua_tointegerx(L, index, &exact) : -1;
  if (!exact || port < 0 || port > 65535)
    neap__bad_value(L, rt, index, what, name, "integer from 0 to 65535");
  return (int)port;
}
