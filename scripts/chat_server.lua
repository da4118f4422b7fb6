--- A chat: what one says, all others hear. Each guest has a queue of lines to be sent and a
--- task that sends them, so that a guest with a slow line holds up nobody else.

local neap = require "neap"
local net = require "neap.net"

local guests = {} -- name -> queue of the lines that the guest is to see

local function tell_all(line, but)
  for name, queue in pairs(guests) do
    -- One that is 100 lines behind misses some; the others do not wait.
    if name ~= but and not queue:full() then queue:put_nowait(line) end
  end
end

local function send(stream, queue)
  for line in queue:iter() do
    if not stream:write(line, "\n") then return end -- the guest is gone
  end
end

local function chat(stream)
  local name = stream:read()
  if not name or guests[name] then return end
  local queue = neap.Queue(100)
  local sender = neap.create_task(send, stream, queue)
  guests[name] = queue
  queue:put_nowait("welcome, " .. name)
  tell_all(name .. " is here", name)
  for line in stream:lines() do
    tell_all(("%s: %s"):format(name, line), name)
  end
  guests[name] = nil
  tell_all(name .. " has left", name)
  queue:shutdown() -- the sender ends once the queue is empty
  sender:await()
end

local server = assert(net.serve(chat, { host = "127.0.0.1" }))

-- Two guests, who take turns so that each run prints the same.

local function enter(name)
  local stream = assert(net.connect(server:address()))
  stream:write(name, "\n")
  local function hear() print(("%-4s hears: %s"):format(name, stream:read())) end
  hear()
  return stream, hear
end

local ann, ann_hears = enter "Ann"
local bob, bob_hears = enter "Bob"
ann_hears()
ann:write "hello Bob\n"
bob_hears()
bob:write "hello Ann, I have to go\n"
ann_hears()
bob:close()
ann_hears()
ann:close()

server:close()
server:wait_closed()
print "the chat is over"
