--- What connections cost, and that nothing grows. scripts/dev/io_memory.lua measures the
--- same by hand at full size.

local neap = require "neap"
local net = require "neap.net"
local core = require "neap.core.test"
local helper = require "spec.helper"

local KB = 1024
local open

local function keep(object, err)
  assert(object, err)
  open[#open + 1] = object
  return object
end

--- A line of /proc/self/status, in bytes.
local function status(name)
  for line in io.lines "/proc/self/status" do
    local kb = line:match("^" .. name .. ":%s+(%d+)")
    if kb then return tonumber(kb) * KB end
  end
end

--- The sanitizers' own memory is many times that of the program.
local SANITIZED = status "VmSize" > 1 << 40

local function collect()
  collectgarbage()
  collectgarbage()
end

--- Bytes of Lua's objects.
local function objects()
  collect()
  return math.floor(collectgarbage "count" * KB)
end

--- Exact where the system can say so: "VmRSS" is the sum of what each processor has noted.
local function resident()
  collect()
  local file = io.open "/proc/self/smaps_rollup"
  if not file then return status "VmRSS" end
  local kb = file:read "a":match "\nRss:%s+(%d+)"
  file:close()
  return kb and tonumber(kb) * KB or status "VmRSS"
end

--- How many connections can be open, both ends of them.
local function room(n)
  local limit
  for line in io.lines "/proc/self/limits" do
    limit = limit or tonumber(line:match "^Max open files%s+(%d+)")
  end
  return helper.many(limit and math.min(n, (limit - 100) // 2) or n)
end

--- Waits until `fn` gives true.
local function soon(fn)
  local _ <close> = neap.timeout(20)
  while not fn() do neap.sleep(0.001) end
end

--- The other end of a connection as a server has it, in its handler.
local function accepted(handler)
  local server = keep(net.serve(handler, { backlog = 1024 }))
  return server, function() return keep(net.connect(server:address())) end
end

local function flood(stream)
  while stream:write(("x"):rep(100000)) do end
end

describe("memory:", function()
  local before

  before_each(function()
    open = {}
    before = helper.descriptors()
  end)

  after_each(function()
    core.linger(0)
    for i = #open, 1, -1 do
      local one = open[i]
      if one.connections then one:shutdown(0) else one:abort() end
    end
    open = {}
    helper.await_descriptors(before)
  end)

  it("an idle connection costs at most 4 KB beside its task", function()
    local n = room(1000)
    local server, connect = accepted(function(stream) stream:read() end)
    local first, first_resident = objects(), resident()
    for i = 1, n do
      connect()
      if i % 100 == 0 then neap.sleep(0) end
    end
    soon(function() return server:connections() == n end)
    local both, both_resident = objects() - first, resident() - first_resident
    first, first_resident = objects(), resident()
    local tasks = {}
    for i = 1, n do tasks[i] = neap.create_task(neap.sleep, 1000) end
    neap.sleep(0)
    local alone, alone_resident = objects() - first, resident() - first_resident
    for _, task in ipairs(tasks) do task:cancel() end
    neap.sleep(0)
    -- Both ends are in this process: two streams, and one task.
    assert.is_true(both - alone <= n * 2 * 4096, (both - alone) // n)
    if not SANITIZED and n >= 100 then
      local each = (both_resident - alone_resident) // n
      assert.is_true(each <= 2 * 4096 + 1024, each)
    end
  end)

  it("connecting and closing in a row leaves nothing", function()
    local server, connect = accepted(function(stream)
      local line = stream:read()
      if line then stream:write(line, "\n") end
    end)
    local function round(n)
      for i = 1, n do
        local stream = connect()
        open[#open] = nil
        if i % 2 == 0 then
          stream:write "hello\n"
          assert(stream:read() == "hello")
        end
        stream[({ "close", "reset", "abort" })[i % 3 + 1]](stream)
      end
      soon(function() return server:connections() == 0 end)
    end
    local n = helper.many(2000)
    round(n // 2)
    local fds, bytes, pages = helper.descriptors(), objects(), resident()
    round(n)
    assert.is_true(objects() - bytes < 64 * KB, objects() - bytes)
    if not SANITIZED then
      assert.is_true(resident() - pages < 1024 * KB, resident() - pages)
    end
    collect()
    helper.await_descriptors(fds)
  end)

  it("peers that never read make no more wait than the mark and one write", function()
    local streams = {}
    local server, connect = accepted(function(stream)
      streams[#streams + 1] = stream
      flood(stream)
    end)
    for _ = 1, 20 do connect() end
    soon(function()
      for _, stream in ipairs(streams) do
        if stream:pending() <= 64 * KB then return false end
      end
      return #streams == 20
    end)
    for _ = 1, 20 do
      neap.sleep(0.005)
      for _, stream in ipairs(streams) do
        assert.is_true(stream:pending() <= 64 * KB + 100000, stream:pending())
      end
    end
    assert.equal(20, server:connections())
  end)

  it("a closed stream whose peer never reads goes after a time", function()
    local go, full = neap.Event(), 0
    local server, connect = accepted(function(stream)
      stream:set_write_limits(1 << 30)
      while stream:pending() == 0 do stream:write(("x"):rep(100000)) end
      full = full + 1
      go:wait()
    end)
    core.linger(100)
    for _ = 1, 10 do connect() end
    soon(function() return full == 10 end)
    local all = helper.descriptors()
    local began = neap.get_event_loop():time()
    go:set()
    soon(function() return server:connections() == 0 end)
    helper.await_descriptors(all - 10)
    assert.is_true(neap.get_event_loop():time() - began >= 0.09) -- not at once
  end)

  it("a line without end is refused at the limit", function()
    local told, held
    local server, connect = accepted(function(stream)
      stream:set_read_limit(200000)
      local bytes = objects()
      told = table.pack(stream:read())
      held = objects() - bytes
    end)
    local stream = connect()
    local sent = 0
    while sent < 64 << 20 and stream:write(("x"):rep(50000)) do sent = sent + 50000 end
    assert.is_nil(told[1])
    assert.is_true(neap.LimitOverrunError:is(told[2]), tostring(told[2]))
    assert.is_true(sent < 32 << 20, sent)
    assert.is_true(held < 100 * KB, held)
    soon(function() return server:connections() == 0 end)
  end)

  it("what has ended keeps no room for more", function()
    if SANITIZED then pending "the sanitizer's memory hides it" return end
    local n = room(300)
    local ours, theirs = {}, {}
    for i = 1, n do
      ours[i], theirs[i] = net.pair()
      keep(ours[i])
      keep(theirs[i])
    end
    for i = 1, n do
      theirs[i]:write(("x"):rep(100000))
      assert(#ours[i]:read_exactly(100000) == 100000)
    end
    local pages = status "VmData"
    for i = 1, n do theirs[i]:close() end
    for _ = 1, 5 do neap.sleep(0.001) end
    -- Not 64 KB for each, which the next read would have been given.
    local more = status "VmData" - pages
    assert.is_true(more < n * 16 * KB + 512 * KB, more)
  end)
end)
