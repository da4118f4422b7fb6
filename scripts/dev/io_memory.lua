--- What connections cost: run by hand, `neap scripts/dev/io_memory.lua [CONNECTIONS [PASSES]]`.
---
--- The server is a process of its own, which says how much memory it has; so the numbers
--- are those of one side. Prints bytes for each connection, and what is left after many.

local neap = require "neap"
local net = require "neap.net"

io.stdout:setvbuf "line"

local role = arg[1]

local function memory()
  collectgarbage()
  collectgarbage()
  for line in io.lines "/proc/self/status" do
    local kb = line:match "^VmRSS:%s+(%d+)"
    if kb then return tonumber(kb) * 1024 end
  end
end

--- What the server says about itself to a connection that asks.
local function serve()
  local server
  server = assert(net.serve(function(stream)
    for line in stream:lines() do
      local what, n = line:match "^(%a+) ?(%d*)$"
      if what == "memory" then
        stream:write(memory(), " ", server:connections(), "\n")
      elseif what == "tasks" then
        for _ = 1, tonumber(n) do neap.create_task(neap.sleep, 1e6) end
        neap.sleep(0)
        stream:write "done\n"
      elseif what == "take" then
        stream:read_exactly(tonumber(n))
        stream:write(("x"):rep(tonumber(n)))
      elseif what == "flood" then
        while stream:write(("x"):rep(100000)) do end
      end
    end
  end, { backlog = 4096 }))
  print((select(2, server:address())))
  io.stdout:flush()
  server:wait_closed()
end

if role == "serve" then return serve() end

local CONNECTIONS = tonumber(arg[1]) or 10000
local PASSES = tonumber(arg[2]) or 100000
local host = io.open("/proc/self/cmdline"):read "a":match "^[^%z]+"

local function start()
  local pipe = assert(io.popen(("echo $$; exec %s %s serve"):format(host, arg[0])))
  local pid = pipe:read "n"
  local port = pipe:read "n"
  local control = assert(net.connect("127.0.0.1", port))
  local server = { pid = pid, port = port, control = control }
  function server.ask(what)
    control:write(what, "\n")
    return control:read("n", "n", "l")
  end
  function server.descriptors()
    local list <close> = io.popen(("ls /proc/%d/fd | wc -l"):format(pid))
    return list:read "n"
  end
  function server.stop()
    os.execute("kill " .. pid)
    control:close()
    pipe:close()
  end
  return server
end

local function say(what, bytes, n) print(("%-50s %8.0f bytes each"):format(what, bytes / n)) end

local function tasks_alone()
  local server = start()
  local before = server.ask "memory"
  server.control:write("tasks ", CONNECTIONS, "\n")
  assert(server.control:read() == "done")
  say("a task that sleeps", server.ask "memory" - before, CONNECTIONS)
  server.stop()
end

--- Has `fn` done by 50 tasks at a time, n times.
local function many(n, fn)
  local next, list = 0, {}
  for i = 1, 50 do
    list[i] = neap.create_task(function()
      while next < n do
        next = next + 1
        fn(next)
      end
    end)
  end
  for _, task in ipairs(list) do task:await() end
end

local function idle()
  local server = start()
  local before = server.ask "memory"
  local streams = {}
  many(CONNECTIONS, function(i) streams[i] = assert(net.connect("127.0.0.1", server.port)) end)
  neap.sleep(0.2)
  local now, count = server.ask "memory"
  assert(count == CONNECTIONS + 1, count)
  say("a connection that reads", now - before, CONNECTIONS)
  for _, size in ipairs { 64, 102400 } do
    many(CONNECTIONS, function(i)
      streams[i]:write("take ", size, "\n", ("y"):rep(size))
      assert(#streams[i]:read_exactly(size) == size)
    end)
    neap.sleep(0.1)
    say(("after %d bytes each way"):format(size), server.ask "memory" - before, CONNECTIONS)
  end
  for i = 1, CONNECTIONS do streams[i]:close() end
  neap.sleep(0.5)
  now, count = server.ask "memory"
  print(("%-50s %8.0f bytes more, %d connections"):format("closed", now - before, count - 1))
  server.stop()
end

local function in_a_row()
  local server = start()
  local function round(n)
    many(n, function(i)
      local stream = assert(net.connect("127.0.0.1", server.port))
      if i % 2 == 0 then
        stream:write "take 5\nhello"
        assert(stream:read_exactly(5))
      end
      stream[i % 3 == 0 and "close" or "reset"](stream)
    end)
    neap.sleep(0.3)
  end
  round(PASSES // 10)
  local before, fds, ours = server.ask "memory", server.descriptors(), memory()
  round(PASSES)
  local now, count = server.ask "memory"
  print(("%d connections in a row: server %+d KiB (of %d), client %+d KiB, descriptors %+d, "
    .. "%d connections"):format(PASSES, (now - before) // 1024, before // 1024,
    (memory() - ours) // 1024, server.descriptors() - fds, count - 1))
  server.stop()
end

local function never_reads()
  local server = start()
  local before = server.ask "memory"
  local streams = {}
  for i = 1, 100 do
    streams[i] = assert(net.connect("127.0.0.1", server.port))
    streams[i]:write "flood\n":flush()
  end
  neap.sleep(1)
  local early = server.ask "memory"
  neap.sleep(2)
  local late = server.ask "memory"
  print(("100 peers that never read: %d KiB each after 1 s, %d KiB after 3 s"):format(
    (early - before) // 102400, (late - before) // 102400))
  for i = 1, 100 do streams[i]:close() end
  neap.sleep(0.3)
  print(("  and when they are gone: %+d KiB"):format((server.ask "memory" - before) // 1024))
  server.stop()
end

local function endless_line()
  local server = start()
  local before = server.ask "memory"
  local stream = assert(net.connect("127.0.0.1", server.port))
  local sent = 0
  while sent < 64 << 20 and stream:write(("x"):rep(65536)) do sent = sent + 65536 end
  print(("a line without end: gone after %d KiB, server %+d KiB"):format(sent // 1024,
    (server.ask "memory" - before) // 1024))
  stream:close()
  server.stop()
end

tasks_alone()
idle()
in_a_row()
never_reads()
endless_line()
