/* SPDX-License-Identifier: MIT
 *
 * tlsapi.c - finds OpenSSL: see tls.h.
 */
#include "tls.h"

#include <dlfcn.h>

/* Room for a record, with what stands around it. */
#define SINK (SSL3_RT_MAX_PLAIN_LENGTH + 2048)

typedef void (*function)(void);

typedef struct symbol {
  const char *name;
  size_t offset;
} symbol;

static const symbol symbols[] = {
#define SYMBOL(name) {#name, offsetof(neap__tls, name)},
    NEAP__TLS_FUNCTIONS(SYMBOL)
#undef SYMBOL
};

/* It is never unloaded: OpenSSL has handlers for the end of threads and the process. */
static void *find_library(void) {
  static const char *const names[] = {
#ifdef __APPLE__
      "libssl.3.dylib",
      "/opt/homebrew/opt/openssl@3/lib/libssl.3.dylib",
      "/usr/local/opt/openssl@3/lib/libssl.3.dylib",
#else
      "libssl.so.3",
#endif
  };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (library != NULL) return library;
  }
  return NULL;
}

bool neap__tls_load(neap__tls *tls, neap__tls_error *error) {
  void *library = find_library();
  if (library == NULL) {
    const char *why = dlerror();
    neap__tls_fail(error, "ENOSSL", "OpenSSL 3 cannot be loaded (%s)",
                   why != NULL ? why : "libssl.so.3 is missing");
    return false;
  }
  for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
    /* Looks into libcrypto as well, which libssl needs. */
    void *address = dlsym(library, symbols[i].name);
    if (address == NULL) {
      neap__tls_fail(error, "ENOSSL",
                     "OpenSSL 3 cannot be loaded (%s is not in it)",
                     symbols[i].name);
      return false;
    }
    *(function *)(void *)((char *)tls + symbols[i].offset) =
        (function)(uintptr_t)address;
  }
  tls->ERR_clear_error();
  if (tls->BIO_new_bio_pair(&tls->sink, SINK, &tls->source, SINK) != 1) {
    neap__tls_fail_os(error, UV_ENOMEM, NULL);
    tls->ERR_clear_error();
    return false;
  }
  return true;
}

void neap__tls_unload(neap__tls *tls) {
  if (tls->sink == NULL) return;
  tls->BIO_free(tls->sink);
  tls->BIO_free(tls->source);
  tls->sink = tls->source = NULL;
}

void neap__tls_free(neap_runtime *rt) {
  neap__tls *tls = rt->tls;
  if (tls == NULL) return;
  while (tls->conns != NULL) {
    neap__stream *stream = tls->conns->stream;
    stream->filter = NULL;
    stream->filter_data = NULL;
    neap__tls_conn_free(tls->conns);
  }
  while (tls->contexts != NULL) {
    tls->contexts->refs = 1;
    neap__tls_context_unref(tls->contexts);
  }
  neap__tls_unload(tls);
  rt->tls = NULL;
  neap__alloc(rt, tls, sizeof *tls, 0);
}
