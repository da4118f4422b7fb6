-- The first error is raised at once; the others go on, and later errors are not reported.
local function child(name, delay, fails)
  return function()
    neap.sleep(delay)
    log(name, now())
    if fails then error(neap.Error(name)) end
    return name
  end
end
local _, err = pcall(neap.gather, child("a", 3, false), child("b", 1, true), child("c", 2, true))
log(err, now())
neap.sleep(5)
log "end"
