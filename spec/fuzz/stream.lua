--- Random use of streams: several tasks write, read, pipe, shut down, close and cancel.
---
---     neap spec/fuzz/stream.lua FIRST LAST    runs the programs of these seeds
---
--- What a stream gives is a prefix of what was written to the other end, in the order of
--- writing; all of it where nothing was cut off. Every task ends, no handle is left.

local neap = require "neap"
local net = require "neap.net"
local core = require "neap.core.test"
local leftover = require "neap.test.leftover"
local secure = require "spec.support.secure"
local new_random = require "spec.fuzz.random"

local M = {}

local function connect_plain(p)
  if p.random(3) == 1 then return assert(net.pair()) end
  if p.random(4) == 1 then
    local path = os.tmpname()
    os.remove(path)
    local listener <close> = assert(net.listen { path = path })
    local a = assert(net.connect("unix:" .. path))
    return a, assert(listener:accept())
  end
  local listener <close> = assert(net.listen {})
  local host, port = listener:address()
  local a = assert(net.connect(host, port))
  return a, assert(listener:accept())
end

--- Two connected streams, of a random kind; whether TLS is on top.
local function connect(p)
  local a, b = connect_plain(p)
  if p.random(4) > 1 then return a, b, false end
  local of_a, of_b = secure.shake(a, b)
  assert(table.unpack(of_a))
  assert(table.unpack(of_b))
  return a, b, true
end

--- One direction of bytes. `cut`: something may be missing at its end.
local function new_way()
  return { sent = {}, got = {}, cut = false, piped = false }
end

--- What is refused by the world, or by the other tasks' doing, is none of our business.
local EXPECTED = {
  "closed stream", "after shutdown", "another task is reading", "not open for writing",
}

local function attempt(fn, ...)
  local result = table.pack(pcall(fn, ...))
  if result[1] then return table.unpack(result, 2, result.n) end
  local err = result[2]
  if neap.CancelledError:is(err) then error(err, 0) end
  for _, text in ipairs(EXPECTED) do
    if type(err) == "string" and err:find(text, 1, true) then return nil, err end
  end
  error(err, 0)
end

