/* SPDX-License-Identifier: MIT
 *
 * tls.c - TLS as a filter of streams. The module "neap.core.tls".
 *
 * What arrives is decrypted at once: it is never more than what was read, so that the
 * limits of the stream hold. OpenSSL keeps less than a record. What it writes goes
 * through the sink that all connections of a runtime share, into the stream's output.
 */
#include "tls.h"

#include <stdio.h>
#include <string.h>

/* Bytes that a peer may make us write without taking any. */
#define MAX_ANSWERS ((size_t)64 * 1024)

/* ---- life ------------------------------------------------------------------------ */

void neap__tls_conn_free(neap__tls_conn *conn) {
  neap__tls *tls = conn->tls;
  if (conn->next != NULL) conn->next->prev = conn->prev;
  if (conn->prev != NULL) {
    conn->prev->next = conn->next;
  } else {
    tls->conns = conn->next;
  }
  tls->SSL_free(conn->ssl);
  tls->ERR_clear_error();
  neap__tls_context_unref(conn->context);
  neap__alloc(tls->rt, conn->key, conn->key_size, 0);
  neap__alloc(tls->rt, conn, sizeof *conn, 0);
}

static neap__tls_conn *new_conn(neap__tls_context *context,
                                neap__stream *stream, bool server) {
  neap__tls *tls = context->tls;
  neap__tls_conn *conn = neap__alloc(tls->rt, NULL, 0, sizeof *conn);
  if (conn == NULL) return NULL;
  memset(conn, 0, sizeof *conn);
  conn->ssl = tls->SSL_new(context->ctx);
  if (conn->ssl == NULL) {
    tls->ERR_clear_error();
    neap__alloc(tls->rt, conn, sizeof *conn, 0);
    return NULL;
  }
  tls->BIO_up_ref(tls->sink);
  tls->SSL_set0_wbio(conn->ssl, tls->sink);
  conn->tls = tls;
  conn->context = context;
  context->refs++;
  conn->stream = stream;
  conn->server = server;
  conn->next = tls->conns;
  if (conn->next != NULL) conn->next->prev = conn;
  tls->conns = conn;
  return conn;
}

/* ---- to and from OpenSSL ------------------------------------------------------------ */

/* What it wrote goes out. The number of bytes. */
static size_t drain(neap__tls_conn *conn) {
  neap__tls *tls = conn->tls;
  size_t total = 0;
  char *data;
  for (int n; (n = tls->BIO_nread0(tls->source, &data)) > 0;) {
    neap__stream_raw(conn->stream, data, (size_t)n);
    tls->BIO_nread(tls->source, &data, n);
    total += (size_t)n;
  }
  return total;
}

/* It is to read these bytes next, which stay where they are until it has. */
static bool give(neap__tls_conn *conn, const char *data, size_t n) {
  neap__tls *tls = conn->tls;
  BIO *bio = tls->BIO_new_mem_buf(data, (int)n);
  if (bio == NULL) {
    tls->ERR_clear_error();
    return false;
  }
  tls->BIO_ctrl(bio, BIO_C_SET_BUF_MEM_EOF_RETURN, -1, NULL);
  tls->SSL_set0_rbio(conn->ssl, bio);
  return true;
}

/* Nothing more can be read, for the reason that conn->error says. */
static void fail_reading(neap__tls_conn *conn) {
  neap__stream *s = conn->stream;
  if (s->in.error == 0) s->in.error = UV_EPROTO;
}

/* Nor written: the connection is of no use any more. */
static void fail(neap__tls_conn *conn) {
  conn->state = NEAP__TLS_FAILED;
  fail_reading(conn);
  if (conn->shaking == NULL) {
    neap__stream_flush(conn->stream); /* the alert */
    neap__stream_broken(conn->stream, UV_EPROTO);
  }
}

static void fail_memory(neap__tls_conn *conn) {
  neap__tls_fail_os(&conn->error, UV_ENOMEM, NULL);
  fail(conn);
}

