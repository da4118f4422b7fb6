--- Two tasks sleep at the same time, so both take no longer than the longer one.

local neap = require "neap"

local function prepare(what, seconds)
  print(what .. ": started")
  neap.sleep(seconds) -- only this task waits here
  print(what .. ": ready")
  return what
end

local loop = neap.get_event_loop()
local start = loop:time()

local first, second = neap.gather(
  neap.create_task(prepare, "tea", 0.5),
  neap.create_task(prepare, "toast", 0.3)
)

local seconds = loop:time() - start
print(("%s and %s took %s"):format(first, second,
  seconds < 0.8 and "about 0.5 s" or "0.8 s or more"))
