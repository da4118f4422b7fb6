--- neap.fs: files and folders. Calls that wait (all but `watch`) suspend the calling task
--- alone; what the system refuses comes back as `nil, err`, an OSError with `code`, `op`,
--- `path` and, of calls with two paths, `path2`.

require "neap" -- the core is there from here on, in stock Lua as well
local core = require "neap.core.fs"

local M = {}

local function expected(n, name, what, value)
  error(("bad argument #%d to '%s' (%s expected, got %s)"):format(n, name, what,
    math.type(value) or type(value)), 4)
end

local function zeros(n, name)
  error(("bad argument #%d to '%s' (a path without zero bytes expected)"):format(n, name), 4)
end

local function check_path(n, name, path)
  if type(path) ~= "string" then expected(n, name, "path", path) end
  if path:find("\0", 1, true) then zeros(n, name) end
end

--- The options of a call, which are all of these types.
local function options(n, name, opts, types)
  if opts == nil then return {} end
  if type(opts) ~= "table" then expected(n, name, "table", opts) end
  for key, value in pairs(opts) do
    local want = types[key]
    if not want then
      error(("bad option '%s' to '%s' (there is no such option)"):format(tostring(key), name), 3)
    elseif want == "mode" then
      if math.type(value) ~= "integer" or value < 0 or value > 4095 then
        error(("bad option '%s' to '%s' (permissions are 0 to 4095 (0o7777))"):format(key, name), 3)
      end
    elseif type(value) ~= want then
      error(("bad option '%s' to '%s' (%s expected, got %s)"):format(key, name, want, type(value)),
        3)
    end
  end
  return opts
end

--- What went wrong: `code` ("ENOENT"), `op` ("open"), `message`, `path`, `path2`.
---@class neap.OSError

--- A template as the system wants it.
local function template_of(name, template)
  if template == nil then template = (os.getenv "TMPDIR" or "/tmp") .. "/neap-" end
  if type(template) ~= "string" then expected(1, name, "string", template) end
  if template:find("\0", 1, true) then zeros(1, name) end
  if template:sub(-6) ~= "XXXXXX" then template = template .. "XXXXXX" end
  return template
end

-- ---- files --------------------------------------------------------------------------------

