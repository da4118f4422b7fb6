/* SPDX-License-Identifier: MIT
 *
 * fsjob.c - whole files in one trip to the thread pool: reading, writing, replacing,
 * copying; and making folders.
 *
 * All of it runs in a thread, looks at the wish to stop between pieces, and leaves no
 * descriptor and no temporary file behind, however it ends.
 */
#include "fs.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE ((size_t)1 << 20) /* bytes between two looks */
#define TRIES 100               /* for a name that nobody else has */

/* ---- reading --------------------------------------------------------------------- */

static int read_all(neap__fsop *op, int fd, const struct stat *stat) {
  bool regular = S_ISREG(stat->st_mode);
  /* One more, to see the end without growing. */
  size_t cap = regular ? (size_t)stat->st_size + 1 : 0;
  if (cap < 4096) cap = 4096;
  if ((op->data = malloc(cap)) == NULL) return UV_ENOMEM;
  for (;;) {
    if (neap__fs_stopped(op)) return UV_ECANCELED;
    if (op->len == cap) {
      char *data = cap > SIZE_MAX / 2 ? NULL : realloc(op->data, cap * 2);
      if (data == NULL) return UV_ENOMEM;
      op->data = data;
      cap *= 2;
    }
    if (!regular && !neap__fs_wait(fd, POLLIN, &op->stop)) return UV_ECANCELED;
    size_t want = cap - op->len < PIECE ? cap - op->len : PIECE;
    ssize_t n = read(fd, op->data + op->len, want);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return neap__fs_errno();
    if (n == 0) return 0;
    op->len += (size_t)n;
  }
}

static int run_read(neap__fsop *op) {
  struct stat stat;
  int fd = neap__fs_open(op->path, O_RDONLY, 0, &stat, &op->stop);
  if (fd < 0) return fd;
  int status = read_all(op, fd, &stat);
  neap__fs_close(fd);
  return status;
}

static int push_data(lua_State *L, neap__fsop *op) {
  lua_pushlstring(L, op->data, op->len);
  return 1;
}

/* ---- writing --------------------------------------------------------------------- */

/* Into a FIFO no more at once than it takes without waiting. */
static int write_all(neap__fsop *op, int fd, const struct stat *stat,
                     const char *data, size_t len) {
  bool fifo = S_ISFIFO(stat->st_mode);
  size_t most = fifo ? PIPE_BUF : PIECE;
  while (len > 0) {
    if (neap__fs_stopped(op)) return UV_ECANCELED;
    if (fifo && !neap__fs_wait(fd, POLLOUT, &op->stop)) return UV_ECANCELED;
    ssize_t n = write(fd, data, len < most ? len : most);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return neap__fs_errno();
    data += n;
    len -= (size_t)n;
  }
  return 0;
}

/* Writes and closes it. flags[1]: the permissions were asked for. */
static int fill(neap__fsop *op, int fd, const struct stat *stat, bool sync) {
  int status = 0;
  if (op->flags[1] && fchmod(fd, (mode_t)op->mode) < 0)
    status = neap__fs_errno();
  if (status == 0) status = write_all(op, fd, stat, op->data, op->len);
  /* Some file systems have nothing to sync. */
  if (status == 0 && sync && fsync(fd) < 0 && errno != EINVAL)
    status = neap__fs_errno();
  if (close(fd) < 0 && errno != EINTR && status == 0) status = neap__fs_errno();
  return status;
}

static int run_write(neap__fsop *op) {
  struct stat stat;
  int fd = neap__fs_open(op->path, O_WRONLY | O_CREAT | O_TRUNC, op->mode,
                         &stat, &op->stop);
  return fd < 0 ? fd : fill(op, fd, &stat, false);
}

/* Makes an empty file in the folder of the path, and its name in `name`. */
static int open_beside(neap__fsop *op, char *name, size_t folder,
                       struct stat *stat) {
  for (int i = 0; i < TRIES; i++) {
    unsigned char random[8];
    int status = uv_random(NULL, NULL, random, sizeof random, 0, NULL);
    if (status < 0) return status;
    memcpy(name, op->path, folder);
    size_t n = folder + (size_t)sprintf(name + folder, ".neap-");
    for (size_t k = 0; k < sizeof random; k++)
      n += (size_t)sprintf(name + n, "%02x", random[k]);
    int fd =
        neap__fs_open(name, O_WRONLY | O_CREAT | O_EXCL, 0666, stat, &op->stop);
    if (fd != UV_EEXIST) return fd;
  }
  return UV_EEXIST;
}

/* A new name is not safe on the disk before its folder is. */
static void sync_folder(const char *path, char *name, size_t folder) {
  memcpy(name, path, folder);
  memcpy(name + folder, ".", 2);
  int fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  fsync(fd);
  neap__fs_close(fd);
}

static int run_replace(neap__fsop *op) {
  const char *slash = strrchr(op->path, '/');
  size_t folder = slash == NULL ? 0 : (size_t)(slash - op->path) + 1;
  struct stat stat;
  char *name = malloc(folder + 64);
  if (name == NULL) return UV_ENOMEM;
  /* The permissions of what is replaced, unless others were asked for. */
  if (!op->flags[1] && lstat(op->path, &stat) == 0 && S_ISREG(stat.st_mode)) {
    op->flags[1] = true;
    op->mode = (int)(stat.st_mode & 07777);
  }
  int status = open_beside(op, name, folder, &stat);
  if (status >= 0) {
    status = fill(op, status, &stat, true);
    if (status == 0 && neap__fs_stopped(op)) status = UV_ECANCELED;
    if (status == 0 && rename(name, op->path) < 0) status = neap__fs_errno();
    if (status < 0)
      unlink(name);
    else
      sync_folder(op->path, name, folder);
  }
  free(name);
  return status;
}

