--- A semaphore of 2 lets two of five workers work at the same time, in the order in which
--- they came.

local neap = require "neap"

local desks = neap.Semaphore(2)
local busy, most = 0, 0

local function worker(number)
  local _desk <close> = desks:acquire()
  busy = busy + 1
  most = math.max(most, busy)
  print(("worker %d starts, busy: %d"):format(number, busy))
  neap.sleep(0.05 + 0.02 * number)
  busy = busy - 1
  print(("worker %d is done"):format(number))
end

local workers = {}
for number = 1, 5 do workers[number] = neap.create_task(worker, number) end
neap.gather(workers)
print("never more than " .. most .. " at the same time")
