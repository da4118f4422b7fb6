--- A retry with growing pauses, tested in virtual time: minutes take milliseconds, and
--- the pauses are exact.

local neap = require "neap"
local test = require "neap.test"

local function retry(fn, tries)
  local pause = 1
  for n = 1, tries do
    local ok, value = neap.pcall(fn)
    if ok then return value, n end
    if n < tries then neap.sleep(pause) end
    pause = pause * 2
  end
  error("gave up after " .. tries .. " tries", 0)
end

local clock <close> = test.clock()

local opens_at = 100
local function knock()
  print(("knock at %3d s"):format(clock:time()))
  if clock:time() < opens_at then error "closed" end
  return "open"
end

print(retry(knock, 10))

-- Cancelled at any of its waits, it leaves nothing behind, and goes on with nothing.
local function fails_thrice()
  local calls = 0
  return function()
    calls = calls + 1
    if calls <= 3 then error "not yet" end
  end
end

print("waits:", test.cancel_sweep(function() retry(fails_thrice(), 5) end))
