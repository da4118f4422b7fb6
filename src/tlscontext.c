/* SPDX-License-Identifier: MIT
 *
 * tlscontext.c - contexts: certificates, keys, whom to trust, sessions to resume.
 *
 * A context is made on a thread of the pool, which alone knows of it until it is
 * done: reading files and parsing what may be hundreds of certificates takes time. The
 * object owns it from then on. A context is of no loop, and serves clients and servers.
 */
#include "tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SESSIONS 64 /* of a context */
#define MAX_OF_KEY 4
#define SERVER_SESSIONS 512 /* of peers that have no tickets */
#define MAX_FILE ((size_t)16 * 1024 * 1024)

/* ---- life ------------------------------------------------------------------------ */

static void free_session(neap__tls *tls, neap__tls_session *session) {
  tls->SSL_SESSION_free(session->session);
  neap__alloc(tls->rt, session, session->size, 0);
}

static void link_in(neap__tls *tls, neap__tls_context *context) {
  context->tls = tls;
  context->next = tls->contexts;
  if (context->next != NULL) context->next->prev = context;
  tls->contexts = context;
}

static void free_context(neap_runtime *rt, neap__tls_context *context) {
  neap__tls *tls = context->tls;
  if (tls != NULL) {
    if (context->next != NULL) context->next->prev = context->prev;
    if (context->prev != NULL) {
      context->prev->next = context->next;
    } else {
      tls->contexts = context->next;
    }
    while (context->sessions != NULL) {
      neap__tls_session *session = context->sessions;
      context->sessions = session->next;
      free_session(tls, session);
    }
    tls->SSL_CTX_free(context->ctx);
  }
  neap__alloc(rt, context->name, context->name_size, 0);
  neap__alloc(rt, context->alpn, context->alpn_len, 0);
  neap__alloc(rt, context, sizeof *context, 0);
}

static void unref(neap_runtime *rt, neap__tls_context *context) {
  if (--context->refs == 0) free_context(rt, context);
}

void neap__tls_context_unref(neap__tls_context *context) {
  unref(context->tls->rt, context);
}

neap__tls_context *neap__tls_check_context(lua_State *L, neap_runtime *rt,
                                           int index, const char *name) {
  neap__tls_context **box =
      neap__check(L, rt, index, NEAP__K_TLS, "tls context");
  if (*box == NULL || rt->tls == NULL)
    luaL_error(L, "'%s' needs a context that is not closed", name);
  return *box;
}

/* ---- sessions of clients ------------------------------------------------------------ */

void neap__tls_remember(neap__tls_context *context, const char *key,
                        SSL_SESSION *session) {
  neap__tls *tls = context->tls;
  size_t length = strlen(key) + 1;
  size_t size = sizeof(neap__tls_session) + length;
  neap__tls_session *entry = neap__alloc(tls->rt, NULL, 0, size);
  if (entry == NULL) { /* then the next handshake takes longer */
    tls->SSL_SESSION_free(session);
    return;
  }
  entry->next = context->sessions;
  entry->session = session;
  entry->size = size;
  memcpy(entry->key, key, length);
  context->sessions = entry;
  context->nsessions++;
  unsigned same = 0;
  neap__tls_session **at = &context->sessions, **oldest = NULL;
  for (; *at != NULL; at = &(*at)->next) {
    if (strcmp((*at)->key, key) == 0 && ++same > MAX_OF_KEY) oldest = at;
    if ((*at)->next == NULL && context->nsessions > MAX_SESSIONS) oldest = at;
    if (oldest != NULL) break;
  }
  if (oldest == NULL) return;
  entry = *oldest;
  *oldest = entry->next;
  context->nsessions--;
  free_session(tls, entry);
}