--- Bytes that tell where they are from.
local function bytes(p)
  local sizes = { 1, 10, 1000, 20000, 200000, 700000 }
  local n = p.random(sizes[p.random(#sizes)])
  p.count = p.count + 1
  return (("%d."):format(p.count)):rep(n // 4 + 1):sub(1, n)
end

local function write(p, one)
  local parts = {}
  for i = 1, p.random(3) do parts[i] = bytes(p) end
  local out = one.out
  -- What is written is in order from the call on, also when its task is cancelled.
  if one.stream:is_closed() or out.ended then return end
  local index = #out.sent + 1
  out.sent[index] = table.concat(parts)
  local _, err = attempt(one.stream.write, one.stream, table.unpack(parts))
  if type(err) == "string" then -- it did not begin
    out.sent[index] = ""
  elseif err then
    out.cut = true
  end
end

local READS = {
  function(p, s) return s:read(p.random(100000)) end,
  function(_, s) return s:read_some() end,
  function(p, s) return s:read_some(p.random(100)) end,
  function(_, s) return s:read "L" end,
  function(p, s)
    local data, err = s:read_exactly(p.random(5000))
    return data or err and err.partial, err
  end,
  function(p, s)
    local data, err = s:read_until(tostring(p.random(9)) .. ".", 1 << 20)
    return data or err and err.partial, err
  end,
  function(p, s) -- both are given, or none
    local a, b = s:read(p.random(3000), p.random(3000))
    return a and a .. (b or ""), nil
  end,
}

local function read(p, one)
  local way = one.into
  local data = attempt(READS[p.random(#READS)], p, one.stream)
  if data then way.got[#way.got + 1] = data end
  return data
end

local OPS = {}
local function op(weight, run)
  for _ = 1, weight do OPS[#OPS + 1] = run end
end

op(8, write)
op(8, read)
op(2, function(p) neap.sleep(p.random(3) == 1 and 0.0005 or 0) end)
op(1, function(_, one) attempt(one.stream.flush, one.stream) end)
op(1, function(p, one)
  if p.random(3) > 1 then return end
  one.out.ended = true
  attempt(one.stream.shutdown, one.stream)
end)
op(1, function(p, one)
  local how = p.random(24)
  if how > 4 then return end
  -- What the other side sends is lost, and what it was sent may be, after a reset. With
  -- TLS the other side always sends something: keys, answers.
  one.into.cut = true
  if how > 1 or one.tls or #one.into.sent > 0 then one.out.cut = true end
  one.stream[({ "close", "close", "abort", "reset" })[how]](one.stream)
end)
op(1, function(p, one)
  if one.stream:is_closed() then return end
  local high = p.random(4) == 1 and 0 or p.random(200000)
  one.stream:set_write_limits(high, p.random(high + 1) - 1)
end)
op(2, function(p)
  local task = p.tasks[p.random(#p.tasks)]
  if p.random(3) == 1 then task:cancel() end
end)
op(1, function(p)
  if p.random(10) == 1 then collectgarbage(p.random(2) == 1 and "step" or nil) end
end)
op(1, function(p, one)
  local target = p.ends[p.random(#p.ends)]
  if target.stream == one.stream or p.random(3) > 1 then return end
  if one.stream:is_closed() or target.stream:is_closed() then return end
  -- What goes where cannot be told any more.
  one.into.piped, target.out.piped = true, true
  attempt(one.stream.pipe, one.stream, target.stream)
end)
op(1, function(p, one)
  local timeout <close> = neap.timeout(p.random(20) / 10000)
  read(p, one)
  assert(timeout)
end)

local function body(p, one)
  for _ = 1, p.random(10) do
    if p.budget <= 0 then return end
    p.budget = p.budget - 1
    OPS[p.random(#OPS)](p, one)
  end
end

--- Reads to the end what is left, in a task of its own.
local function drain(one)
  while not one.stream:is_closed() do
    local data, err = attempt(one.stream.read_some, one.stream)
    if not data then
      if err then one.into.cut = true end
      return
    end
    one.into.got[#one.into.got + 1] = data
  end
end

local function finish(p)
  local all = {}
  for _, one in ipairs(p.ends) do
    all[#all + 1] = neap.create_task(drain, one)
    all[#all + 1] = neap.create_task(function()
      if not one.stream:is_closed() then attempt(one.stream.shutdown, one.stream) end
    end)
  end
  local _, pending = neap.wait(all, { timeout = 20 })
  for _, task in ipairs(all) do
    if task:done() then task:await() end
  end
  assert(#pending == 0, "it does not end: " .. tostring(pending[1]))
end

--- Compares what came out with what went in.
local function check(way, name)
  if way.piped then return end
  local sent, got = table.concat(way.sent), table.concat(way.got)
  assert(#got <= #sent, name .. ": more came than was sent")
  if got ~= sent:sub(1, #got) then
    local at = 1
    while got:byte(at) == sent:byte(at) do at = at + 1 end
    error(("%s: another byte at %d of %d"):format(name, at, #sent))
  end
  assert(way.cut or #got == #sent,
    ("%s: %d of %d bytes came"):format(name, #got, #sent))
end

local function run(p)
  for i = 1, p.random(2) do
    local a, b, tls = connect(p)
    local there, back = new_way(), new_way()
    p.ends[#p.ends + 1] = { stream = a, out = there, into = back,
      name = i .. "a", tls = tls }
    p.ends[#p.ends + 1] = { stream = b, out = back, into = there,
      name = i .. "b", tls = tls }
  end
  for i = 1, p.random(6) + 1 do
    local one = p.ends[p.random(#p.ends)]
    p.tasks[i] = neap.create_task(body, p, one)
  end
  -- Those that wait for bytes that nobody will send are told to stop.
  local _, pending = neap.wait(p.tasks, { timeout = 0.05 })
  for _ = 1, 100 do
    if not pending[1] then break end
    for _, task in ipairs(pending) do task:cancel() end
    _, pending = neap.wait(pending, { timeout = 5 })
  end
  for _, task in ipairs(p.tasks) do
    assert(task:done(), tostring(task))
    local err = not task:cancelled() and task:exception()
    if err and not neap.TimeoutError:is(err) then error(err, 0) end
  end
  finish(p)
  for _, one in ipairs(p.ends) do check(one.out, one.name) end
  for _, one in ipairs(p.ends) do
    one.stream[p.random(2) == 1 and "close" or "abort"](one.stream)
  end
end

--- Runs the program of a seed. Raises what is wrong.
function M.run(seed)
  local p = { random = new_random(seed), tasks = {}, ends = {}, budget = 60, count = 0 }
  local snapshot = leftover.snapshot()
  local task = neap.create_task(run, p)
  local ok, err = pcall(task.await, task)
  for _, one in ipairs(p.ends) do one.stream:abort() end
  for _ = 1, 4 do neap.sleep(0) end
  if not ok then error(("seed %d: %s"):format(seed, tostring(err)), 0) end
  local left = leftover.since(snapshot)
  assert(#left == 0, ("seed %d left %s"):format(seed, table.concat(left, "; ")))
end

if arg and arg[1] and arg[0]:find "stream.lua$" then
  local first, last = tonumber(arg[1]), tonumber(arg[2] or arg[1])
  local failed = 0
  for seed = first, last do
    local ok, err = pcall(M.run, seed)
    if not ok then
      failed = failed + 1
      io.stderr:write(tostring(err), "\n")
    end
  end
  core.settle()
  os.exit(failed == 0 and 0 or 1, true)
end

return M
