--- What it costs to write values as a packet and to read them again, in ns.

local core = require "neap.core.packet"

local copy = core.copy

local function run(n, ...)
  local start = os.clock()
  for _ = 1, n do copy(...) end
  return (os.clock() - start) / n * 1e9
end

local function best(n, ...)
  local least = math.huge
  for _ = 1, 5 do least = math.min(least, run(n, ...)) end
  return least
end

local frame = best(1e6) -- of the call itself, which makes an object
local function measure(what, n, ...)
  print(("%-34s %10.0f"):format(what, best(n, ...) - frame))
end

measure("an integer", 1e6, 42)
measure("a short string", 1e6, "hello")
measure("three plain values", 1e6, "job", 17, 2.5)
measure("a string of 1000 bytes", 3e5, ("x"):rep(1000))
measure("{x = 1, y = 2, name = 'n'}", 3e5, { x = 1, y = 2, name = "n" })
local records = {}
for i = 1, 1000 do records[i] = { id = i, name = "name" .. i, value = i / 3 } end
measure("1000 tables of three fields", 200, records)
local row = {}
for i = 1, 100000 do row[i] = i end
measure("100,000 integers in a row", 20, row)
local a, b = 1, {}
measure("a function with two upvalues", 1e5, function(x) return x + a, b end)
measure("string.format, by its name", 1e5, string.format)