SSL_SESSION *neap__tls_recall(neap__tls_context *context, const char *key) {
  neap__tls *tls = context->tls;
  neap__tls_session **at = &context->sessions;
  while (*at != NULL && strcmp((*at)->key, key) != 0)
    at = &(*at)->next;
  neap__tls_session *entry = *at;
  if (entry == NULL) return NULL;
  SSL_SESSION *session = entry->session;
  tls->SSL_SESSION_up_ref(session);
  /* A ticket of TLS 1.3 is used once, or observers could tell who returns. */
  if (tls->SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION) {
    *at = entry->next;
    context->nsessions--;
    free_session(tls, entry);
  }
  return session;
}

/* ---- loading, on a thread of the pool ------------------------------------------------ */

enum { CAFILE, CADIR, CERT, KEY, PASSWORD, CIPHERS, CIPHERSUITES, STRINGS };
static const char *const fields[STRINGS] = {
    "cafile", "cadir", "cert", "key", "password", "ciphers", "ciphersuites"};

typedef struct load {
  neap__req req;
  uv_work_t uv;
  neap__tls_context *context;
  neap__tls *tls;   /* the runtime's, or `fresh` */
  neap__tls *fresh; /* to be loaded, and perhaps to become the runtime's */
  char *text;       /* what the strings are in */
  size_t text_size;
  const char *strings[STRINGS]; /* NULL: not given; followed by a 0 */
  size_t lengths[STRINGS];
  int min, max; /* versions of TLS */
  bool asked;   /* for a password, without there being one */
  neap__tls_error error;
} load;

typedef struct pem {
  BIO *bio;
  char *content;
} pem;

static bool is_text(const char *s) {
  return strncmp(s, "-----BEGIN", 10) == 0;
}

/* What the option names, for messages. */
static const char *source_of(const load *l, int which) {
  return is_text(l->strings[which]) ? "given as text" : l->strings[which];
}

static bool fail_os(load *l, int which, int status) {
  neap__tls_fail_os(&l->error, status, fields[which]);
  size_t n = strlen(l->error.text);
  snprintf(l->error.text + n, sizeof l->error.text - n, " (%s)",
           source_of(l, which));
  return false;
}

static bool fail_ssl(load *l, int which) {
  neap__tls_error why = {"", ""};
  neap__tls_explain(l->tls, &why, NULL);
  neap__tls_fail(&l->error, why.code, "%s: %.80s (%.60s)", fields[which],
                 why.text, source_of(l, which));
  return false;
}

/* The content of a file, with a 0 after it; NULL: why is in *status. */
static char *read_file(const char *path, size_t *n, int *status) {
  FILE *file = fopen(path, "rbe");
  size_t cap = 8192;
  char *content = file != NULL ? malloc(cap) : NULL;
  *n = 0;
  *status = file != NULL ? UV_ENOMEM : uv_translate_sys_error(errno);
  while (content != NULL) {
    errno = 0;
    *n += fread(content + *n, 1, cap - *n, file);
    if (*n < cap) {
      *status = ferror(file) ? uv_translate_sys_error(errno) : 0;
      break;
    }
    char *more = cap < MAX_FILE ? realloc(content, cap * 2) : NULL;
    if (more == NULL) {
      *status = cap < MAX_FILE ? UV_ENOMEM : UV_EFBIG;
      break;
    }
    content = more;
    cap *= 2;
  }
  if (file != NULL) fclose(file);
  if (*status == 0) return content;
  free(content);
  return NULL;
}

static bool open_pem(load *l, int which, pem *p) {
  const char *s = l->strings[which];
  size_t n = l->lengths[which];
  p->content = NULL;
  if (!is_text(s)) {
    int status;
    s = p->content = read_file(s, &n, &status);
    if (s == NULL) return fail_os(l, which, status);
  }
  p->bio = l->tls->BIO_new_mem_buf(s, (int)n);
  if (p->bio != NULL) return true;
  free(p->content);
  return fail_ssl(l, which);
}

static void close_pem(load *l, pem *p) {
  l->tls->BIO_free(p->bio);
  free(p->content);
}

