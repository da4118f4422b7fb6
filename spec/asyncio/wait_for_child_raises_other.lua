-- One that turns its cancellation into another error: that error is raised.
local _, err = pcall(neap.wait_for, function()
  local _f <close> = finally(function() error(neap.Error "other") end)
  neap.sleep(10)
end, 1)
log(err, now())
