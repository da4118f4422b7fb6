--- A semaphore of 2 lets two of five workers work at the same time, in the order in which
--- they came.

local neap = require "neap"

local desks = neap.Semaphore(2)
local busy, most = 0, 0

local function worker(number)
  local _desk <close> = desks:acquire()
  busy = busy + 1
  most = math.max(most, busy)
  print(("worker %d has a desk"):format(number))
  neap.sleep(0.1)
  busy = busy - 1
end

local workers = {}
for number = 1, 5 do workers[number] = neap.create_task(worker, number) end
neap.sleep(0.02)
print(desks:locked() and "no desk is free" or "a desk is free")
neap.gather(workers)
print("all are done, and never more than " .. most .. " worked at the same time")
