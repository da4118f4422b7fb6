-- With return_exceptions a cancelled child is a value.
local child = neap.create_task(neap.sleep, 10)
loop:call_later(1, function() child:cancel() end)
local list = neap.gather({ child, function() return neap.sleep(2, "slept") end },
  { return_exceptions = true })
log(kind(list[1]), list[2], now())
