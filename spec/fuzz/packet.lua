--- Random values as packets and back, and random bytes as packets.
---
---     neap spec/fuzz/packet.lua FIRST LAST    runs the programs of these seeds
---
--- What comes out is what went in: the same types, values and shape, with what was shared or
--- cyclic still so. Bytes that were changed, cut or made up give values or an error.

local neap = require "neap"
local core = require "neap.core.packet"
local new_random = require "spec.fuzz.random"

local M = {}

-- ---- values ------------------------------------------------------------------------------

local SCALARS = {
  true, false, 0, 1, -1, -8, -9, 55, 56, 127, 128, -129, 1 << 31, -(1 << 40), math.maxinteger,
  math.mininteger, 0.0, -0.0, 1.5, -1e300, 5e-324, 2 ^ 53, 1 / 0, -1 / 0, "", "a", "\0", "x\0y",
  ("s"):rep(126), ("s"):rep(127), ("s"):rep(128), ("long"):rep(1000),
}
local NAMED = {
  print, string, string.format, io.stdout, _G, math, neap, neap.sleep, neap.Error, neap.OSError,
  coroutine.wrap, pcall, require, package.loaded["neap.core.packet"],
}
local Point = { name = "fuzz" }
Point.__index = Point
core.register("spec.fuzz.Point", Point)
local METATABLES = { Point, neap.Error, neap.OSError, neap.ExceptionGroup, string }

local function new_function(p)
  local a, b = p.value(), p.value()
  local kind = p.random(4)
  local self
  if kind == 1 then
    function self() return a, b end
  elseif kind == 2 then
    function self(x)
      if x then a = x end
      return a, self
    end
  elseif kind == 3 then
    function self() return print, a, (function() return b end) end
  else
    function self() return nil end
  end
  if kind == 1 and p.random(2) == 1 then -- two that share
    p.keep(function(x) a, b = b, x end)
  end
  return self
end

