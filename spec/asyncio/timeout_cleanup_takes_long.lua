-- Cleanup after the deadline takes its time, and the error comes after it.
local ok = pcall(function()
  local _t <close> = neap.timeout(1)
  local _f <close> = finally(function()
    neap.sleep(5)
    log("cleaned", now())
  end)
  neap.sleep(10)
end)
if not ok then log("left", now()) end