/* The call that gave `result` did not succeed. True: it is to be made again. */
static bool look_at(neap__tls_conn *conn, int result) {
  int why = conn->tls->SSL_get_error(conn->ssl, result);
  if (why == SSL_ERROR_WANT_WRITE) return true; /* the sink was full */
  if (why == SSL_ERROR_WANT_READ) return false;
  if (why == SSL_ERROR_ZERO_RETURN) {
    conn->finished = true;
    conn->stream->in.eof = true;
    return false;
  }
  neap__tls_explain(conn->tls, &conn->error, conn->ssl);
  fail(conn);
  return false;
}

static void shake(neap__tls_conn *conn) {
  neap__tls *tls = conn->tls;
  for (;;) {
    tls->ERR_clear_error();
    int result = tls->SSL_do_handshake(conn->ssl);
    drain(conn);
    if (result == 1) break;
    if (!look_at(conn, result)) return;
  }
  conn->state = NEAP__TLS_OPEN;
  if (conn->shaking != NULL) neap_wake(conn->shaking, 0);
}

/* Decrypts what there is; `n` bytes of it came just now. */
static void decrypt(neap__tls_conn *conn, size_t n) {
  neap__tls *tls = conn->tls;
  neap__reader *in = &conn->stream->in;
  size_t want = n + 256; /* a record may have begun before */
  while (!conn->finished) {
    size_t room, got;
    char *to = neap__reader_space(in, want, &room);
    if (to == NULL) {
      fail_memory(conn);
      return;
    }
    tls->ERR_clear_error();
    int result = tls->SSL_read_ex(conn->ssl, to, room, &got);
    if (result == 1) {
      neap__reader_added(in, got);
      want = 1;
      continue;
    }
    conn->answers += drain(conn);
    if (!look_at(conn, result)) return;
  }
}

/* A session that the server gave since the last time. */
static void keep_session(neap__tls_conn *conn) {
  neap__tls *tls = conn->tls;
  SSL_SESSION *session = tls->SSL_get_session(conn->ssl);
  if (session == conn->kept || session == NULL ||
      !tls->SSL_SESSION_is_resumable(session))
    return;
  conn->kept = session;
  tls->SSL_SESSION_up_ref(session);
  neap__tls_remember(conn->context, conn->key, session);
}

/* ---- the filter ------------------------------------------------------------------------ */

static void on_end(neap__tls_conn *conn, int status) {
  neap__reader *in = &conn->stream->in;
  if (conn->finished || conn->state == NEAP__TLS_FAILED) return;
  if (status != UV_EOF) {
    neap__tls_fail_os(&conn->error, status == UV_ENOBUFS ? UV_ENOMEM : status,
                      NULL);
    if (in->error == 0) in->error = status == UV_ENOBUFS ? UV_ENOMEM : status;
  } else {
    neap__tls_fail(&conn->error, "ESSLEOF",
                   conn->state == NEAP__TLS_SHAKES
                       ? "the peer closed the connection in the handshake"
                       : "the peer closed the connection without saying so "
                         "(close_notify): data may be missing");
    fail_reading(conn);
  }
  if (conn->state == NEAP__TLS_SHAKES) fail(conn);
}

static void received(neap__stream *s, const char *data, ssize_t n) {
  neap__tls_conn *conn = s->filter_data;
  if (n < 0) {
    on_end(conn, (int)n);
    return;
  }
  if (conn->state == NEAP__TLS_FAILED || conn->finished) return;
  if (neap__stream_pending(s) == 0) conn->answers = 0;
  if (!give(conn, data, (size_t)n)) {
    fail_memory(conn);
    return;
  }
  if (conn->state == NEAP__TLS_SHAKES) shake(conn);
  if (conn->state == NEAP__TLS_OPEN) decrypt(conn, (size_t)n);
  if (conn->state == NEAP__TLS_OPEN && conn->key != NULL) keep_session(conn);
  if (conn->state == NEAP__TLS_OPEN && conn->answers > MAX_ANSWERS) {
    neap__tls_fail(&conn->error, "ESSLFLOOD",
                   "the peer asks for answers that it does not take");
    fail(conn);
  }
}

