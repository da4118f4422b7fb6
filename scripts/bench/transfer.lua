-- A large transfer: so many MB (4096) over TCP on loopback, in writes of 64 KB, both ends in
-- this process. One operation: a megabyte. `make bench-transfer` sets it beside the same in C.
package.path = arg[0]:match("^(.*/)[^/]*$") .. "?.lua;" .. package.path
local neap = require "neap"
local net = require "neap.net"
local report = require "report"

local megabytes = tonumber(arg[1] or 4096)
local piece = ("x"):rep(64 * 1024)
local listener = assert(net.listen { host = "127.0.0.1" })
local host, port = listener:address()
local received = 0
local receiver = neap.create_task(function()
  local stream <close> = assert(listener:accept())
  listener:close()
  while true do
    local data = stream:read_some()
    if not data then break end
    received = received + #data
  end
end)
local stream = assert(net.connect(host, port))
local loop = neap.get_event_loop()
local start = loop:time()
neap.create_task(function()
  for _ = 1, megabytes * 16 do assert(stream:write(piece)) end
  stream:close()
end)
receiver:await()
assert(received == megabytes << 20)
report.report("transfer", megabytes, loop:time() - start)
