/* SPDX-License-Identifier: MIT
 *
 * oom_files.c - failing allocations in calls with paths, files and watchers.
 */
#include "oom.h"

static const char paths[] =
    "local neap, fs = require 'neap', require 'neap.fs'\n"
    "local dir = os.getenv 'OOM_FOLDER' .. '/d'\n"
    "os.execute('rm -rf ' .. dir)\n"
    "assert(fs.mkdir(dir))\n"
    "local function body()\n"
    "  assert(fs.mkdir(dir .. '/a/b', {parents = true}))\n"
    "  assert(fs.write_file(dir .. '/a/f', 'text'))\n"
    "  assert(fs.write_file(dir .. '/a/f', 'more', {atomic = true}))\n"
    "  assert(fs.read_file(dir .. '/a/f') == 'more')\n"
    "  assert(fs.stat(dir).type == 'directory')\n"
    "  assert(#assert(fs.scandir(dir .. '/a')) == 2)\n"
    "  assert(fs.symlink('f', dir .. '/a/l'))\n"
    "  assert(fs.readlink(dir .. '/a/l') == 'f' and fs.realpath(dir))\n"
    "  assert(fs.copy(dir .. '/a/f', dir .. '/a/g'))\n"
    "  for _ in fs.walk(dir) do end\n"
    "  local none, err = fs.rename(dir .. '/none', dir .. '/x')\n"
    "  assert(none == nil and err.path2 == dir .. '/x')\n"
    "  local t = neap.create_task(fs.read_file, dir .. '/a/f')\n"
    "  neap.sleep(0) t:cancel() pcall(t.await, t)\n"
    "end\n"
    "body()\n";

static const char files[] =
    "local neap, fs = require 'neap', require 'neap.fs'\n"
    "local path = os.getenv 'OOM_FOLDER' .. '/f'\n"
    "io.open(path, 'w'):close()\n"
    "local function body()\n"
    "  local f <close> = assert(fs.open(path, 'w+'))\n"
    "  assert(f:write('one\\ntwo\\n', 12, '\\n', ('x'):rep(3000)))\n"
    "  assert(f:seek 'set' == 0)\n"
    "  assert(f:read('l', 'L') == 'one')\n"
    "  for n in f:lines 'n' do assert(n == 12) end\n"
    "  f:write(('y'):rep(70000)) f:flush()\n"
    "  assert(f:stat().size > 70000 and f:truncate(5))\n"
    "  f:seek('set', 0)\n"
    "  local got, err = f:read_exactly(6)\n"
    "  assert(err.partial == 'one\\nt')\n"
    "  f:seek('set', 0)\n"
    "  local a = neap.create_task(f.read, f, 'a')\n"
    "  local b = neap.create_task(f.sync, f)\n"
    "  neap.sleep(0) a:cancel()\n"
    "  neap.gather({a, b}, {return_exceptions = true})\n"
    "  assert(f:close() and tostring(f))\n"
    "  for line in fs.lines(path) do assert(line) end\n"
    "  local none, err = fs.open(path .. '/x')\n"
    "  assert(none == nil and err.code == 'ENOTDIR')\n"
    "end\n"
    "body()\n";

static const char watching[] =
    "local neap, fs = require 'neap', require 'neap.fs'\n"
    "local path = os.getenv 'OOM_FOLDER' .. '/f'\n"
    "io.open(path, 'w'):close()\n"
    "local function body()\n"
    "  local w <close> = assert(fs.watch(path))\n"
    "  local t = neap.create_task(w.next, w)\n"
    "  neap.sleep(0)\n"
    "  local f <close> = assert(io.open(path, 'a'))\n"
    "  f:write 'x' f:flush()\n"
    "  local change = neap.wait_for(t, 1)\n"
    "  assert(change.event == 'overflow' or change.event == 'change')\n"
    "  t = neap.create_task(w.next, w) neap.sleep(0) w:close() t:await()\n"
    "  local none, err = fs.watch(path .. '/x')\n"
    "  assert(none == nil and err.path == path .. '/x' and tostring(w))\n"
    "end\n"
    "body()\n";

static bool run_paths(fixture *f) {
  return run_code(f, paths);
}

static bool run_files(fixture *f) {
  return run_code(f, files);
}

static bool run_watching(fixture *f) {
  return run_code(f, watching);
}

static const scenario scenarios[] = {
    {"paths", run_paths}, {"files", run_files}, {"watching", run_watching}};

int main(void) {
  char folder[] = "/tmp/neap-oom-XXXXXX", command[64];
  if (mkdtemp(folder) == NULL) return 1;
  setenv("OOM_FOLDER", folder, 1);
  int failed = sweep_all(scenarios, COUNT(scenarios));
  snprintf(command, sizeof command, "rm -rf %s", folder);
  return system(command) != 0 || failed;
}
