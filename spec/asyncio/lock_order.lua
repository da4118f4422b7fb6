-- A lock goes from one to the next in the order of arrival.
local lock = neap.Lock()
local function child(name)
  return function()
    log(name, "asks")
    do
      local _held <close> = lock:acquire()
      log(name, "has it", now())
      neap.sleep(1)
    end
    log(name, "released")
  end
end
neap.gather(child "a", child "b", child "c")
log(lock:locked())
