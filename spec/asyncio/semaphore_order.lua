-- Units go to those who wait in the order of arrival.
local sem = neap.Semaphore(2)
local function child(name, work)
  return function()
    do
      local _held <close> = sem:acquire()
      log(name, "in", now())
      neap.sleep(work)
    end
    log(name, "out", now())
  end
end
neap.gather(child("a", 3), child("b", 1), child("c", 1), child("d", 0.5), child("e", 1))
log(sem:locked())
