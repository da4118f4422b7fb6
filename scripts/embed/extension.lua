-- The module of extension.c at work.

local neap = require "neap"
local extension = require "extension"

-- At top level, in a task, in a generator: it waits everywhere.
print(extension.after(0.01, "top", "level"))
print(neap.gather(function()
  local words = coroutine.wrap(function()
    for _, word in ipairs { "one", "two" } do
      coroutine.yield(extension.after(0.01, word))
    end
  end)
  return words() .. " " .. words()
end))

-- Two at once, and one that is cancelled.
local slow = neap.create_task(extension.after, 60)
local started = neap.get_event_loop():time()
print(neap.gather(function() return extension.after(0.02, "slower") end,
  function() return extension.after(0.01, "faster") end))
slow:cancel "not needed"
local ok, err = pcall(slow.await, slow)
print(ok, err, neap.get_event_loop():time() - started < 10)

-- The pool computes while another task goes on.
local ticks = 0
local ticker = neap.create_task(function()
  while true do
    extension.after(0.001)
    ticks = ticks + 1
  end
end)
local sum
repeat sum = extension.checksum("neap", 5000000) until ticks > 0
print(("%08x"):format(sum))
ticker:cancel()
print(ticks > 0)
