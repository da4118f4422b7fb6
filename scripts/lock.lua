--- One lock makes three workers take turns: what lies between taking it and letting go
--- of it is never mixed up, although each of them waits in the middle.

local neap = require "neap"

local lock = neap.Lock()

local function worker(name)
  for turn = 1, 2 do
    local _held <close> = lock:acquire() -- released at the end of the block
    io.write(name, " begins turn ", turn)
    neap.sleep(0.02)
    print(" ... and ends it")
  end
end

neap.gather(
  neap.create_task(worker, "Ann"),
  neap.create_task(worker, "Bob"),
  neap.create_task(worker, "Cy")
)
print("the lock is " .. (lock:locked() and "held" or "free"))