/* The end of a list of certificates looks like an error. */
static bool was_end(load *l) {
  unsigned long e = l->tls->ERR_peek_error();
  if (ERR_GET_LIB(e) != ERR_LIB_PEM || ERR_GET_REASON(e) != PEM_R_NO_START_LINE)
    return false;
  l->tls->ERR_clear_error();
  return true;
}

static int give_password(char *to, int size, int writing, void *ud) {
  load *l = ud;
  (void)writing;
  if (l->strings[PASSWORD] == NULL) l->asked = true;
  if (l->asked || l->lengths[PASSWORD] > (size_t)size) return -1;
  memcpy(to, l->strings[PASSWORD], l->lengths[PASSWORD]);
  return (int)l->lengths[PASSWORD];
}

static bool read_trusted(load *l, SSL_CTX *ctx, BIO *bio) {
  neap__tls *tls = l->tls;
  X509_STORE *store = tls->SSL_CTX_get_cert_store(ctx);
  bool asks = l->context->verify >= NEAP__VERIFY_OPTIONAL;
  int n = 0;
  for (X509 *cert;
       (cert = tls->PEM_read_bio_X509_AUX(bio, NULL, give_password, l)); n++) {
    bool ok = tls->X509_STORE_add_cert(store, cert) == 1 &&
              (!asks || tls->SSL_CTX_add_client_CA(ctx, cert) == 1);
    tls->X509_free(cert);
    if (!ok) return false;
  }
  return n > 0 && was_end(l);
}

static bool load_trust(load *l, SSL_CTX *ctx) {
  neap__tls *tls = l->tls;
  if (l->strings[CAFILE] != NULL) {
    pem p;
    if (!open_pem(l, CAFILE, &p)) return false;
    bool ok = read_trusted(l, ctx, p.bio);
    close_pem(l, &p);
    if (!ok) return fail_ssl(l, CAFILE);
    /* Who names one certificate means that one, be it not at the root. */
    tls->X509_VERIFY_PARAM_set_flags(tls->SSL_CTX_get0_param(ctx),
                                     X509_V_FLAG_PARTIAL_CHAIN);
  }
  if (l->strings[CADIR] != NULL &&
      tls->SSL_CTX_load_verify_dir(ctx, l->strings[CADIR]) != 1)
    return fail_ssl(l, CADIR);
  if (l->strings[CAFILE] == NULL && l->strings[CADIR] == NULL &&
      l->context->verify != NEAP__VERIFY_NONE &&
      tls->SSL_CTX_set_default_verify_paths(ctx) != 1) {
    neap__tls_explain(tls, &l->error, NULL);
    return false;
  }
  return true;
}

static bool use_chain(load *l, SSL_CTX *ctx, BIO *bio) {
  neap__tls *tls = l->tls;
  X509 *cert = tls->PEM_read_bio_X509_AUX(bio, NULL, give_password, l);
  if (cert == NULL) return false;
  bool ok = tls->SSL_CTX_use_certificate(ctx, cert) == 1;
  tls->X509_free(cert);
  if (!ok) return false;
  while ((cert = tls->PEM_read_bio_X509(bio, NULL, give_password, l))) {
    if (tls->SSL_CTX_ctrl(ctx, SSL_CTRL_CHAIN_CERT, 0, cert) != 1) {
      tls->X509_free(cert);
      return false;
    }
  }
  return was_end(l);
}

static bool use_key(load *l, SSL_CTX *ctx, BIO *bio) {
  neap__tls *tls = l->tls;
  EVP_PKEY *key = tls->PEM_read_bio_PrivateKey(bio, NULL, give_password, l);
  if (key == NULL) return false;
  bool ok = tls->SSL_CTX_use_PrivateKey(ctx, key) == 1 &&
            tls->SSL_CTX_check_private_key(ctx) == 1;
  tls->EVP_PKEY_free(key);
  return ok;
}

