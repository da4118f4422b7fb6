--- A TCP proxy that does to connections what networks do to them.
---
---     local proxy = require "spec.support.proxy"
---     local p = proxy.start(host, port, { down = { split = 1 } })
---     local stream = net.connect(p.host, p.port)
---     ...
---     p:close()
---
--- Faults of a direction, `up` (to the server) or `down` (to the client); counts are of
--- the bytes of a connection that have gone that way:
---
---     delay        seconds that each piece is held back
---     split        bytes of a piece: each is sent alone
---     corrupt      the byte of this number is turned over
---     reset_after  the connection ends by a reset after so many bytes, on both sides
---     close_after  this direction ends after so many; the other goes on
---     stall_after  nothing goes on after so many, until `set` says otherwise
---
--- And of a connection as a whole: drop = true (it is accepted and closed) or "reset".

local neap = require "neap"
local net = require "neap.net"

local M = {}

local Proxy = {}
Proxy.__index = Proxy

--- Turns byte `n` of the direction over, if it is in `data`, before which `done` have gone.
local function corrupt(data, done, n)
  local at = n and n - done
  if not at or at < 1 or at > #data then return data end
  return data:sub(1, at - 1) .. string.char(data:byte(at) ~ 0xFF) .. data:sub(at + 1)
end

--- How many bytes may still go before something happens.
local function until_fault(faults, done)
  local n = math.huge
  for _, name in ipairs { "reset_after", "close_after", "stall_after" } do
    if faults[name] then n = math.min(n, math.max(faults[name] - done, 0)) end
  end
  return n
end

--- Does what is to be done after `done` bytes: "reset", "close", or nil. Awaits a stall.
local function fault_at(proxy, way, done)
  while true do
    local faults = proxy.faults[way] or {}
    if faults.reset_after and done >= faults.reset_after then return "reset" end
    if faults.close_after and done >= faults.close_after then return "close" end
    if not faults.stall_after or done < faults.stall_after then return nil end
    proxy.change:clear()
    proxy.change:wait()
  end
end

--- Sends bytes, unless the other direction has ended the connection. Awaits.
local function send(to, data)
  return not to:is_closed() and to:write(data) and not to:is_closed() and to:flush()
end

--- Copies one direction to its end: "reset" or "close".
local function carry(proxy, way, from, to)
  local done = 0
  while true do
    local what = fault_at(proxy, way, done)
    if what or from:is_closed() then return what or "reset" end
    local data, err = from:read_some(16384)
    if not data then return err and "reset" or "close" end
    while data ~= "" do
      what = fault_at(proxy, way, done)
      if what then return what end
      local faults = proxy.faults[way] or {}
      local n = math.min(faults.split or #data, until_fault(faults, done), #data)
      if faults.delay then neap.sleep(faults.delay) end
      if not send(to, corrupt(data:sub(1, n), done, faults.corrupt)) then return "reset" end
      if faults.split then neap.sleep(0) end -- it leaves alone
      data = data:sub(n + 1)
      done = done + n
      proxy.carried[way] = proxy.carried[way] + n
    end
  end
end

local function relay(proxy, client)
  local _client <close> = client
  local server = net.connect(proxy.target.host, proxy.target.port)
  if not server then return client:reset() end
  local _server <close> = server
  local group <close> = neap.TaskGroup()
  local function go(way, from, to)
    if carry(proxy, way, from, to) == "close" then
      if not to:is_closed() then to:shutdown() end
    else
      client:reset()
      server:reset()
    end
  end
  group:create_task(go, "up", client, server)
  group:create_task(go, "down", server, client)
end

local function accept(proxy)
  while true do
    local client = proxy.listener:accept()
    if not client then return end
    proxy.accepted = proxy.accepted + 1
    local drop = proxy.faults.drop
    if drop then
      client[drop == "reset" and "reset" or "close"](client)
    else
      local task = neap.create_task(relay, proxy, client)
      proxy.tasks[task] = true
      task:add_done_callback(function()
        proxy.tasks[task] = nil
        client:close() -- it may have been cancelled before it began
      end)
    end
  end
end

--- Other faults, from now on.
function Proxy:set(faults)
  self.faults = faults or {}
  self.change:set()
end

--- Ends it and all its connections. Awaits.
function Proxy:close()
  self.listener:close()
  local tasks = { self.acceptor }
  for task in pairs(self.tasks) do tasks[#tasks + 1] = task end
  for _, task in ipairs(tasks) do task:cancel() end
  neap.wait(tasks)
end

Proxy.__close = Proxy.close

--- Starts one in front of the server at host and port.
function M.start(host, port, faults)
  local listener = assert(net.listen {})
  local proxy = setmetatable({
    target = { host = host, port = port },
    listener = listener,
    faults = faults or {},
    change = neap.Event(),
    accepted = 0,
    carried = { up = 0, down = 0 }, -- bytes of all connections
    tasks = {},
  }, Proxy)
  proxy.host, proxy.port = listener:address()
  proxy.acceptor = neap.create_task(accept, proxy)
  return proxy
end

return M
