-- Each child has a time-out of its own.
local function child(name, delay, patience)
  return function()
    local ok = pcall(neap.wait_for, neap.sleep, patience, delay)
    return name .. (ok and " ends" or " times out")
  end
end
log({ neap.gather(child("a", 1, 2), child("b", 3, 2), child("c", 2.5, 3)) }, now())