/* ---- copying --------------------------------------------------------------------- */

#ifdef __linux__
/* Lets the system copy what it can, up to the end if it can; 0 or a UV_E* code. */
static int copy_inside(neap__fsop *op, int from, int to) {
  for (;;) {
    if (neap__fs_stopped(op)) return UV_ECANCELED;
    ssize_t n = copy_file_range(from, NULL, to, NULL, 16 * PIECE, 0);
    if (n == 0) return 0;
    if (n > 0 || errno == EINTR) continue;
    bool space = errno == ENOSPC || errno == EDQUOT || errno == EIO;
    return space ? neap__fs_errno() : 0;
  }
}
#else
static int copy_inside(neap__fsop *op, int from, int to) {
  (void)op;
  (void)from;
  (void)to;
  return 0;
}
#endif

static int copy_rest(neap__fsop *op, int from, const struct stat *stat, int to,
                     const struct stat *there) {
  size_t cap = PIECE / 4;
  char *data = malloc(cap);
  int status = data == NULL ? UV_ENOMEM : 0;
  while (status == 0) {
    if (!S_ISREG(stat->st_mode) && !neap__fs_wait(from, POLLIN, &op->stop))
      status = UV_ECANCELED;
    ssize_t n = status < 0 ? 0 : read(from, data, cap);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) status = neap__fs_errno();
    if (n <= 0) break;
    status = write_all(op, to, there, data, (size_t)n);
  }
  free(data);
  return status;
}

/* Opens what is copied to. flags[0]: it must not be there. */
static int open_copy(neap__fsop *op, const struct stat *stat,
                     struct stat *there, bool *made) {
  int mode = (int)(stat->st_mode & 0777);
  int fd = neap__fs_open(op->path2, O_WRONLY | O_CREAT | O_EXCL, mode, there,
                         &op->stop);
  *made = fd >= 0;
  if (fd != UV_EEXIST || op->flags[0]) return fd;
  fd = neap__fs_open(op->path2, O_WRONLY | O_CREAT, mode, there, &op->stop);
  if (fd < 0) return fd;
  int status = 0;
  if (there->st_dev == stat->st_dev && there->st_ino == stat->st_ino)
    status = UV_EINVAL; /* onto itself */
  else if (S_ISREG(there->st_mode) && ftruncate(fd, 0) < 0)
    status = neap__fs_errno();
  if (status == 0) return fd;
  neap__fs_close(fd);
  return status;
}

static int run_copy(neap__fsop *op) {
  struct stat stat, there;
  bool made = false;
  int from = neap__fs_open(op->path, O_RDONLY, 0, &stat, &op->stop);
  if (from < 0) return from;
  int to =
      S_ISDIR(stat.st_mode) ? UV_EISDIR : open_copy(op, &stat, &there, &made);
  int status = to < 0 ? to : 0;
  if (status == 0 && S_ISREG(stat.st_mode) && S_ISREG(there.st_mode))
    status = copy_inside(op, from, to);
  if (status == 0) status = copy_rest(op, from, &stat, to, &there);
  if (status == 0 && S_ISREG(stat.st_mode) &&
      fchmod(to, stat.st_mode & 0777) < 0 && made)
    status = neap__fs_errno();
  if (to >= 0 && close(to) < 0 && errno != EINTR && status == 0)
    status = neap__fs_errno();
  neap__fs_close(from);
  if (status < 0 && made) unlink(op->path2);
  return status;
}

/* ---- folders, names ------------------------------------------------------------------ */

static int make(const char *path, int mode) {
  return mkdir(path, (mode_t)mode) < 0 ? neap__fs_errno() : 0;
}

/* flags[0]: also the folders above it, and it may be there. */
static int run_mkdir(neap__fsop *op) {
  struct stat there;
  int status = make(op->path, op->mode);
  if (!op->flags[0]) return status;
  if (status == UV_ENOENT && op->path[0] != '\0') {
    char *path = strdup(op->path);
    if (path == NULL) return UV_ENOMEM;
    for (char *slash = path + 1; (slash = strchr(slash, '/')) != NULL;) {
      *slash = '\0';
      status = make(path, 0777);
      *slash++ = '/';
      if (status < 0 && status != UV_EEXIST && status != UV_EROFS &&
          status != UV_EACCES)
        break;
    }
    free(path);
    status = make(op->path, op->mode);
  }
  /* "a/b/" was made when the folders above it were. */
  if (status == UV_EEXIST && stat(op->path, &there) == 0 &&
      S_ISDIR(there.st_mode))
    return 0;
  return status;
}

static int run_remove(neap__fsop *op) {
  return remove(op->path) < 0 ? neap__fs_errno() : 0;
}

const neap__fscall neap__fs_jobs[] = {
    {"read", "neap.fs.read_file", run_read, push_data, NULL, "p", 0},
    {"write", "neap.fs.write_file", run_write, NULL, NULL, "psbbm", 0666},
    {"write", "neap.fs.replace_file", run_replace, NULL, NULL, "psbbm", 0666},
    {"copy", "neap.fs.copy", run_copy, NULL, NULL, "pPb", 0},
    {"mkdir", "neap.fs.mkdir", run_mkdir, NULL, NULL, "pbm", 0777},
    {"remove", "neap.fs.remove", run_remove, NULL, NULL, "p", 0},
    {NULL, NULL, NULL, NULL, NULL, NULL, 0},
};
