-- Time-outs in line for a semaphore: the units are not lost, and the order stays.
local sem = neap.Semaphore(1)
local function child(name, patience, work)
  return function()
    local ok = pcall(function()
      local _t <close> = neap.timeout(patience)
      sem:acquire()
    end)
    if not ok then log(name, "gave up", now()) return end
    log(name, "in", now())
    neap.sleep(work)
    sem:release()
  end
end
neap.gather(child("a", 5, 3), child("b", 1, 3), child("c", 5, 3), child("d", 2, 3),
  child("e", 9, 1))
log(sem:locked())
