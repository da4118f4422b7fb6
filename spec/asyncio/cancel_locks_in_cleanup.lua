-- The cleanup after a cancellation takes a lock that others hold, and releases its own.
local a, b = neap.Lock(), neap.Lock()
local h = neap.create_task(function()
  do
    local _held <close> = b:acquire()
    neap.sleep(5)
  end
  local _held <close> = a:acquire()
  log("holder has a", now())
end)
local task = neap.create_task(function()
  local _held <close> = a:acquire()
  local _f <close> = finally(function()
    local _b <close> = b:acquire()
    log("cleanup has b", now())
  end)
  neap.sleep(10)
end)
neap.sleep(1)
task:cancel()
neap.wait { task, h }
log(task:cancelled(), a:locked(), b:locked())