--- Opens a file: "r" (the default), "w", "a", or "x" to make one that must not be there;
--- "+" behind for both reading and writing; a "b" is allowed. `permissions` (0x1B6, that is
--- rw-rw-rw-, less the process's umask) are those of a file that is made.
---@type fun(path: string, mode: string?, permissions: integer?): neap.fs.File?, neap.OSError?
---@async
M.open = core.open

--- A new file that nobody else has, open for reading and writing, and its path. The
--- template's last six characters "XXXXXX" are replaced; without them they are added.
--- Without a template it is in the folder for temporary files.
---@param template string?
---@return neap.fs.File? file
---@return string|neap.OSError path
---@async
function M.mkstemp(template)
  return core.mkstemp(template_of("neap.fs.mkstemp", template))
end

--- A new folder of the same kind; its path.
---@param template string?
---@return string? path
---@return neap.OSError? err
---@async
function M.mkdtemp(template)
  return core.mkdtemp(template_of("neap.fs.mkdtemp", template))
end


--- All of a file, as one string.
---@type fun(path: string): string?, neap.OSError?
---@async
M.read_file = core.read_file

--- Makes or replaces a file with this content.
---
--- opts.atomic: whoever opens the path finds the old content or the new one, whole, also
--- after a crash: it is written to a new file in the same folder, brought to the disk and
--- renamed. A link is replaced itself; the permissions of a file that was there are kept.
--- opts.mode: the permissions, exactly.
---@param path string
---@param data string
---@param opts { atomic: boolean?, mode: integer? }?
---@return true? ok
---@return neap.OSError? err
---@async
function M.write_file(path, data, opts)
  check_path(1, "neap.fs.write_file", path)
  if type(data) ~= "string" and type(data) ~= "number" then
    expected(2, "neap.fs.write_file", "string", data)
  end
  opts = options(3, "neap.fs.write_file", opts, { atomic = "boolean", mode = "mode" })
  local write = opts.atomic and core.replace_file or core.write_file
  return write(path, data, false, opts.mode ~= nil, opts.mode)
end

--- Iterates over the lines of a file (or what the formats of `file:read` say), and closes it:
--- `for line in neap.fs.lines(path) do`. Raises what the system refuses.
---@param path string
---@param ... string|integer
---@return fun(): ... next
---@async
function M.lines(path, ...)
  check_path(1, "neap.fs.lines", path)
  local file, err = core.open(path)
  if not file then error(err, 2) end
  local ok, next_line = pcall(file.lines, file, ...)
  if not ok then
    file:close()
    error(next_line:gsub("'%?'", "'neap.fs.lines'"), 2)
  end
  return next_line, nil, nil, file
end

-- ---- what is known of a path -----------------------------------------------------------------

--- A table: `type` ("file", "directory", "link", "fifo", "socket", "char", "block"), `size`
--- (bytes), `mode` (permissions), `mtime`, `atime`, `ctime`, `birthtime` (seconds since 1970),
--- `uid`, `gid`, `dev`, `ino`, `nlink`, `rdev`, `blksize`, `blocks`.
---@type fun(path: string): table?, neap.OSError?
---@async
M.stat = core.stat

--- The same of a link itself.
---@type fun(path: string): table?, neap.OSError?
---@async
M.lstat = core.lstat

local BITS = { r = 4, w = 2, x = 1 }

--- Whether the process may read ("r"), write ("w") and run or search ("x") it; "" (the
--- default): whether it is there.
---@param path string
---@param how string?
---@return true? ok
---@return neap.OSError? err
---@async
function M.access(path, how)
  check_path(1, "neap.fs.access", path)
  if how ~= nil and (type(how) ~= "string" or how:find "[^rwx]") then
    error("bad argument #2 to 'neap.fs.access' (of 'r', 'w' and 'x' expected)", 2)
  end
  local bits = 0
  for letter in (how or ""):gmatch "." do bits = bits | BITS[letter] end
  return core.access(path, bits)
end

--- Whether there is something at the path (at the end of its links).
---@param path string
---@return boolean
---@async
function M.exists(path)
  check_path(1, "neap.fs.exists", path)
  return core.access(path, 0) == true
end

---@type fun(path: string): string?, neap.OSError?
---@async
M.readlink = core.readlink

--- The absolute path without links.
---@type fun(path: string): string?, neap.OSError?
---@async
M.realpath = core.realpath

-- ---- changing what is there ------------------------------------------------------------------

--- An existing `to` is replaced, at one go.
---@type fun(from: string, to: string): true?, neap.OSError?
---@async
M.rename = core.rename

--- A further name `path2` for the file.
---@type fun(path: string, path2: string): true?, neap.OSError?
---@async
M.link = core.link

--- A link at `path` that leads to `target`.
---@type fun(target: string, path: string): true?, neap.OSError?
---@async
M.symlink = core.symlink

---@type fun(path: string, mode: integer): true?, neap.OSError?
---@async
M.chmod = core.chmod

--- Sets the times (seconds since 1970) of the last access and change.
---@type fun(path: string, atime: number, mtime: number): true?, neap.OSError?
---@async
M.utime = core.utime

--- Copies content and permissions of a file. opts.exclusive: `to` must not be there.
---@param from string
---@param to string
---@param opts { exclusive: boolean? }?
---@return true? ok
---@return neap.OSError? err
---@async
function M.copy(from, to, opts)
  check_path(1, "neap.fs.copy", from)
  check_path(2, "neap.fs.copy", to)
  opts = options(3, "neap.fs.copy", opts, { exclusive = "boolean" })
  return core.copy(from, to, opts.exclusive)
end

--- Makes a folder. opts.parents: also those above it, and one that is there is no error.
--- opts.mode: its permissions (less the process's umask).
---@param path string
---@param opts { parents: boolean?, mode: integer? }?
---@return true? ok
---@return neap.OSError? err
---@async
function M.mkdir(path, opts)
  check_path(1, "neap.fs.mkdir", path)
  opts = options(2, "neap.fs.mkdir", opts, { parents = "boolean", mode = "mode" })
  return core.mkdir(path, opts.parents, opts.mode)
end

--- Removes a file, a link (itself), an empty folder; opts.recursive: a folder with all that
--- is in it. Links in it are removed and never followed; what others remove meanwhile is no
--- error.
---@param path string
---@param opts { recursive: boolean? }?
---@return true? ok
---@return neap.OSError? err
---@async
function M.remove(path, opts)
  check_path(1, "neap.fs.remove", path)
  opts = options(2, "neap.fs.remove", opts, { recursive = "boolean" })
  if not opts.recursive then return core.remove(path) end
  local name = path:gsub("/+$", "")
  if name == "" and path ~= "" then
    error("bad argument #1 to 'neap.fs.remove' (all there is cannot be meant)", 2)
  end
  return core.remove_tree(name)
end

-- ---- folders -----------------------------------------------------------------------------------

--- What is in a folder, by name: a list of { name =, type = }.
---@type fun(path: string): { name: string, type: string }[]?, neap.OSError?
---@async
M.scandir = core.scandir

local function split(path, entries)
  local dirs, files = {}, {}
  for _, entry in ipairs(entries) do
    local kind = entry.type
    if kind == "unknown" then -- not every file system tells
      local stat = core.lstat(path .. "/" .. entry.name)
      kind = stat and stat.type
    end
    local list = kind == "directory" and dirs or files
    list[#list + 1] = entry.name
  end
  return dirs, files
end

--- Iterates over a folder and those below it, each before what is in it:
--- `for path, dirs, files in neap.fs.walk(path) do`. Both are lists of names; what is taken
--- out of `dirs` is not gone into. Links are among `files`, and not followed. Folders that
--- are gone when their turn comes are left out; other errors are raised, or given to
--- opts.on_error(err), and then that folder is left out.
---@param path string
---@param opts { on_error: fun(err: neap.OSError)? }?
---@return fun(): string?, string[], string[]
---@async
function M.walk(path, opts)
  check_path(1, "neap.fs.walk", path)
  opts = options(2, "neap.fs.walk", opts, { on_error = "function" })
  local stack, n = { path }, 1
  local last, last_dirs
  local function fail(err)
    if last and err.code == "ENOENT" then return end
    if not opts.on_error then error(err, 3) end
    opts.on_error(err)
  end
  return function()
    if last_dirs then
      for i = #last_dirs, 1, -1 do
        n = n + 1
        stack[n] = last .. (last:sub(-1) == "/" and "" or "/") .. last_dirs[i]
      end
      last_dirs = nil
    end
    while n > 0 do
      local here = stack[n]
      stack[n] = nil
      n = n - 1
      local stat, err = last and core.lstat(here)
      local entries
      if not last or stat and stat.type == "directory" then
        entries, err = core.scandir(here)
      end
      if entries then
        local dirs, files = split(here, entries)
        last, last_dirs = here, dirs
        return here, dirs, files
      elseif err then
        fail(err)
      end
    end
  end
end

--- Watches a file or folder: `for change in assert(neap.fs.watch(path)) do`, where a change is
--- { event = "change" | "rename", name = of the file, in the folder }, or
--- { event = "overflow" } when more came than are kept. Equal changes that nobody has asked
--- for yet come once. close() ends it, and so does the removal of what is watched.
---@type fun(path: string): neap.fs.Watcher?, neap.OSError?
M.watch = core.watch

return M
