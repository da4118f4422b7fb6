--- neap.tty: standard input and output as streams, and terminals: size, modes.

require "neap" -- the core is there from here on, in stock Lua as well
local core = require "neap.core.tty"

---@alias neap.tty.Target userdata|file*|integer  a stream, a file, a descriptor

---@alias neap.tty.ModeName "normal"|"noecho"|"cbreak"|"raw"

---@class neap.tty
---@field stdin userdata?   standard input: a stream where it is a terminal, a pipe or a
---  socket, and a neap.fs.File otherwise. Opened when it is used first, and again when it
---  was closed, or for another event loop. nil: the process has none
---@field stdout userdata?  standard output
---@field stderr userdata?  standard error
---@field isatty fun(target: neap.tty.Target): boolean
---@field size fun(target: neap.tty.Target?): integer?, integer|neap.OSError columns and rows
---  of the window; without a target those of the first terminal among the standard ones
---@field suspend fun() stops the job as Ctrl-Z does, with terminals as they were meanwhile
local M = {}

M.isatty = core.isatty
M.size = core.size
M.suspend = core.suspend

local mode = core.mode

--- Changes the mode of a terminal until the guard is closed: `local _ <close> = ...`. It is
--- put back as well when the guard is collected, the Lua state ends, or the process exits.
---
--- "noecho": what is typed is not shown. "cbreak": that, and each key comes at once.
--- "raw": that, and Ctrl-C, Ctrl-Z and the like are keys as any other.
--- "normal": as it was before the first change.
--- Without a target it is the first terminal among the standard descriptors. The guard has
--- close() and <close>; ENOTTY: it is no terminal.
---@type fun(name: neap.tty.ModeName, target: neap.tty.Target?): userdata?, neap.OSError?
M.mode = mode

--- The same for "raw".
---@param target neap.tty.Target?
---@return userdata? guard
---@return neap.OSError? err
function M.raw(target) return mode("raw", target) end

local set -- the guard of set_mode

--- Changes the mode of a terminal until the next set_mode, or the end of the program.
---@param name neap.tty.ModeName
---@param target neap.tty.Target?
---@return true? ok
---@return neap.OSError? err
function M.set_mode(name, target)
  local guard, err = mode(name, target)
  if not guard then return nil, err end
  if set then set:close() end
  set = guard
  if name == "normal" then set:close() end
  return true
end

local DESCRIPTORS = { stdin = 0, stdout = 1, stderr = 2 }
local opened = {}

return setmetatable(M, {
  __index = function(_, key)
    local fd = DESCRIPTORS[key]
    if not fd then return nil end
    local stream = core.open(fd, opened[fd])
    if stream == false then
      require "neap.fs"
      stream = core.open(fd)
    end
    opened[fd] = stream or nil
    return opened[fd]
  end,
})
