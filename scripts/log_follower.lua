--- Follows a log file line by line, as it grows, is cut off, or is replaced by a new one:
---   neap scripts/log_follower.lua /var/log/syslog
--- Without a file it shows itself: a task writes a log, and the follower prints it.

local neap = require "neap"
local fs = require "neap.fs"

--- Iterates over the lines that come; waits for the next one as long as that takes. What
--- happens to the file besides is told to `note`.
local function follow(path, note)
  local dir, name = path:match "^(.*)/([^/]*)$"
  -- The folder is watched, not the file: it may not be there yet, and be another later.
  -- What happens from here on is kept until it is asked for, so nothing is missed.
  local watcher = assert(fs.watch(dir or "."))
  local file, partial = nil, ""

  local function wait_for_change()
    for change in watcher do
      if change.event == "overflow" or change.name == (name or path) then return end
    end
  end

  --- Whether there is more to read, now that the end was reached.
  local function look_again()
    local now, mine = fs.stat(path), file:stat()
    if not now then return false end
    if now.ino ~= mine.ino or now.dev ~= mine.dev then
      note "a new file"
      file:close()
      file, partial = nil, ""
      return true
    elseif now.size < file:seek() then
      note "cut off"
      file:seek "set"
      partial = ""
      return true
    end
    return false
  end

  local function next_line()
    while true do
      file = file or fs.open(path)
      local text = file and file:read "L"
      if not text then
        if not (file and look_again()) then wait_for_change() end
      elseif text:sub(-1) == "\n" then
        text, partial = partial .. text:sub(1, -2), ""
        return text
      else
        partial = partial .. text -- the rest of the line is still to be written
      end
    end
  end
  local closing = setmetatable({}, { __close = function()
    watcher:close()
    if file then file:close() end
  end })
  return next_line, nil, nil, closing
end

local function note(what) print("-- " .. what) end

if arg and arg[1] then
  for line in follow(arg[1], note) do print(line) end
  return
end

-- ---- the demonstration --------------------------------------------------------------------

local printed = neap.Semaphore(0)

--- Waits until the follower has printed so many lines more.
local function lines_printed(n)
  for _ = 1, n do printed:acquire() end
end

local function write(path, mode, ...)
  local file <close> = assert(fs.open(path, mode))
  assert(file:write(...))
end

local function program(path)
  write(path, "a", "started\n", "listening\n")
  lines_printed(2)
  write(path, "a", "a line that is ")
  neap.sleep(0.02)
  write(path, "a", "written in two parts\n")
  lines_printed(1)
  assert(fs.rename(path, path .. ".1"))
  write(path, "a", "first line of the next file\n")
  lines_printed(1)
  write(path, "w", "short\n")
  lines_printed(1)
  write(path, "a", "stopped\n")
end

local dir <const> = assert(fs.mkdtemp())
local _remove <close> = setmetatable({}, { __close = function()
  assert(fs.remove(dir, { recursive = true }))
end })

local task = neap.create_task(program, dir .. "/log")
for line in follow(dir .. "/log", note) do
  print(line)
  printed:release()
  if line == "stopped" then break end
end
task:await()
