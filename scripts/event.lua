--- An event wakes everybody who waits for it, and whoever comes later does not wait.

local neap = require "neap"

local doors_open = neap.Event()

local function visitor(name)
  print(name .. " waits at the door")
  doors_open:wait()
  print(name .. " goes in")
end

local early = neap.create_task(visitor, "Ann")
local also_early = neap.create_task(visitor, "Bob")

neap.sleep(0.1)
print "the doors open"
doors_open:set()
neap.gather(early, also_early)

visitor "Cy" -- at once: the event stays set
