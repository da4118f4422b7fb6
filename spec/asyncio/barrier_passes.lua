-- The last one to come lets all go on; each gets an index, and the barrier is used again.
local barrier = neap.Barrier(3)
local function child(name, delay)
  return function()
    for _ = 1, 2 do
      neap.sleep(delay)
      log(name, "comes", now(), barrier:n_waiting())
      barrier:wait()
      log(name, "goes", now())
    end
  end
end
neap.gather(child("a", 1), child("b", 2), child("c", 3))
log(barrier:n_waiting(), barrier:broken(), barrier:parties())
