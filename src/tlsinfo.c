/* SPDX-License-Identifier: MIT
 *
 * tlsinfo.c - what was agreed with the peer, and its certificate.
 *
 * What OpenSSL makes is kept in `info` while Lua, which may raise, reads it.
 */
#include "tls.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

typedef struct info {
  neap__tls *tls;
  neap__tls_conn *conn;
  X509 *cert; /* borrowed */
  BIO *text;  /* for one text after another */
  GENERAL_NAMES *names;
} info;

/* Pushes what was written to the text, and empties it. [-0, +1, m] */
static void push_text(lua_State *L, info *i) {
  char *data = NULL;
  long n = i->tls->BIO_ctrl(i->text, BIO_CTRL_INFO, 0, &data);
  lua_pushlstring(L, n > 0 ? data : "", n > 0 ? (size_t)n : 0);
  i->tls->BIO_ctrl(i->text, BIO_CTRL_RESET, 0, NULL);
}

/* The name as RFC 2253 writes it, in UTF-8. */
static void set_name(lua_State *L, info *i, const char *field,
                     const X509_NAME *name) {
  i->tls->X509_NAME_print_ex(i->text, name, 0,
                             XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
  push_text(L, i);
  lua_setfield(L, -2, field);
}

static void set_time(lua_State *L, info *i, const char *field,
                     const ASN1_TIME *time) {
  struct tm tm;
  memset(&tm, 0, sizeof tm);
  if (i->tls->ASN1_TIME_to_tm(time, &tm) != 1) return;
  lua_pushinteger(L, (lua_Integer)timegm(&tm));
  lua_setfield(L, -2, field);
}

static void set_serial(lua_State *L, info *i) {
  neap__tls *tls = i->tls;
  char text[160] = "";
  BIGNUM *n =
      tls->ASN1_INTEGER_to_BN(tls->X509_get0_serialNumber(i->cert), NULL);
  char *hex = n != NULL ? tls->BN_bn2hex(n) : NULL;
  if (hex != NULL) snprintf(text, sizeof text, "%s", hex);
  tls->CRYPTO_free(hex, __FILE__, __LINE__);
  tls->BN_free(n);
  lua_pushstring(L, text);
  lua_setfield(L, -2, "serial");
}

static void set_fingerprint(lua_State *L, info *i) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  char hex[2 * EVP_MAX_MD_SIZE + 1] = "";
  unsigned n = 0;
  if (i->tls->X509_digest(i->cert, i->tls->EVP_sha256(), digest, &n) != 1)
    return;
  for (size_t j = 0; j < n; j++)
    snprintf(hex + 2 * j, 3, "%02x", digest[j]);
  lua_pushstring(L, hex);
  lua_setfield(L, -2, "fingerprint");
}

/* Pushes "DNS:localhost" and the like, or nothing for a kind that nobody uses. */
static bool push_alt_name(lua_State *L, info *i, const GENERAL_NAME *name) {
  neap__tls *tls = i->tls;
  const char *kind = name->type == GEN_DNS     ? "DNS:"
                     : name->type == GEN_EMAIL ? "email:"
                     : name->type == GEN_URI   ? "URI:"
                                               : NULL;
  if (kind != NULL) {
    const ASN1_STRING *s = name->d.ia5;
    lua_pushstring(L, kind);
    lua_pushlstring(L, (const char *)tls->ASN1_STRING_get0_data(s),
                    (size_t)tls->ASN1_STRING_length(s));
    lua_concat(L, 2);
    return true;
  }
  if (name->type != GEN_IPADD) return false;
  const ASN1_STRING *s = name->d.iPAddress;
  int n = tls->ASN1_STRING_length(s);
  char text[64];
  if ((n != 4 && n != 16) ||
      uv_inet_ntop(n == 4 ? AF_INET : AF_INET6, tls->ASN1_STRING_get0_data(s),
                   text, sizeof text) < 0)
    return false;
  lua_pushfstring(L, "IP:%s", text);
  return true;
}

static void set_names(lua_State *L, info *i) {
  const OPENSSL_STACK *list = (const OPENSSL_STACK *)i->names;
  int n = list != NULL ? i->tls->OPENSSL_sk_num(list) : 0, count = 0;
  lua_createtable(L, n, 0);
  for (int j = 0; j < n; j++)
    if (push_alt_name(L, i, i->tls->OPENSSL_sk_value(list, j)))
      lua_rawseti(L, -2, ++count);
  lua_setfield(L, -2, "names");
}

