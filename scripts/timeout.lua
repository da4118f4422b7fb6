--- Time-outs: for a block, for a single call, moved while they run; and what a block
--- can still do when its time is up.

local neap = require "neap"

local function fetch(name, seconds)
  neap.sleep(seconds)
  return name
end

-- A block: everything that waits in it has two seconds together.
local ok, err = pcall(function()
  local _limit <close> = neap.timeout(2)
  print("fetched " .. fetch("the first", 0.01))
  print("fetched " .. fetch("the second", 3600))
end)
print(ok, err)

-- A single call.
print(neap.wait_for(fetch, 10, "quick", 0.01))
print(pcall(neap.wait_for, fetch, 0.01, "slow", 3600))

-- Each step gives the next one more time: only silence is too long.
local loop = neap.get_event_loop()
do
  local limit <close> = neap.timeout(3)
  for step = 1, 4 do
    neap.sleep(0.6)
    limit:reschedule(loop:time() + 3)
    print("step " .. step)
  end
end

-- The cleanup of a block may take its time, also when that of the block is up.
local task = neap.create_task(function()
  local _limit <close> = neap.timeout(0.01)
  local _tidy <close> = setmetatable({}, {
    __close = function(_, reason)
      neap.sleep(0.02)
      print("tidied up after", reason)
    end,
  })
  neap.sleep(3600)
end)
print(pcall(task.await, task))
