-- An error or a cancellation inside of the block releases the lock.
local lock = neap.Lock()
local a = neap.create_task(function()
  local _held <close> = lock:acquire()
  error(neap.Error "inside")
end)
local b = neap.create_task(function()
  local _held <close> = lock:acquire()
  neap.sleep(10)
end)
neap.sleep(1)
log(lock:locked(), a:exception())
b:cancel()
do
  local _held <close> = lock:acquire()
  log("main has it", b:cancelled(), now())
end
