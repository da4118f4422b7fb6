--- Two tasks sleep at the same time, so both take no longer than the longer one.

local neap = require "neap"

local waiting, most = 0, 0

local function prepare(what, seconds)
  print(what .. ": started")
  waiting = waiting + 1
  most = math.max(most, waiting)
  neap.sleep(seconds) -- only this task waits here
  waiting = waiting - 1
  print(what .. ": ready")
  return what
end

local loop = neap.get_event_loop()
local start = loop:time()

local first, second = neap.gather(
  neap.create_task(prepare, "tea", 0.5),
  neap.create_task(prepare, "toast", 0.3)
)

io.stderr:write(("%.2f s\n"):format(loop:time() - start)) -- about 0.5 s
print(("%s and %s: %d at the same time"):format(first, second, most))
