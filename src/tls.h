/* SPDX-License-Identifier: MIT
 *
 * tls.h - what the files of TLS share: OpenSSL's functions, contexts, connections.
 *
 * libssl is not linked: it is loaded when the first context is made, on a thread of
 * the pool, and called by way of a table of pointers that the runtime has. Macros of
 * OpenSSL's that call functions are therefore not to be used.
 *
 * Contexts are counted: their object and each connection hold one. The end of the
 * runtime frees what is left.
 */
#ifndef NEAP_TLS_H
#define NEAP_TLS_H

#include "stream.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#if defined(OPENSSL_VERSION_NUMBER) && OPENSSL_VERSION_NUMBER < 0x30000000L
#error "the headers of OpenSSL 3 are needed (Debian: libssl-dev)"
#endif

/* ---- tlsapi.c: OpenSSL ------------------------------------------------------ */

#define NEAP__TLS_FUNCTIONS(X)                                                 \
  X(ASN1_INTEGER_to_BN)                                                        \
  X(ASN1_STRING_get0_data)                                                     \
  X(ASN1_STRING_length)                                                        \
  X(ASN1_STRING_to_UTF8)                                                       \
  X(ASN1_TIME_to_tm)                                                           \
  X(BIO_ctrl)                                                                  \
  X(BIO_free)                                                                  \
  X(BIO_new)                                                                   \
  X(BIO_new_bio_pair)                                                          \
  X(BIO_new_mem_buf)                                                           \
  X(BIO_nread)                                                                 \
  X(BIO_nread0)                                                                \
  X(BIO_s_mem)                                                                 \
  X(BIO_up_ref)                                                                \
  X(BN_bn2hex)                                                                 \
  X(BN_free)                                                                   \
  X(CRYPTO_free)                                                               \
  X(ERR_clear_error)                                                           \
  X(ERR_peek_error)                                                            \
  X(ERR_reason_error_string)                                                   \
  X(EVP_PKEY_free)                                                             \
  X(EVP_sha256)                                                                \
  X(GENERAL_NAMES_free)                                                        \
  X(OPENSSL_sk_num)                                                            \
  X(OPENSSL_sk_value)                                                          \
  X(PEM_read_bio_PrivateKey)                                                   \
  X(PEM_read_bio_X509)                                                         \
  X(PEM_read_bio_X509_AUX)                                                     \
  X(PEM_write_bio_X509)                                                        \
  X(SSL_CIPHER_get_name)                                                       \
  X(SSL_CTX_add_client_CA)                                                     \
  X(SSL_CTX_check_private_key)                                                 \
  X(SSL_CTX_ctrl)                                                              \
  X(SSL_CTX_free)                                                              \
  X(SSL_CTX_get_cert_store)                                                    \
  X(SSL_CTX_get0_param)                                                        \
  X(SSL_CTX_load_verify_dir)                                                   \
  X(SSL_CTX_new)                                                               \
  X(SSL_CTX_set_alpn_protos)                                                   \
  X(SSL_CTX_set_alpn_select_cb)                                                \
  X(SSL_CTX_set_cipher_list)                                                   \
  X(SSL_CTX_set_ciphersuites)                                                  \
  X(SSL_CTX_set_default_verify_paths)                                          \
  X(SSL_CTX_set_options)                                                       \
  X(SSL_CTX_set_session_id_context)                                            \
  X(SSL_CTX_use_PrivateKey)                                                    \
  X(SSL_CTX_use_certificate)                                                   \
  X(SSL_SESSION_free)                                                          \
  X(SSL_SESSION_get_protocol_version)                                          \
  X(SSL_SESSION_is_resumable)                                                  \
  X(SSL_SESSION_up_ref)                                                        \
  X(SSL_alert_desc_string_long)                                                \
  X(SSL_ctrl)                                                                  \
  X(SSL_do_handshake)                                                          \
  X(SSL_free)                                                                  \
  X(SSL_get0_alpn_selected)                                                    \
  X(SSL_get0_param)                                                            \
  X(SSL_get0_peer_certificate)                                                 \
  X(SSL_get_current_cipher)                                                    \
  X(SSL_get_error)                                                             \
  X(SSL_get_servername)                                                        \
  X(SSL_get_session)                                                           \
  X(SSL_get_verify_result)                                                     \
  X(SSL_get_version)                                                           \
  X(SSL_key_update)                                                            \
  X(SSL_new)                                                                   \
  X(SSL_read_ex)                                                               \
  X(SSL_select_next_proto)                                                     \
  X(SSL_session_reused)                                                        \
  X(SSL_set0_rbio)                                                             \
  X(SSL_set0_wbio)                                                             \
  X(SSL_set_accept_state)                                                      \
  X(SSL_set_connect_state)                                                     \
  X(SSL_set_session)                                                           \
  X(SSL_set_verify)                                                            \
  X(SSL_shutdown)                                                              \
  X(SSL_write_ex)                                                              \
  X(TLS_method)                                                                \
  X(X509_NAME_print_ex)                                                        \
  X(X509_STORE_add_cert)                                                       \
  X(X509_VERIFY_PARAM_set1_host)                                               \
  X(X509_VERIFY_PARAM_set1_ip_asc)                                             \
  X(X509_VERIFY_PARAM_set_flags)                                               \
  X(X509_VERIFY_PARAM_set_hostflags)                                           \
  X(X509_digest)                                                               \
  X(X509_free)                                                                 \
  X(X509_get0_notAfter)                                                        \
  X(X509_get0_notBefore)                                                       \
  X(X509_get0_serialNumber)                                                    \
  X(X509_get_ext_d2i)                                                          \
  X(X509_get_issuer_name)                                                      \
  X(X509_get_subject_name)                                                     \
  X(X509_verify_cert_error_string)