static void push_certificate(lua_State *L, info *i) {
  neap__tls *tls = i->tls;
  lua_createtable(L, 0, 8);
  set_name(L, i, "subject", tls->X509_get_subject_name(i->cert));
  set_name(L, i, "issuer", tls->X509_get_issuer_name(i->cert));
  set_time(L, i, "not_before", tls->X509_get0_notBefore(i->cert));
  set_time(L, i, "not_after", tls->X509_get0_notAfter(i->cert));
  set_serial(L, i);
  set_fingerprint(L, i);
  set_names(L, i);
  tls->PEM_write_bio_X509(i->text, i->cert);
  push_text(L, i);
  lua_setfield(L, -2, "pem");
}

static void push_alpn(lua_State *L, neap__tls_conn *conn) {
  const unsigned char *name = NULL;
  unsigned n = 0;
  conn->tls->SSL_get0_alpn_selected(conn->ssl, &name, &n);
  if (n > 0) {
    lua_pushlstring(L, (const char *)name, n);
  } else {
    lua_pushnil(L);
  }
}

/* The table, from the info at 1. */
static int push_info(lua_State *L) {
  info *i = lua_touserdata(L, 1);
  neap__tls *tls = i->tls;
  SSL *ssl = i->conn->ssl;
  lua_createtable(L, 0, 8);
  lua_pushstring(L, tls->SSL_get_version(ssl));
  lua_setfield(L, -2, "version");
  lua_pushstring(L, tls->SSL_CIPHER_get_name(tls->SSL_get_current_cipher(ssl)));
  lua_setfield(L, -2, "cipher");
  push_alpn(L, i->conn);
  lua_setfield(L, -2, "alpn");
  lua_pushboolean(L, tls->SSL_session_reused(ssl));
  lua_setfield(L, -2, "resumed");
  lua_pushboolean(L, i->conn->server);
  lua_setfield(L, -2, "server");
  lua_pushstring(L, tls->SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
  lua_setfield(L, -2, "server_name");
  if (i->cert == NULL) return 1;
  push_certificate(L, i);
  lua_setfield(L, -2, "peer_certificate");
  return 1;
}

static neap__tls_conn *check_conn(lua_State *L, const char *name) {
  neap__tls_conn *conn =
      neap__tls_of(neap__stream_check(L, neap__rt(L), 1, name));
  return conn != NULL && conn->state != NEAP__TLS_SHAKES ? conn : NULL;
}

/* stream:tls_info() -> a table, or nothing where there is no TLS. */
static int l_tls_info(lua_State *L) {
  neap__tls_conn *conn = check_conn(L, "Stream:tls_info");
  if (conn == NULL) return 0;
  neap__tls *tls = conn->tls;
  luaL_checkstack(L, 6, NULL);
  info i = {.tls = tls, .conn = conn};
  tls->ERR_clear_error();
  i.text = tls->BIO_new(tls->BIO_s_mem());
  if (i.text == NULL) return luaL_error(L, "not enough memory");
  i.cert = tls->SSL_get0_peer_certificate(conn->ssl);
  if (i.cert != NULL)
    i.names = tls->X509_get_ext_d2i(i.cert, NID_subject_alt_name, NULL, NULL);
  lua_pushcfunction(L, push_info); /* allocates nothing: no upvalues */
  lua_pushlightuserdata(L, &i);
  int status = lua_pcall(L, 1, 1, 0);
  if (i.names != NULL) tls->GENERAL_NAMES_free(i.names);
  tls->BIO_free(i.text);
  tls->ERR_clear_error();
  return status == LUA_OK ? 1 : lua_error(L);
}

/* stream:alpn() -> the protocol that was chosen, or nil. */
static int l_alpn(lua_State *L) {
  neap__tls_conn *conn = check_conn(L, "Stream:alpn");
  if (conn == NULL) return 0;
  push_alpn(L, conn);
  return 1;
}

const luaL_Reg neap__stream_tls_methods[] = {
    {"tls_info", l_tls_info},
    {"alpn", l_alpn},
    {NULL, NULL},
};
