/* SPDX-License-Identifier: MIT
 *
 * pair.c - net.pair(): two streams that are connected with each other.
 */
#include "stream.h"

#include <sys/socket.h>
#include <unistd.h>

/* Puts a descriptor, which it takes over, into the box. 0 or a UV_E* code. */
static int open_end(neap__loop *loop, neap__io **box, int fd) {
  int status;
  neap__stream *s = neap__stream_new(loop, NEAP__PIPE, 0, &status);
  if (s != NULL) {
    neap__io_own(box, &s->io);
    status = uv_pipe_open(&s->uv.pipe, fd);
  }
  if (status < 0) {
    close(fd);
  } else {
    neap__stream_opened(s, true, true);
  }
  return status;
}

/* pair() -> two streams; or nil, err. What is written to one is read from the other. */
int neap__l_stream_pair(lua_State *L) {
  neap_runtime *rt = neap__rt(L);
  uv_os_sock_t fds[2];
  neap__stream_open(L, rt);
  neap__loop *loop = neap__the_loop(L, rt);
  neap__io **a = neap__io_box(L, rt, NEAP__K_STREAM);
  neap__io **b = neap__io_box(L, rt, NEAP__K_STREAM);
  int status =
      uv_socketpair(SOCK_STREAM, 0, fds, UV_NONBLOCK_PIPE, UV_NONBLOCK_PIPE);
  if (status < 0) return neap_refuse(L, status, "socketpair");
  status = open_end(loop, a, fds[0]);
  if (status < 0) {
    close(fds[1]);
  } else {
    status = open_end(loop, b, fds[1]);
  }
  return status < 0 ? neap_refuse(L, status, "socketpair") : 2;
}
