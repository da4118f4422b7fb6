/* SPDX-License-Identifier: MIT
 *
 * fstree.c - removing a folder with all that is in it, in a thread of the pool.
 *
 * Everything is named relative to a descriptor of its folder, and a folder is opened
 * only where it is no link: exchanging a part of the path for a link meanwhile leads
 * nowhere else. Of the folders on the way down only the upper ones stay open; the others
 * are found again by "..", and known by their numbers. What others removed
 * meanwhile is as good as removed.
 */
#include "fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEEP 16 /* folders that stay open */
#define AGAIN 3

typedef struct level {
  DIR *dir; /* or NULL: open it again */
  dev_t dev;
  ino_t ino;
  char *name; /* in the folder above */
  int again;  /* how often it was gone through once more */
} level;

typedef struct tree {
  level *levels;
  size_t n, cap;
} tree;

static void drop_top(tree *t) {
  level *top = &t->levels[--t->n];
  if (top->dir != NULL) closedir(top->dir);
  free(top->name);
}

/* Goes into the folder `name` of the one that `parent` is. 0 or a UV_E* code. */
static int enter(tree *t, int parent, const char *name) {
  struct stat stat;
  if (t->n == t->cap) {
    size_t cap = t->cap == 0 ? 16 : t->cap * 2;
    level *levels = realloc(t->levels, cap * sizeof *levels);
    if (levels == NULL) return UV_ENOMEM;
    memset(levels + t->cap, 0, (cap - t->cap) * sizeof *levels);
    t->levels = levels;
    t->cap = cap;
  }
  level *top = &t->levels[t->n];
  int fd =
      openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return neap__fs_errno();
  *top = (level){.name = strdup(name)};
  int status = top->name == NULL ? UV_ENOMEM : 0;
  if (status == 0 && fstat(fd, &stat) < 0) status = neap__fs_errno();
  if (status == 0 && (top->dir = fdopendir(fd)) == NULL)
    status = neap__fs_errno();
  if (status < 0) {
    neap__fs_close(fd);
    free(top->name);
    return status;
  }
  top->dev = stat.st_dev;
  top->ino = stat.st_ino;
  t->n++;
  /* The one above can be found again from here. */
  if (t->n > KEEP + 1) {
    level *above = top - 1;
    closedir(above->dir);
    above->dir = NULL;
  }
  return 0;
}

/* A folder that was emptied while it was read is not empty after all: it is gone
 * through again, but not for ever. */
static bool again(level *top, int status) {
  if ((status != UV_ENOTEMPTY && status != UV_EEXIST) || top->again == AGAIN)
    return false;
  top->again++;
  rewinddir(top->dir);
  return true;
}

/* Leaves the innermost folder, which is empty, and removes it. */
static int leave(tree *t) {
  level *top = &t->levels[t->n - 1], *above = top - 1;
  struct stat stat;
  if (above->dir == NULL) {
    int fd = openat(dirfd(top->dir), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return neap__fs_errno();
    int status = fstat(fd, &stat) < 0 ? neap__fs_errno() : 0;
    if (status == 0 && (stat.st_dev != above->dev || stat.st_ino != above->ino))
      status = UV_ENOENT; /* somebody moved it away */
    if (status == 0 && (above->dir = fdopendir(fd)) == NULL)
      status = neap__fs_errno();
    if (status < 0) {
      neap__fs_close(fd);
      return status;
    }
  }
  int status = unlinkat(dirfd(above->dir), top->name, AT_REMOVEDIR) < 0
                   ? neap__fs_errno()
                   : 0;
  if (again(top, status)) return 0;
  if (status == UV_ENOENT) status = 0;
  drop_top(t);
  return status;
}

/* Removes the entry, or goes into it. Systems refuse to unlink a folder in several
 * ways: then it has to be one. */
static int take(tree *t, int folder, const char *name) {
  struct stat stat;
  if (unlinkat(folder, name, 0) == 0 || errno == ENOENT) return 0;
  int status = neap__fs_errno();
  if (fstatat(folder, name, &stat, AT_SYMLINK_NOFOLLOW) < 0)
    return errno == ENOENT ? 0 : neap__fs_errno();
  if (!S_ISDIR(stat.st_mode)) return status;
  status = enter(t, folder, name);
  return status == UV_ENOENT ? 0 : status;
}

static bool is_dots(const char *name) {
  return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Removes what is in the outermost folder, and the folder. */
static int empty(neap__fsop *op, tree *t) {
  for (;;) {
    if (neap__fs_stopped(op)) return UV_ECANCELED;
    level *top = &t->levels[t->n - 1];
    if (top->dir == NULL) return UV_EBADF; /* never: the innermost is open */
    errno = 0;
    struct dirent *entry = readdir(top->dir);
    if (entry == NULL && errno != 0 && errno != ENOENT) return neap__fs_errno();
    int status = 0;
    if (entry == NULL) {
      if (t->n > 1) {
        status = leave(t);
      } else {
        if (rmdir(op->path) == 0 || errno == ENOENT) return 0;
        status = neap__fs_errno();
        if (again(top, status)) status = 0;
      }
    } else if (!is_dots(entry->d_name)) {
      status = take(t, dirfd(top->dir), entry->d_name);
    }
    if (status < 0) return status;
  }
}

static int run_remove_tree(neap__fsop *op) {
  tree t = {NULL, 0, 0};
  const char *slash = strrchr(op->path, '/');
  /* The system refuses these as well, but only when all in them is gone. */
  if (is_dots(slash == NULL ? op->path : slash + 1)) return UV_EINVAL;
  if (unlink(op->path) == 0) return 0;
  int status = neap__fs_errno();
  if (status == UV_ENOENT) return status;
  struct stat stat;
  if (lstat(op->path, &stat) < 0) return neap__fs_errno();
  if (!S_ISDIR(stat.st_mode)) return status;
  status = enter(&t, AT_FDCWD, op->path);
  if (status == 0) status = empty(op, &t);
  while (t.n > 0)
    drop_top(&t);
  free(t.levels);
  return status;
}

const neap__fscall neap__fs_trees[] = {
    {"remove", "neap.fs.remove_tree", run_remove_tree, NULL, NULL, "p", 0},
    {NULL, NULL, NULL, NULL, NULL, NULL, 0},
};
