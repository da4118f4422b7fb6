/* SPDX-License-Identifier: MIT
 *
 * tlserror.c - why TLS failed, in words and as a code.
 *
 * Codes: the name of X509_V_ERR_* for a certificate that was refused, ALERT_* for what
 * the peer said, otherwise OpenSSL's reason in capitals, or one of our own: ESSLEOF,
 * ENOSSL.
 */
#include "tls.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct named {
  int number;
  const char *name;
} named;

#define V(name)                                                                \
  { X509_V_ERR_##name, #name }
static const named refusals[] = {
    V(UNSPECIFIED),
    V(UNABLE_TO_GET_ISSUER_CERT),
    V(UNABLE_TO_GET_CRL),
    V(UNABLE_TO_DECRYPT_CERT_SIGNATURE),
    V(UNABLE_TO_DECRYPT_CRL_SIGNATURE),
    V(UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY),
    V(CERT_SIGNATURE_FAILURE),
    V(CRL_SIGNATURE_FAILURE),
    V(CERT_NOT_YET_VALID),
    V(CERT_HAS_EXPIRED),
    V(CRL_NOT_YET_VALID),
    V(CRL_HAS_EXPIRED),
    V(ERROR_IN_CERT_NOT_BEFORE_FIELD),
    V(ERROR_IN_CERT_NOT_AFTER_FIELD),
    V(OUT_OF_MEM),
    V(DEPTH_ZERO_SELF_SIGNED_CERT),
    V(SELF_SIGNED_CERT_IN_CHAIN),
    V(UNABLE_TO_GET_ISSUER_CERT_LOCALLY),
    V(UNABLE_TO_VERIFY_LEAF_SIGNATURE),
    V(CERT_CHAIN_TOO_LONG),
    V(CERT_REVOKED),
    V(NO_ISSUER_PUBLIC_KEY),
    V(PATH_LENGTH_EXCEEDED),
    V(INVALID_PURPOSE),
    V(CERT_UNTRUSTED),
    V(CERT_REJECTED),
    V(SUBJECT_ISSUER_MISMATCH),
    V(AKID_SKID_MISMATCH),
    V(AKID_ISSUER_SERIAL_MISMATCH),
    V(KEYUSAGE_NO_CERTSIGN),
    V(UNHANDLED_CRITICAL_EXTENSION),
    V(INVALID_NON_CA),
    V(INVALID_EXTENSION),
    V(INVALID_POLICY_EXTENSION),
    V(EXCLUDED_VIOLATION),
    V(PERMITTED_VIOLATION),
    V(UNSUPPORTED_NAME_SYNTAX),
    V(APPLICATION_VERIFICATION),
    V(HOSTNAME_MISMATCH),
    V(IP_ADDRESS_MISMATCH),
    V(INVALID_CA),
    V(EE_KEY_TOO_SMALL),
    V(CA_KEY_TOO_SMALL),
    V(CA_MD_TOO_WEAK),
    V(INVALID_CALL),
    V(NO_VALID_SCTS),
};
#undef V

void neap__tls_fail(neap__tls_error *error, const char *code,
                    const char *format, ...) {
  va_list args;
  snprintf(error->code, sizeof error->code, "%s", code);
  va_start(args, format);
  /* clang-tidy 14 sees no va_start when it looks at several files in one run. */
  /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
  vsnprintf(error->text, sizeof error->text, format, args);
  va_end(args);
}

void neap__tls_fail_os(neap__tls_error *error, int status, const char *what) {
  char text[96];
  uv_err_name_r(status, error->code, sizeof error->code);
  uv_strerror_r(status, text, sizeof text);
  snprintf(error->text, sizeof error->text, "%s%s%s", what != NULL ? what : "",
           what != NULL ? ": " : "", text);
}

/* "no shared cipher" becomes "NO_SHARED_CIPHER". */
static void set_code(neap__tls_error *error, const char *prefix,
                     const char *text) {
  snprintf(error->code, sizeof error->code, "%s%s", prefix, text);
  for (char *p = error->code; *p != '\0'; p++)
    *p = isalnum((unsigned char)*p) ? (char)toupper((unsigned char)*p) : '_';
}

static void explain_refusal(const neap__tls *tls, neap__tls_error *error,
                            long result) {
  const char *text = tls->X509_verify_cert_error_string(result);
  if (result == X509_V_ERR_HOSTNAME_MISMATCH) {
    text = "host name mismatch (the certificate is for another name)";
  } else if (result == X509_V_ERR_IP_ADDRESS_MISMATCH) {
    text = "address mismatch (the certificate is not for this address)";
  }
  snprintf(error->text, sizeof error->text, "%s", text);
  snprintf(error->code, sizeof error->code, "CERT_UNTRUSTED");
  for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
    if (refusals[i].number == (int)result)
      snprintf(error->code, sizeof error->code, "%s", refusals[i].name);
}

/* What people meet, said so that they know what to look at. */
static const char *plainer(int reason) {
  switch (reason) {
  case SSL_R_WRONG_VERSION_NUMBER:
  case SSL_R_PACKET_LENGTH_TOO_LONG:
  case SSL_R_HTTPS_PROXY_REQUEST:
    return "the peer does not speak TLS";
  case SSL_R_HTTP_REQUEST:
    return "the peer sent a plain HTTP request";
  case SSL_R_UNSUPPORTED_PROTOCOL:
    return "the peer speaks no version of TLS that is allowed here";
  case SSL_R_NO_SHARED_CIPHER:
    return "no cipher that both sides allow";
  case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
    return "the peer has shown no certificate";
  default:
    return NULL;
  }
}

void neap__tls_explain(const neap__tls *tls, neap__tls_error *error, SSL *ssl) {
  unsigned long e = tls->ERR_peek_error();
  int reason = ERR_GET_REASON(e);
  bool of_ssl = ERR_GET_LIB(e) == ERR_LIB_SSL;
  if (of_ssl && reason == SSL_R_CERTIFICATE_VERIFY_FAILED && ssl != NULL) {
    explain_refusal(tls, error, tls->SSL_get_verify_result(ssl));
  } else if (of_ssl && reason > SSL_AD_REASON_OFFSET) {
    int number = reason - SSL_AD_REASON_OFFSET;
    const char *alert = number == TLS13_AD_CERTIFICATE_REQUIRED
                            ? "certificate required" /* not in its table */
                            : tls->SSL_alert_desc_string_long(number);
    set_code(error, "ALERT_", alert);
    snprintf(error->text, sizeof error->text, "peer sent alert: %s", alert);
  } else if (e == 0) {
    neap__tls_fail(error, "ESSL", "TLS failed, and OpenSSL does not say why");
  } else if (ERR_SYSTEM_ERROR(e)) {
    neap__tls_fail_os(error, uv_translate_sys_error(reason), NULL);
  } else if (reason == ERR_R_MALLOC_FAILURE) {
    neap__tls_fail_os(error, UV_ENOMEM, NULL);
  } else {
    const char *text = tls->ERR_reason_error_string(e);
    if (text == NULL) text = "essl";
    set_code(error, "", text);
    const char *plain = of_ssl ? plainer(reason) : NULL;
    if (plain != NULL) {
      snprintf(error->text, sizeof error->text, "%s (%s)", plain, text);
    } else {
      snprintf(error->text, sizeof error->text, "%s", text);
    }
  }
  tls->ERR_clear_error();
}

void neap__tls_push_error(lua_State *L, const neap__tls_error *error,
                          const char *op) {
  luaL_checkstack(L, 6, NULL);
  if (op != NULL) {
    lua_pushfstring(L, "%s: %s", op, error->text);
  } else {
    lua_pushstring(L, error->text);
  }
  neap__error_new(L, NEAP__OSERROR);
  lua_pushstring(L, error->code);
  lua_setfield(L, -2, "code");
  if (op == NULL) return;
  lua_pushstring(L, op);
  lua_setfield(L, -2, "op");
}
