--- What the specs of processes share.

local neap = require "neap"
local process = require "neap.process"

local M = {}

--- A child that runs a script of sh.
function M.shell(script, options)
  options = options or {}
  options[1], options[2], options[3] = "sh", "-c", script
  return assert(process.spawn(options))
end

--- A child that has said that it is ready: what it has to do before is done.
function M.ready(script, options)
  options = options or {}
  options.stdout = "pipe"
  local child = M.shell(script, options)
  assert(child.stdout:read "l" == "ready")
  return child
end

--- The state of a process, as ps shows it ("Z": not reaped), or nil.
function M.state(pid)
  local file = io.open(("/proc/%d/stat"):format(pid))
  if not file then return nil end
  local text = file:read "a"
  file:close()
  return text and text:match "%) (%a)"
end

function M.exists(pid)
  local state = M.state(pid)
  return state ~= nil
end

--- Waits for what the loop has yet to hear of, and to close.
function M.settle()
  for _ = 1, 5 do neap.sleep(0) end
end

--- Waits until a process that the loop does not watch has ended (whoever reaps it).
function M.gone(pid)
  for _ = 1, 20000 do
    local state = M.state(pid)
    if state == nil or state == "Z" then return end
    os.execute "sleep 0.001"
  end
  error("process " .. pid .. " is there still", 2)
end

--- Waits until the loop has reaped a child of ours, and closed its handle.
function M.reaped(pid)
  for _ = 1, 20000 do
    if not M.exists(pid) then return M.settle() end
    neap.sleep(0.001)
  end
  error("process " .. pid .. " has not been reaped", 2)
end

--- How many descriptors are open, without those of garbage.
function M.descriptors()
  collectgarbage()
  collectgarbage()
  M.settle()
  local n = 0
  for fd = 0, 1023 do
    local file = io.open("/proc/self/fdinfo/" .. fd)
    if file then
      file:close()
      n = n + 1
    end
  end
  return n
end

--- The children of this process: pid -> state.
function M.list()
  local file = io.open "/proc/thread-self/children"
  local found = {}
  if not file then return found end
  for pid in file:read("a"):gmatch "%d+" do found[tonumber(pid)] = M.state(pid) end
  file:close()
  return found
end

return M