static int send_plain(neap__stream *s, const char *data, size_t n) {
  neap__tls_conn *conn = s->filter_data;
  neap__tls *tls = conn->tls;
  if (conn->state == NEAP__TLS_FAILED) return UV_EPROTO;
  if (conn->state == NEAP__TLS_SHAKES) return UV_EBUSY;
  if (n >= SSL3_RT_MAX_PLAIN_LENGTH &&
      !neap__stream_reserve(s, n + n / 128 + 512)) /* with the records' heads */
    return s->error;
  for (;;) {
    size_t written;
    tls->ERR_clear_error();
    int result = tls->SSL_write_ex(conn->ssl, data, n, &written);
    drain(conn);
    if (s->error != 0) return s->error;
    if (result == 1) return 0;
    if (tls->SSL_get_error(conn->ssl, result) == SSL_ERROR_WANT_WRITE) continue;
    neap__tls_explain(tls, &conn->error, conn->ssl);
    conn->state = NEAP__TLS_FAILED;
    fail_reading(conn);
    return UV_EPROTO;
  }
}

/* close_notify */
static int send_end(neap__stream *s) {
  neap__tls_conn *conn = s->filter_data;
  neap__tls *tls = conn->tls;
  if (conn->state != NEAP__TLS_OPEN) return 0;
  tls->ERR_clear_error();
  tls->SSL_shutdown(conn->ssl);
  tls->ERR_clear_error();
  drain(conn);
  return 0;
}

static bool push_error(lua_State *L, neap__stream *s, int status,
                       const char *op) {
  neap__tls_conn *conn = s->filter_data;
  if (status != UV_EPROTO || conn->error.code[0] == '\0') return false;
  neap__tls_push_error(L, &conn->error, op);
  return true;
}

static void drop(neap__stream *s) {
  neap__tls_conn *conn = s->filter_data;
  s->filter_data = NULL;
  if (conn != NULL) neap__tls_conn_free(conn);
}

static const neap__filter filter = {
    .name = "tls",
    .received = received,
    .send = send_plain,
    .end = send_end,
    .push_error = push_error,
    .drop = drop,
};

neap__tls_conn *neap__tls_of(const neap__stream *s) {
  return s != NULL && s->filter == &filter ? s->filter_data : NULL;
}

/* ---- starting ----------------------------------------------------------------------------- */

static bool is_address(const char *name) {
  unsigned char address[16];
  return uv_inet_pton(AF_INET, name, address) == 0 ||
         uv_inet_pton(AF_INET6, name, address) == 0;
}

/* Whom we want to talk to: for the peer to choose its certificate, and for us to look
 * at it. False: no memory, or not a name. */
