/* SPDX-License-Identifier: MIT
 *
 * tls_transfer.c - what tls_transfer.lua does, in C on the same libraries: a server sends so
 * many MB over TLS 1.3 to a client in the same process, through libuv and a pair of
 * memory BIOs for each side. For comparing.
 *
 *     cc -O2 -o build/tls_transfer scripts/bench/c/tls_transfer.c -luv -lssl -lcrypto
 *     taskset -c 1 build/tls_transfer cert.pem key.pem 1000
 *     taskset -c 1 build/neap scripts/bench/tls_transfer.lua 1000
 *
 * tls_transfer.lua makes a certificate of its own and keeps it with KEEP=folder.
 */
#include <openssl/ssl.h>
#include <uv.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE (64 * 1024)
#define HIGH (64 * 1024)

typedef struct side {
  uv_tcp_t tcp;
  SSL *ssl;
  BIO *in, *out;
  size_t queued;
} side;

typedef struct write_op {
  uv_write_t uv;
  side *side;
  size_t n;
  char data[];
} write_op;

static side server, client;
static uv_tcp_t listener;
static size_t to_send, received;
static int ended;
static char piece[PIECE], slab[PIECE], plain[PIECE];

static void die(const char *what) {
  fprintf(stderr, "%s failed\n", what);
  exit(1);
}

static void feed(void);

static void on_written(uv_write_t *uv, int status) {
  write_op *op = uv->data;
  op->side->queued -= op->n;
  free(op);
  if (status < 0) die("write");
  feed();
}

static void flush(side *s) {
  char *data;
  long n = BIO_get_mem_data(s->out, &data);
  if (n <= 0) return;
  uv_buf_t now = uv_buf_init(data, (unsigned)n);
  int done = s->queued == 0 ? uv_try_write((uv_stream_t *)&s->tcp, &now, 1) : 0;
  if (done < 0) done = 0;
  if (done < n) {
    write_op *op = malloc(sizeof *op + (size_t)n);
    op->side = s;
    op->n = (size_t)(n - done);
    op->uv.data = op;
    memcpy(op->data, data + done, op->n);
    uv_buf_t buf = uv_buf_init(op->data, (unsigned)op->n);
    s->queued += op->n;
    uv_write(&op->uv, (uv_stream_t *)&s->tcp, &buf, 1, on_written);
  }
  BIO_reset(s->out);
}

static void on_shutdown(uv_shutdown_t *uv, int status) {
  (void)uv;
  (void)status;
}

/* The server's bytes, as long as the peer keeps up. */
static void feed(void) {
  static uv_shutdown_t shutdown;
  if (!SSL_is_init_finished(server.ssl) || ended) return;
  while (to_send > 0 && server.queued < HIGH) {
    int n = to_send < PIECE ? (int)to_send : PIECE;
    if (SSL_write(server.ssl, piece, n) != n) die("SSL_write");
    to_send -= (size_t)n;
    flush(&server);
  }
  if (to_send > 0) return;
  ended = 1;
  SSL_shutdown(server.ssl);
  flush(&server);
  uv_shutdown(&shutdown, (uv_stream_t *)&server.tcp, on_shutdown);
}

static void on_alloc(uv_handle_t *uv, size_t size, uv_buf_t *buf) {
  (void)uv;
  (void)size;
  *buf = uv_buf_init(slab, sizeof slab);
}

static void finish(void) {
  uv_close((uv_handle_t *)&client.tcp, NULL);
  uv_close((uv_handle_t *)&server.tcp, NULL);
  uv_close((uv_handle_t *)&listener, NULL);
}

static void on_read(uv_stream_t *uv, ssize_t n, const uv_buf_t *buf) {
  side *s = uv->data;
  if (n < 0) {
    if (s == &client) finish();
    return;
  }
  BIO_write(s->in, buf->base, (int)n);
  if (!SSL_is_init_finished(s->ssl)) {
    SSL_do_handshake(s->ssl);
    flush(s);
    if (!SSL_is_init_finished(s->ssl)) return;
  }
  for (int got; (got = SSL_read(s->ssl, plain, sizeof plain)) > 0;)
    received += (size_t)got;
  flush(s);
  if (s == &server) feed();
}

static void begin(side *s, SSL_CTX *ctx, int serves) {
  s->ssl = SSL_new(ctx);
  s->in = BIO_new(BIO_s_mem());
  s->out = BIO_new(BIO_s_mem());
  SSL_set_bio(s->ssl, s->in, s->out);
  s->tcp.data = s;
  if (serves) {
    SSL_set_accept_state(s->ssl);
  } else {
    SSL_set_connect_state(s->ssl);
    SSL_do_handshake(s->ssl);
    flush(s);
  }
  uv_read_start((uv_stream_t *)&s->tcp, on_alloc, on_read);
}

static SSL_CTX *server_ctx, *client_ctx;

static void on_connection(uv_stream_t *uv, int status) {
  if (status < 0 || uv_accept(uv, (uv_stream_t *)&server.tcp) < 0)
    die("accept");
  begin(&server, server_ctx, 1);
}

static void on_connect(uv_connect_t *uv, int status) {
  (void)uv;
  if (status < 0) die("connect");
  begin(&client, client_ctx, 0);
}

int main(int argc, char **argv) {
  if (argc < 4) return 1;
  size_t total = to_send = (size_t)atol(argv[3]) * 1000000;
  memset(piece, 'x', sizeof piece);
  server_ctx = SSL_CTX_new(TLS_method());
  client_ctx = SSL_CTX_new(TLS_method());
  if (SSL_CTX_use_certificate_chain_file(server_ctx, argv[1]) != 1 ||
      SSL_CTX_use_PrivateKey_file(server_ctx, argv[2], SSL_FILETYPE_PEM) != 1)
    die("certificate");
  uv_loop_t *loop = uv_default_loop();
  struct sockaddr_in address;
  int len = sizeof address;
  uv_ip4_addr("127.0.0.1", 0, &address);
  uv_tcp_init(loop, &listener);
  uv_tcp_init(loop, &server.tcp);
  uv_tcp_init(loop, &client.tcp);
  uv_tcp_bind(&listener, (struct sockaddr *)&address, 0);
  uv_listen((uv_stream_t *)&listener, 1, on_connection);
  uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &len);
  uint64_t start = uv_hrtime();
  uv_connect_t connect;
  uv_tcp_connect(&connect, &client.tcp, (struct sockaddr *)&address,
                 on_connect);
  uv_run(loop, UV_RUN_DEFAULT);
  double seconds = (double)(uv_hrtime() - start) / 1e9;
  if (received != total) die("transfer");
  printf("tls_transfer: %.0f MB/s (%s)\n", (double)total / 1e6 / seconds,
         SSL_get_cipher(client.ssl));
  return 0;
}
