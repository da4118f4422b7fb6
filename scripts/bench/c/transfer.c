/* SPDX-License-Identifier: MIT
 *
 * transfer.c - what scripts/bench/transfer.lua does, in plain C on libuv: BYTES in
 * pieces of 64 KB from one end of a TCP connection over loopback to the other, both in
 * one loop. Prints the same line. Built and run by `make bench-transfer`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#define PIECE (64 * 1024)

static char piece[PIECE], slab[PIECE];
static uv_tcp_t server, sender, receiver;
static uv_connect_t connect_req;
static uint64_t total, sent, received;
static struct timespec began;

static void send_more(void);

static void on_written(uv_write_t *req, int status) {
  free(req);
  if (status == 0) send_more();
}

static void send_more(void) {
  while (sent < total) {
    uv_buf_t buf = uv_buf_init(piece, PIECE);
    int n = uv_try_write((uv_stream_t *)&sender, &buf, 1);
    if (n < 0) n = 0;
    sent += PIECE;
    if (n == PIECE) continue;
    uv_write_t *req = malloc(sizeof *req);
    buf = uv_buf_init(piece + n, (unsigned)(PIECE - n));
    uv_write(req, (uv_stream_t *)&sender, &buf, 1, on_written);
    return;
  }
  uv_close((uv_handle_t *)&sender, NULL);
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf) {
  (void)handle;
  (void)size;
  *buf = uv_buf_init(slab, sizeof slab);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  (void)buf;
  if (n > 0) received += (uint64_t)n;
  if (n < 0) uv_close((uv_handle_t *)stream, NULL);
}

static void on_connection(uv_stream_t *stream, int status) {
  if (status < 0) exit(1);
  uv_tcp_init(stream->loop, &receiver);
  uv_accept(stream, (uv_stream_t *)&receiver);
  uv_close((uv_handle_t *)stream, NULL);
  uv_read_start((uv_stream_t *)&receiver, on_alloc, on_read);
}

static void on_connected(uv_connect_t *req, int status) {
  (void)req;
  if (status < 0) exit(1);
  clock_gettime(CLOCK_MONOTONIC, &began);
  send_more();
}

int main(int argc, char **argv) {
  uv_loop_t *loop = uv_default_loop();
  struct sockaddr_in addr;
  struct sockaddr_storage bound;
  struct timespec now;
  int len = sizeof bound;
  total = (argc > 1 ? strtoull(argv[1], NULL, 10) : 4096) << 20;
  uv_ip4_addr("127.0.0.1", 0, &addr);
  uv_tcp_init(loop, &server);
  uv_tcp_bind(&server, (struct sockaddr *)&addr, 0);
  if (uv_listen((uv_stream_t *)&server, 1, on_connection) < 0) return 1;
  uv_tcp_getsockname(&server, (struct sockaddr *)&bound, &len);
  uv_tcp_init(loop, &sender);
  uv_tcp_connect(&connect_req, &sender, (struct sockaddr *)&bound,
                 on_connected);
  uv_run(loop, UV_RUN_DEFAULT);
  clock_gettime(CLOCK_MONOTONIC, &now);
  double seconds = (double)(now.tv_sec - began.tv_sec) +
                   (double)(now.tv_nsec - began.tv_nsec) / 1e9;
  if (received != total) return 1;
  printf("transfer c-libuv %llu %.6f %.0f\n", (unsigned long long)(total >> 20),
         seconds, (double)(total >> 20) / seconds);
  return 0;
}
