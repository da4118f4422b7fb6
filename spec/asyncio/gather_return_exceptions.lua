-- Results and errors in the order of the arguments, whatever the order of ending.
local function child(name, delay, fails)
  return function()
    neap.sleep(delay)
    log(name)
    if fails then error(neap.Error(name)) end
    return name
  end
end
log(neap.gather({ child("a", 3, false), child("b", 2, true), child("c", 1, false) },
  { return_exceptions = true }))
