--- Which of many ports is open? Each is tried in a task of its own, but never more than 50
--- at the same time. The script listens on some ports itself, so that there is something
--- to find.

local neap = require "neap"
local net = require "neap.net"

local HOST, COUNT, AT_ONCE = "127.0.0.1", 400, 50

--- A listener on the first port that is free of some. The system gives none of these, and
--- none above, to programs that ask for any: those are not to be disturbed.
local function listen()
  for port = 2000, 9500, 500 do
    local listener = net.listen { host = HOST, port = port }
    if listener then return listener, port end
  end
  error "no port is free"
end

local first <close>, from = listen()
local others = {}
local expected = { [from] = true }
for offset = 100, 300, 100 do
  -- A port may be in use by somebody else: then there is one less to find.
  local listener = net.listen { host = HOST, port = from + offset }
  if listener then
    others[#others + 1] = listener
    expected[from + offset] = true
  end
end

local slots = neap.Semaphore(AT_ONCE)
local tried, most, busy = 0, 0, 0

local function is_open(port)
  local _slot <close> = slots:acquire() -- waits while 50 others are at it
  busy = busy + 1
  most = math.max(most, busy)
  local stream, err = net.connect(HOST, port, { timeout = 5 })
  busy = busy - 1
  tried = tried + 1
  if stream then
    stream:close()
  elseif err.code ~= "ECONNREFUSED" then
    print("port " .. port .. ": " .. err.message)
  end
  return stream ~= nil
end

local tasks = {}
for i = 1, COUNT do tasks[i] = neap.create_task(is_open, from + i - 1) end

local found, missed = 0, 0
for i, open in ipairs(neap.gather(tasks)) do
  local port = from + i - 1
  if expected[port] and open then found = found + 1 end
  if expected[port] and not open then missed = missed + 1 end
end

print(("%d ports tried, at most %d at a time"):format(tried, most))
print(("found %s of ours, missed %d"):format(found == #others + 1 and "all" or found, missed))
print("listening on " .. tostring(first):match "<Listener ([%d.]+)")
for _, listener in ipairs(others) do listener:close() end