static bool load_identity(load *l, SSL_CTX *ctx) {
  pem p;
  if (l->strings[CERT] == NULL) return true;
  if (!open_pem(l, CERT, &p)) return false;
  bool ok = use_chain(l, ctx, p.bio);
  close_pem(l, &p);
  if (!ok) return fail_ssl(l, CERT);
  int which = l->strings[KEY] != NULL ? KEY : CERT;
  if (!open_pem(l, which, &p)) return false;
  ok = use_key(l, ctx, p.bio);
  close_pem(l, &p);
  if (ok) return true;
  fail_ssl(l, which);
  if (l->asked)
    neap__tls_fail(&l->error, "BAD_PASSWORD_READ",
                   "%s: the key is encrypted, and no password was given",
                   fields[which]);
  return false;
}

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *n,
                       const unsigned char *theirs, unsigned theirs_len,
                       void *ud) {
  const neap__tls_context *context = ud;
  (void)ssl;
  unsigned char *found = NULL;
  int answer = context->tls->SSL_select_next_proto(&found, n, context->alpn,
                                                   (unsigned)context->alpn_len,
                                                   theirs, theirs_len);
  *out = found;
  return answer == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK
                                          : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static bool set_up(load *l, SSL_CTX *ctx) {
  neap__tls *tls = l->tls;
  neap__tls_context *context = l->context;
  tls->SSL_CTX_set_options(
      ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
               SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  tls->SSL_CTX_ctrl(
      ctx, SSL_CTRL_MODE,
      SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER, NULL);
  bool serves = l->strings[CERT] != NULL;
  tls->SSL_CTX_ctrl(ctx, SSL_CTRL_SET_SESS_CACHE_MODE,
                    serves ? SSL_SESS_CACHE_SERVER
                           : SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL,
                    NULL);
  tls->SSL_CTX_ctrl(ctx, SSL_CTRL_SET_SESS_CACHE_SIZE, SERVER_SESSIONS, NULL);
  if (tls->SSL_CTX_ctrl(ctx, SSL_CTRL_SET_MIN_PROTO_VERSION, l->min, NULL) !=
          1 ||
      tls->SSL_CTX_ctrl(ctx, SSL_CTRL_SET_MAX_PROTO_VERSION, l->max, NULL) !=
          1 ||
      tls->SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"neap",
                                          4) != 1) {
    neap__tls_explain(tls, &l->error, NULL);
    return false;
  }
  if (l->strings[CIPHERS] != NULL &&
      tls->SSL_CTX_set_cipher_list(ctx, l->strings[CIPHERS]) != 1)
    return fail_ssl(l, CIPHERS);
  if (l->strings[CIPHERSUITES] != NULL &&
      tls->SSL_CTX_set_ciphersuites(ctx, l->strings[CIPHERSUITES]) != 1)
    return fail_ssl(l, CIPHERSUITES);
  if (context->alpn != NULL) {
    if (tls->SSL_CTX_set_alpn_protos(ctx, context->alpn,
                                     (unsigned)context->alpn_len) != 0) {
      neap__tls_explain(tls, &l->error, NULL);
      return false;
    }
    tls->SSL_CTX_set_alpn_select_cb(ctx, select_alpn, context);
  }
  return load_identity(l, ctx) && load_trust(l, ctx);
}

static void on_load(uv_work_t *uv) {
  load *l = neap__container_of(uv, load, uv);
  if (l->fresh != NULL && !neap__tls_load(l->fresh, &l->error)) return;
  l->tls->ERR_clear_error();
  SSL_CTX *ctx = l->tls->SSL_CTX_new(l->tls->TLS_method());
  if (ctx == NULL) {
    neap__tls_explain(l->tls, &l->error, NULL);
  } else if (set_up(l, ctx)) {
    l->context->ctx = ctx;
  } else {
    l->tls->SSL_CTX_free(ctx);
  }
  l->tls->ERR_clear_error();
}

static void on_loaded(uv_work_t *uv, int status) {
  load *l = neap__container_of(uv, load, uv);
  neap__req_done(&l->req, status);
}

/* ---- net.tls_context ------------------------------------------------------------------ */

static void free_load(load *l) {
  neap_runtime *rt = l->req.loop->rt;
  if (l->fresh != NULL) {
    neap__tls_unload(l->fresh);
    neap__alloc(rt, l->fresh, sizeof *l->fresh, 0);
  }
  if (l->context != NULL) unref(rt, l->context);
  if (l->text != NULL) memset(l->text, 0, l->text_size); /* keys, passwords */
  neap__alloc(rt, l->text, l->text_size, 0);
  neap__req_free(&l->req);
}

/* The first table that was loaded is the runtime's; the context belongs to it. */
static void settle(neap_runtime *rt, load *l) {
  if (l->fresh != NULL && l->fresh->sink != NULL && rt->tls == NULL) {
    rt->tls = l->fresh;
    l->fresh = NULL;
  }
  if (l->context->ctx != NULL) link_in(rt->tls, l->context);
}

static int load_finish(lua_State *L, neap_wait *wait) {
  load *l = neap__container_of(wait, load, req.wait);
  int status = wait->status;
  bool loaded = l->context->ctx != NULL;
  neap__tls_error error = l->error;
  settle(l->req.loop->rt, l);
  if (L != NULL && status >= 0 && loaded) {
    *(neap__tls_context **)lua_touserdata(L, 2) = l->context;
    l->context = NULL;
  }
  free_load(l);
  if (L == NULL) return 0;
  if (status < 0) return neap_refuse(L, status, "tls_context");
  if (!loaded) {
    lua_pushnil(L);
    neap__tls_push_error(L, &error, "tls_context");
    return 2;
  }
  lua_settop(L, 2);
  return 1;
}

/* Copies the strings of the table at 1; what is in it stays valid until the end. */
static bool copy_strings(lua_State *L, neap_runtime *rt, load *l) {
  size_t total = 0;
  for (int pass = 0; pass < 2; pass++) {
    char *to = l->text;
    for (int i = 0; i < STRINGS; i++) {
      size_t n = 0;
      lua_pushstring(L, fields[i]);
      const char *s =
          lua_rawget(L, 1) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : NULL;
      if (s != NULL && pass == 0) total += n + 1;
      if (s != NULL && pass == 1) {
        l->strings[i] = memcpy(to, s, n + 1);
        l->lengths[i] = n;
        to += n + 1;
      }
      lua_pop(L, 1);
    }
    if (pass == 0 && total > 0) {
      l->text = neap__alloc(rt, NULL, 0, total);
      if (l->text == NULL) return false;
      l->text_size = total;
    }
  }
  return true;
}

/* A copy of the field, with a 0 after it, or NULL. */
static void *copy_field(lua_State *L, neap_runtime *rt, const char *name,
                        size_t more, size_t *size, bool *ok) {
  size_t n = 0;
  lua_pushstring(L, name);
  const char *s =
      lua_rawget(L, 1) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : NULL;
  void *copy = s != NULL ? neap__alloc(rt, NULL, 0, n + more) : NULL;
  if (copy != NULL) {
    memcpy(copy, s, n + more);
    *size = n + more;
  } else if (s != NULL) {
    *ok = false;
  }
  lua_pop(L, 1);
  return copy;
}

static lua_Integer get_number(lua_State *L, const char *name) {
  lua_pushstring(L, name);
  lua_rawget(L, 1);
  lua_Integer n = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return n;
}

static neap__tls_context *new_context(lua_State *L, neap_runtime *rt) {
  neap__tls_context *context = neap__alloc(rt, NULL, 0, sizeof *context);
  if (context == NULL) return NULL;
  memset(context, 0, sizeof *context);
  bool ok = true;
  context->refs = 1;
  context->verify = (enum neap__tls_verify)get_number(L, "verify");
  context->check_host = get_number(L, "check_hostname") != 0;
  context->name = copy_field(L, rt, "server_name", 1, &context->name_size, &ok);
  context->alpn = copy_field(L, rt, "alpn", 0, &context->alpn_len, &ok);
  if (ok) return context;
  free_context(rt, context);
  return NULL;
}

/* new_context(options) -> a context | nil, err. Waits. The options were checked:
 * strings, alpn as on the wire, verify (neap__tls_verify), check_hostname (0, 1), min
 * and max (version numbers). */
static int l_context(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  neap__check_park(rt, L, "neap.net.tls_context");
  neap__tls_context **box = lua_newuserdatauv(L, sizeof *box, 0);
  *box = NULL;
  neap__push_class(L, rt, NEAP__K_TLS);
  lua_setmetatable(L, -2);
  luaL_checkstack(L, 10, NULL);
  load *l = neap__req_new(L, rt, sizeof *l, offsetof(load, uv), load_finish,
                          "neap.net.tls_context");
  bool ok = copy_strings(L, rt, l);
  l->min = (int)get_number(L, "min");
  l->max = (int)get_number(L, "max");
  l->tls = rt->tls;
  if (ok && l->tls == NULL) {
    l->tls = l->fresh = neap__alloc(rt, NULL, 0, sizeof *l->fresh);
    if (l->fresh != NULL) {
      memset(l->fresh, 0, sizeof *l->fresh);
      l->fresh->rt = rt;
    }
  }
  ok = ok && l->tls != NULL && (l->context = new_context(L, rt)) != NULL;
  if (!ok) {
    free_load(l);
    return luaL_error(L, "not enough memory");
  }
  l->context->has_cert = l->strings[CERT] != NULL;
  /* Only fails for a NULL callback. */
  uv_queue_work(l->req.loop->uv, &l->uv, on_load, on_loaded);
  neap__req_started(&l->req);
  return neap__park(rt, L, &l->req.wait);
}

/* ---- the object ----------------------------------------------------------------------- */

/* context:close(): nothing new can be started with it. */
static int l_close(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  neap__tls_context **box = neap__check(L, rt, 1, NEAP__K_TLS, "tls context");
  neap__tls_context *context = *box;
  *box = NULL;
  /* The end of the runtime has freed it. */
  if (context != NULL && rt->tls != NULL) unref(rt, context);
  return 0;
}

static int l_tostring(lua_State *L) {
  neap__tls_context **box =
      neap__check(L, neap__rt(L), 1, NEAP__K_TLS, "tls context");
  lua_pushfstring(L, "<tls context%s>", *box == NULL ? " closed" : "");
  return 1;
}

/* is_context(value) */
static int l_is_context(lua_State *L) {
  lua_pushboolean(L, neap__test(L, neap__rt(L), 1, NEAP__K_TLS) != NULL);
  return 1;
}

/* has_identity(context) -> whether it has a certificate, which servers need. */
static int l_has_cert(lua_State *L) {
  lua_pushboolean(
      L, neap__tls_check_context(L, neap__rt(L), 1, "has_identity")->has_cert);
  return 1;
}

void neap__tls_context_open(lua_State *L, neap_runtime *rt) {
  static const luaL_Reg methods[] = {
      {"close", l_close},         {"__close", l_close}, {"__gc", l_close},
      {"__tostring", l_tostring}, {NULL, NULL},
  };
  static const luaL_Reg functions[] = {{"new_context", l_context},
                                       {"is_context", l_is_context},
                                       {"has_identity", l_has_cert},
                                       {NULL, NULL}};
  if (rt->mt[NEAP__K_TLS] == NULL) {
    neap__new_class(L, rt, NEAP__K_TLS, "neap.net.tls_context", methods);
    lua_pop(L, 1);
  }
  neap__set_funcs(L, rt, functions);
}
