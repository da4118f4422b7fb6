--- A server on several cores: each thread has a loop, a server and connections of its own;
--- the system spreads new connections over them. Ctrl-C, or SIGTERM, ends all in order: what
--- was asked is still answered. Try it with another program, too:
---   neap scripts/cluster_server.lua 8080     and then     curl localhost:8080
-- test: SIGINT after "all is answered"

local neap = require "neap"
local net = require "neap.net"
local thread = require "neap.thread"

io.stdout:setvbuf "line"

local CORES = 2
local wanted = tonumber(arg[1]) or 0 -- 0: the system picks a free port

-- What runs in each thread. Channels are the same in all of them, the rest is copied.
local ports = thread.Channel()  -- from the first thread to the others
local ready = thread.Channel()  -- from all to the main thread

local function answer(stream)
  for line in stream:lines() do
    if line:match "^%s*$" then break end -- the end of a request's head
  end
  neap.sleep(0.1) -- other connections of this thread go on meanwhile
  stream:write("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello\n")
end

local function serve(i)
  -- All have to use the same port: where it is picked, the first one tells the others.
  local port = (wanted > 0 or i == 1) and wanted or ports:recv()
  local server <close> = assert(net.serve(answer, {
    port = port,
    reuse_port = true, -- several sockets listen on one port
    grace = 5,         -- seconds for connections when the server is closed
  }))
  port = select(2, server:address())
  if i == 1 then
    for _ = 2, CORES do ports:send(port) end
  end
  ready:send { thread = i, port = port }
  server:wait_closed() -- until the thread is told to end; then <close> does the rest
end

-- Some clients, to have something to see.
local function visit(port)
  local stream <close> = assert(net.connect("127.0.0.1", port))
  stream:write "GET / HTTP/1.0\r\n\r\n"
  return stream:read "a":match "\r\n\r\n(.-)\n"
end

local function clients()
  local port, seen = nil, {}
  for _ = 1, CORES do
    local one = ready:recv()
    port, seen[one.thread] = one.port, true
  end
  io.stderr:write(("listening on 127.0.0.1:%d; Ctrl-C ends it\n"):format(port))
  print(#seen .. " threads listen on the same port")
  if wanted > 0 then return end
  local visits = {}
  for i = 1, 50 do visits[i] = neap.create_task(visit, port) end
  local count = 0
  for _, text in ipairs(neap.gather(visits)) do
    if text == "hello" then count = count + 1 end
  end
  print(count .. " visits, all is answered")
end
local task = neap.create_task(clients)

-- Waits until all threads have ended: by themselves, by an error in one, by a signal.
local how = thread.cluster(CORES, serve)
task:await()
print("ended by " .. how)
