-- wait_for of a gather: past the time-out all children are cancelled.
local function child(name, delay)
  return function()
    local ok, err = pcall(neap.sleep, delay)
    log(name, ok and "ends" or "cancelled", now())
    if not ok then error(err, 0) end
  end
end
local ok = pcall(neap.wait_for, neap.gather, 3, child("a", 1), child("b", 5), child("c", 9))
if not ok then log("timed out", now()) end
