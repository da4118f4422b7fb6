--- The processes of a pool: how one is started and ends.

local neap = require "neap"
local process = require "neap.process"
local net = require "neap.net"
local core = require "neap.core.worker"
local packet = require "neap.core.packet"
local frame = require "neap.thread.frame"

local M = {}

-- Seconds from the end of a worker's socket to its own: where it was told to end, and where
-- that is news. How it ends is to be known then.
local PATIENCE, NEWS = 1, 5

--- What starts this interpreter once more.
local function own_command()
  local path, is_host = core.program()
  local name = path and path:match "[^/]*$"
  if path and path:find " %(deleted%)$" then -- a newer one is in its place
    path, name = "/proc/self/exe", name:sub(1, -11)
  end
  if path and (is_host or name:match "^lua[%d.%-]*$") then return { path } end
  error(neap.BrokenExecutor(("'%s' is a program that process pools do not know how to start "
    .. "as a worker: give them option 'command', for example command = { \"neap\" }")
    :format(path or "this")), 0)
end

--- The program and its arguments. The paths are those that the program has by now.
local function whole_command(command)
  command = command or own_command()
  local list = table.move(command, 1, #command, 1, {})
  list[#list + 1] = "-e"
  list[#list + 1] = ("package.path, package.cpath = %q, %q "
    .. "require 'neap' require 'neap.thread.process_worker'.main()")
    :format(package.path, package.cpath)
  return list
end

--- Raises unless the option is nil or a command.
function M.check_command(command, where, level)
  if command == nil then return end
  for i = 1, math.max(#command, 1) do
    if type(command[i]) ~= "string" or command[i]:find "\0" then
      error(("bad option 'command' to '%s' (list of strings expected)"):format(where), level + 1)
    end
  end
end

--- Starts the process of a worker, and sends it the key. nil, err: it cannot be started.
function M.start(worker, command)
  local ok, list = pcall(whole_command, command)
  if not ok then return nil, list end
  local stream, other = net.pair()
  if not stream then return nil, other end
  list.stdin = other
  local child, err = process.spawn(list)
  if not child then
    stream:close()
    other:close()
    return nil, err
  end
  worker.stream, worker.process, worker.program = stream, child, list[1]
  frame.write(stream, frame.KEY, string.char(frame.VERSION), packet.key())
  return true
end

--- Whose socket has ended: how the process did. One that goes on is killed. Waits.
---@async
function M.how_it_ended(worker)
  local child = worker.process
  local ok, code, signal = neap.pcall(neap.wait_for, child.wait, NEWS, child)
  if not ok then
    child:kill "SIGKILL"
    code, signal = child:wait()
  end
  return code and ("exited with code %d"):format(code)
    or ("was ended by %s"):format(signal)
end

--- Waits until a worker whose socket was closed has ended; not for ever.
---@async
function M.finish(worker)
  local child = worker.process
  if not neap.pcall(neap.wait_for, child.wait, PATIENCE, child) then child:close() end
end

--- Ends the processes of these workers. Waits.
---@async
function M.end_now(workers)
  for _, worker in ipairs(workers) do
    if worker.process then worker.process:kill() end
  end
  for _, worker in ipairs(workers) do
    if worker.process then worker.process:close() end
  end
end

return M