--- A random value; some of what was made before comes again.
local function new_maker(random)
  local p = { random = random, made = {}, budget = random(60) }
  function p.keep(x)
    p.made[#p.made + 1] = x
    return x
  end
  local function table_of(n)
    local t = p.keep {}
    for i = 1, random(n) - 1 do t[i] = p.value() end
    for _ = 1, random(n) - 1 do
      local key = p.value()
      if key ~= nil then t[key] = p.value() end
    end
    if random(6) == 1 then setmetatable(t, METATABLES[random(#METATABLES)]) end
    return t
  end
  function p.value()
    p.budget = p.budget - 1
    local what = random(p.budget > 0 and 20 or 10)
    if what <= 8 then return SCALARS[random(#SCALARS)] end
    if what == 9 then return NAMED[random(#NAMED)] end
    if what == 10 then return #p.made > 0 and p.made[random(#p.made)] or nil end
    if what <= 18 then return table_of(5) end
    if what == 19 then return p.keep(new_function(p)) end
    return ("random"):rep(random(60))
  end
  return p
end

-- ---- comparing ---------------------------------------------------------------------------

local function same_scalar(a, b)
  if math.type(a) == "float" and math.type(b) == "float" then
    return string.pack("n", a) == string.pack("n", b)
  end
  return a == b and math.type(a) == math.type(b)
end

local is_named = {}
for _, value in ipairs(NAMED) do is_named[value] = true end

--- Keys that are scalars or named find their partner; the others are compared by number.
local function check_table(a, b, push)
  assert(rawequal(getmetatable(a), getmetatable(b)), "another metatable")
  local odd_a, odd_b = 0, 0
  for key, value in next, a do
    if type(key) ~= "table" and type(key) ~= "function" or is_named[key] then
      push(value, rawget(b, key))
    else
      odd_a = odd_a + 1
    end
  end
  for key in next, b do
    if type(key) ~= "table" and type(key) ~= "function" or is_named[key] then
      assert(rawget(a, key) ~= nil, "a key too many")
    else
      odd_b = odd_b + 1
    end
  end
  assert(odd_a == odd_b, "keys are missing")
end

local function check_function(a, b, push)
  assert(string.dump(a) == string.dump(b), "another function")
  for i = 1, debug.getinfo(a, "u").nups do
    local name, x = debug.getupvalue(a, i)
    local other, y = debug.getupvalue(b, i)
    assert(name == other)
    push(x, y)
  end
end

--- Raises where b does not have the shape of a.
function M.compare(a, b)
  local partner, back, list = {}, {}, {}
  local function push(x, y) list[#list + 1] = { x, y } end
  push(a, b)
  while #list > 0 do
    local x, y = table.unpack(table.remove(list), 1, 2)
    if is_named[x] or (type(x) ~= "table" and type(x) ~= "function") then
      assert(same_scalar(x, y), "another value")
    elseif partner[x] or back[y] then
      assert(partner[x] == y and back[y] == x, "another shape")
    else
      assert(type(x) == type(y) and not rawequal(x, y), "not a copy")
      partner[x], back[y] = y, x;
      (type(x) == "table" and check_table or check_function)(x, y, push)
    end
  end
end

-- ---- bytes -------------------------------------------------------------------------------

local function replace(s, at, by, n) return s:sub(1, at - 1) .. by .. s:sub(at + n) end

--- Other bytes, made of these.
local function spoil(random, s)
  for _ = 1, random(4) do
    local at, how = random(#s), random(8)
    if how == 1 then
      s = s:sub(1, math.max(at, 1))
    elseif how == 2 then
      s = replace(s, at, string.char(random(256) - 1), 1)
    elseif how == 3 then
      s = replace(s, at, string.char(s:byte(at) ~ (1 << (random(8) - 1))), 1)
    elseif how == 4 then
      s = replace(s, at, "", random(4))
    elseif how == 5 then
      local from = random(#s)
      s = replace(s, at, s:sub(from, from + random(20)), 0)
    elseif how == 6 then
      s = replace(s, at, string.char(random(16) - 1), 1) -- a code
    elseif how == 7 then
      s = replace(s, at, ("\xff"):rep(random(9)) .. "\x01", random(3)) -- a large number
    else
      s = replace(s, at, string.char(random(16) - 1, random(4) - 1), 0)
    end
    if s == "" then return "N" end
  end
  return s
end

local function made_up(random)
  local bytes = {}
  for i = 1, random(80) do bytes[i] = string.char(random(random(2) == 1 and 16 or 256) - 1) end
  return "NP\1" .. table.concat(bytes)
end

--- Whether the bytes mean something. What they name is not looked for on the path.
local function try(bytes)
  local old = package.searchers
  package.searchers = { function() return "no" end }
  local ok, err = pcall(core.unpack, bytes)
  package.searchers = old
  if not ok then assert(type(err) == "string" or neap.Error:is(err), err) end
  return ok
end

-- ---- programs ----------------------------------------------------------------------------

--- Runs the program of a seed; how many of its bytes meant something.
function M.run(seed)
  local random = new_random(seed)
  local p = new_maker(random)
  local values = {}
  for i = 1, random(4) do values[i] = p.value() or false end
  local n = #values
  local again = table.pack(core.copy(table.unpack(values, 1, n)))
  assert(again.n == n)
  M.compare(values, { table.unpack(again, 1, n) })
  local bytes = core.pack(table.unpack(values, 1, n))
  M.compare(values, { core.unpack(bytes) })
  local good = 0
  for _ = 1, 10 do
    if try(spoil(random, bytes)) then good = good + 1 end
    if try(made_up(random)) then good = good + 1 end
  end
  return good
end

core.set_key "0123456789abcdef"

if arg and arg[0] and arg[0]:match "fuzz/packet%.lua$" then
  local first, last = math.tointeger(arg[1]) or 1, math.tointeger(arg[2]) or 1000
  local good = 0
  for seed = first, last do
    local ok, result = xpcall(M.run, debug.traceback, seed)
    if not ok then
      io.stderr:write(("seed %d: %s\n"):format(seed, result))
      os.exit(1)
    end
    good = good + result
    if seed % 1000 == 0 then collectgarbage() end
  end
  if os.getenv "FUZZ_VERBOSE" then print(good .. " changed packets meant something") end
end

return M
