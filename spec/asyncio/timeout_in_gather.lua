-- A time-out around a gather cancels its children.
local function child(name)
  return function()
    local _f <close> = finally(function() log(name, now()) end)
    neap.sleep(10)
  end
end
local ok = pcall(function()
  local _t <close> = neap.timeout(1)
  neap.gather(child "a", child "b")
end)
if not ok then log("timed out", now()) end
neap.sleep(1)
