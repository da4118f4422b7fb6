-- A bounded semaphore refuses to be released above its start; negative starts are refused.
local sem = neap.BoundedSemaphore(2)
sem:acquire()
sem:release()
local _, err = pcall(sem.release, sem)
log(kind(err))
log(sem:locked())
for _, make in ipairs { neap.Semaphore, neap.BoundedSemaphore } do
  _, err = pcall(make, -1)
  log(kind(err))
end
