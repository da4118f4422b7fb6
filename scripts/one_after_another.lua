--- The same two sleeps without gather: each call waits for its result before the next
--- begins, so the times add up. Compare with two_at_once.lua.

local neap = require "neap"

local function prepare(what, seconds)
  print(what .. ": started")
  neap.sleep(seconds)
  print(what .. ": ready")
  return what
end

local loop = neap.get_event_loop()
local start = loop:time()

local first = prepare("tea", 0.5) -- a plain call: it returns when the tea is ready
local second = prepare("toast", 0.3)

local seconds = loop:time() - start
print(("%s and %s took %s"):format(first, second,
  seconds >= 0.8 and "about 0.8 s" or "less than 0.8 s"))