static bool set_name(neap__tls_conn *conn, const char *name, bool check) {
  neap__tls *tls = conn->tls;
  X509_VERIFY_PARAM *param = tls->SSL_get0_param(conn->ssl);
  if (is_address(name))
    return !check || tls->X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;
  char host[256];
  size_t n = strlen(name);
  if (n > 0 && name[n - 1] == '.') n--; /* a name from the root */
  if (n == 0 || n >= sizeof host) return false;
  memcpy(host, name, n);
  host[n] = '\0';
  if (tls->SSL_ctrl(conn->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME,
                    TLSEXT_NAMETYPE_host_name, host) != 1)
    return false;
  if (!check) return true;
  tls->X509_VERIFY_PARAM_set_hostflags(param,
                                       X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return tls->X509_VERIFY_PARAM_set1_host(param, host, n) == 1;
}

static int port_of(neap__stream *s) {
  struct sockaddr_storage address;
  int n = sizeof address;
  if (s->type != NEAP__TCP ||
      uv_tcp_getpeername(&s->uv.tcp, (struct sockaddr *)&address, &n) < 0)
    return 0;
  if (address.ss_family == AF_INET)
    return ntohs(((struct sockaddr_in *)(void *)&address)->sin_port);
  return ntohs(((struct sockaddr_in6 *)(void *)&address)->sin6_port);
}

/* Sessions are kept for a name, a port, and what of the peer was looked at. */
static void use_session(neap__tls_conn *conn, const char *name, bool check) {
  neap__tls *tls = conn->tls;
  char key[320];
  int n =
      snprintf(key, sizeof key, "%s %d %d", name, port_of(conn->stream), check);
  if (n < 0 || (size_t)n >= sizeof key) return;
  conn->key = neap__alloc(tls->rt, NULL, 0, (size_t)n + 1);
  if (conn->key == NULL) return;
  conn->key_size = (size_t)n + 1;
  memcpy(conn->key, key, conn->key_size);
  SSL_SESSION *session = neap__tls_recall(conn->context, key);
  if (session == NULL) return;
  tls->SSL_set_session(conn->ssl, session);
  conn->kept = session;
  tls->SSL_SESSION_free(session);
}

static bool set_up_client(neap__tls_conn *conn, const char *name) {
  neap__tls *tls = conn->tls;
  const neap__tls_context *context = conn->context;
  bool verify = context->verify != NEAP__VERIFY_NONE;
  bool check = verify && context->check_host;
  tls->SSL_set_connect_state(conn->ssl);
  tls->SSL_set_verify(conn->ssl, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
                      NULL);
  if (name == NULL) return true;
  if (!set_name(conn, name, check)) return false;
  use_session(conn, name, check);
  return true;
}

static void set_up_server(neap__tls_conn *conn) {
  neap__tls *tls = conn->tls;
  enum neap__tls_verify verify = conn->context->verify;
  int mode = SSL_VERIFY_NONE;
  if (verify == NEAP__VERIFY_OPTIONAL) mode = SSL_VERIFY_PEER;
  if (verify == NEAP__VERIFY_REQUIRED)
    mode = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  tls->SSL_set_accept_state(conn->ssl);
  tls->SSL_set_verify(conn->ssl, mode, NULL);
}

/* What was read before belongs to the handshake. */
static void take_over_input(neap__tls_conn *conn) {
  neap__stream *s = conn->stream;
  neap_runtime *rt = conn->tls->rt;
  size_t n = s->in.len;
  char *copy = NULL;
  if (n > 0) {
    copy = neap__alloc(rt, NULL, 0, n);
    if (copy == NULL) {
      fail_memory(conn);
      return;
    }
    memcpy(copy, neap__reader_bytes(&s->in), n);
    neap__reader_drop(&s->in, n);
  }
  bool eof = s->in.eof;
  int error = s->in.error;
  s->in.eof = false;
  s->in.error = 0;
  received(s, copy != NULL ? copy : "", (ssize_t)n);
  neap__alloc(rt, copy, n, 0);
  if (eof) on_end(conn, UV_EOF);
  if (error != 0) on_end(conn, error);
}

static int start_result(lua_State *L, neap__tls_conn *conn, int status) {
  neap__stream *s = conn->stream;
  if (status == 0 && conn->state == NEAP__TLS_OPEN) {
    s->writable = true;
    neap__stream_flush(s);
    neap__stream_pull(s);
    if (L == NULL) return 0;
    lua_settop(L, 1);
    return 1;
  }
  if (status == UV_ECANCELED || L == NULL) {
    neap__io_close(&s->io); /* half a handshake is of no use to anybody */
    return L == NULL ? 0 : neap__raise_cancelled(L, conn->tls->rt);
  }
  bool known = conn->state == NEAP__TLS_FAILED && conn->error.code[0] != '\0';
  neap__tls_error error = conn->error;
  neap__stream_close(s); /* the alert may still leave */
  if (!known)
    return neap_refuse(L, status < 0 ? status : UV_EPROTO, "start_tls");
  lua_pushnil(L);
  neap__tls_push_error(L, &error, "start_tls");
  return 2;
}

static neap_aborted start_abort(neap_wait *wait) {
  (void)wait;
  return NEAP_ABORT_DONE;
}

static int start_finish(lua_State *L, neap_wait *wait) {
  neap__stream *s = neap__link_of(wait)->object;
  neap__tls_conn *conn = s->filter_data;
  s->reader = NULL;
  conn->shaking = NULL;
  neap__io_release(&s->io);
  return start_result(L, conn, wait->status);
}

/* The stream at 1, with nothing under way that would get between. */
static neap__stream *check_stream(lua_State *L, neap_runtime *rt) {
  static const char name[] = "Stream:start_tls";
  neap__stream *s = neap__stream_check(L, rt, 1, name);
  if (s->filter != NULL)
    luaL_error(L, "the stream is encrypted already (in '%s')", name);
  if (!s->readable || !s->writable)
    luaL_error(L, "the stream is not open for reading and writing (in '%s')",
               name);
  if (s->reader != NULL || s->piped != NULL)
    luaL_error(L,
               "another task is reading from this stream (in '%s': only one at "
               "a time can)",
               name);
  if (s->fed != NULL)
    luaL_error(L, "another stream is piped into this one (in '%s')", name);
  if (s->ending) luaL_error(L, "attempt to start TLS after shutdown");
  return s;
}

/* Raises an error of the caller in a program. [-0, +0, v] */
static int misused(lua_State *L, neap_runtime *rt, const char *text) {
  const neap__site *site = neap__site_at(L, rt, 1);
  if (site == NULL) return luaL_error(L, "%s", text);
  lua_pushfstring(L, "%s:%d: %s", site->source, site->line, text);
  return lua_error(L);
}

/* start(stream, context, server, name, host) -> the stream; or nil, err, and it is
 * closed. Waits. `name`: of the server, for clients; nil: that of the context, or else
 * the host. */
static int l_start(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__stream *s = check_stream(L, rt);
  neap__tls_context *context =
      neap__tls_check_context(L, rt, 2, "Stream:start_tls");
  bool server = lua_toboolean(L, 3);
  const char *name = luaL_optstring(L, 4, context->name);
  if (name == NULL) name = luaL_optstring(L, 5, NULL);
  if (server && !context->has_cert)
    return luaL_error(L, "bad option 'cert' to 'Stream:start_tls' (a server "
                         "needs 'cert' and 'key')");
  if (!server && name == NULL && context->check_host &&
      context->verify != NEAP__VERIFY_NONE)
    return misused(L, rt,
                   "bad option 'server_name' to 'Stream:start_tls' (whom the "
                   "certificate is to be for must be said, or "
                   "check_hostname = false)");
  neap__check_park(rt, L, "Stream:start_tls");
  neap__io_check_here(L, rt, &s->io);
  luaL_checkstack(L, 10, NULL);
  if (s->error != 0) return neap_refuse(L, s->error, "start_tls");
  neap__tls_conn *conn = new_conn(context, s, server);
  if (conn == NULL) return neap_refuse(L, UV_ENOMEM, "start_tls");
  if (server) {
    set_up_server(conn);
  } else if (!set_up_client(conn, name)) {
    conn->tls->ERR_clear_error();
    neap__tls_conn_free(conn);
    return neap_refuse(L, UV_EINVAL, "start_tls");
  }
  neap__stream_flush(s);
  neap_wait *wait =
      neap__io_wait(rt, start_abort, start_finish, "Stream:start_tls", s);
  s->filter = &filter;
  s->filter_data = conn;
  s->writable = false; /* until the handshake is done */
  conn->shaking = wait;
  s->reader = wait;
  neap__io_hold(&s->io);
  neap__reader_want(&s->in, 'a', 0); /* only its end wakes by that */
  take_over_input(conn);
  if (conn->state != NEAP__TLS_SHAKES || s->error != 0) {
    wait->status = s->error;
    return start_finish(L, wait);
  }
  neap__stream_flush(s);
  neap__stream_pull(s);
  return neap__park(rt, L, wait);
}

/* check(stream): raises where TLS cannot begin. */
static int l_check(lua_State *L) {
  check_stream(L, neap__rt(L));
  return 0;
}

/* update_keys(stream): new keys for both directions of TLS 1.3, for tests. */
static int l_update_keys(lua_State *L) {
  neap__stream *s = neap__stream_check(L, neap__rt(L), 1, "update_keys");
  neap__tls_conn *conn = neap__tls_of(s);
  if (conn == NULL || conn->state != NEAP__TLS_OPEN) return 0;
  neap__tls *tls = conn->tls;
  tls->ERR_clear_error();
  bool ok = tls->SSL_key_update(conn->ssl, SSL_KEY_UPDATE_REQUESTED) == 1 &&
            tls->SSL_do_handshake(conn->ssl) == 1;
  tls->ERR_clear_error();
  drain(conn);
  lua_pushboolean(L, ok);
  return 1;
}

int neap__open_tls(lua_State *L) {
  neap_runtime *rt = neap_of(L);
  static const luaL_Reg functions[] = {{"start", l_start},
                                       {"check", l_check},
                                       {"update_keys", l_update_keys},
                                       {NULL, NULL}};
  neap__stream_open(L, rt);
  lua_createtable(L, 0, 8);
  neap__set_funcs(L, rt, functions);
  neap__tls_context_open(L, rt);
  return 1;
}