typedef struct neap__tls_context neap__tls_context;
typedef struct neap__tls_conn neap__tls_conn;

/* OpenSSL, as a runtime has it: rt->tls. */
typedef struct neap__tls {
  neap_runtime *rt;
  neap__tls_context *contexts; /* all there are */
  neap__tls_conn *conns;
  /* What any connection writes comes out here, and is taken at once. */
  BIO *sink, *source;
#define NEAP__TLS_MEMBER(name) __typeof__(name)(*name); /* NOLINT */
  NEAP__TLS_FUNCTIONS(NEAP__TLS_MEMBER)
#undef NEAP__TLS_MEMBER
} neap__tls;

/* Why something failed. An empty code: nothing did. */
typedef struct neap__tls_error {
  char code[48];  /* "CERT_HAS_EXPIRED" */
  char text[176]; /* "certificate has expired" */
} neap__tls_error;

/* Loads the library and fills the zeroed table. Any thread. False: it is not there. */
bool neap__tls_load(neap__tls *tls, neap__tls_error *error);
/* Frees what neap__tls_load made, but not the table. */
void neap__tls_unload(neap__tls *tls);

/* ---- tlserror.c ---------------------------------------------------------------- */

/* Says why the last call failed, from the queue of this thread, which it empties;
 * `ssl` may be NULL. */
void neap__tls_explain(const neap__tls *tls, neap__tls_error *error, SSL *ssl);
/* Says it in words of ours. */
void neap__tls_fail(neap__tls_error *error, const char *code,
                    const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same, from errno or a UV_E* code. */
void neap__tls_fail_os(neap__tls_error *error, int status, const char *what);
/* Pushes the OSError. `op` may be NULL. [-0, +1, m] */
void neap__tls_push_error(lua_State *L, const neap__tls_error *error,
                          const char *op);

/* ---- tlscontext.c ---------------------------------------------------------------- */

enum neap__tls_verify {
  NEAP__VERIFY_DEFAULT, /* the peer of a client, not that of a server */
  NEAP__VERIFY_NONE,
  NEAP__VERIFY_OPTIONAL, /* a server's peer need not have a certificate */
  NEAP__VERIFY_REQUIRED,
};

/* A session that may be resumed. */
typedef struct neap__tls_session {
  struct neap__tls_session *next; /* older */
  SSL_SESSION *session;
  size_t size; /* of this block */
  char key[];
} neap__tls_session;

struct neap__tls_context {
  neap__tls_context *next, *prev; /* of the runtime */
  neap__tls *tls;
  SSL_CTX *ctx;
  unsigned refs;
  enum neap__tls_verify verify;
  bool check_host, has_cert;
  neap__tls_session *sessions; /* of clients, newest first */
  unsigned nsessions;
  char *name;          /* server_name, or NULL */
  unsigned char *alpn; /* as on the wire, or NULL */
  size_t name_size, alpn_len;
};

/* The context at `index`; raises for something else and when it is closed.
 * [-0, +0, v] */
neap__tls_context *neap__tls_check_context(lua_State *L, neap_runtime *rt,
                                           int index, const char *name);
void neap__tls_context_unref(neap__tls_context *context);
/* Keeps the session for `key`; takes the reference over. */
void neap__tls_remember(neap__tls_context *context, const char *key,
                        SSL_SESSION *session);
/* A session for `key` to be resumed, or NULL; the caller gets the reference. */
SSL_SESSION *neap__tls_recall(neap__tls_context *context, const char *key);
void neap__tls_context_open(lua_State *L, neap_runtime *rt);

/* ---- tls.c ------------------------------------------------------------------------- */

struct neap__tls_conn {
  neap__tls_conn *next, *prev; /* of the runtime */
  neap__tls *tls;
  neap__tls_context *context;
  SSL *ssl;
  neap__stream *stream;
  neap_wait *shaking;      /* who waits for the handshake, or NULL */
  const SSL_SESSION *kept; /* that neap__tls_remember got; for comparing */
  char *key;               /* of sessions; NULL on a server */
  size_t key_size;
  size_t answers; /* bytes that the peer made us write, and did not yet take */
  enum { NEAP__TLS_SHAKES, NEAP__TLS_OPEN, NEAP__TLS_FAILED } state;
  bool server, finished; /* `finished`: the peer sent close_notify */
  neap__tls_error error;
};

/* The connection of a stream, or NULL where it is not encrypted. */
neap__tls_conn *neap__tls_of(const neap__stream *stream);
/* Frees a connection, which its stream does not know any more. */
void neap__tls_conn_free(neap__tls_conn *conn);

#endif
