-- A time-out at the barrier: who gives up leaves it as it was for the others.
local barrier = neap.Barrier(2)
local function child(name, patience)
  local ok = pcall(function()
    local _t <close> = neap.timeout(patience)
    barrier:wait()
  end)
  if ok then log(name, "passed", now()) return end
  log(name, "gave up", now(), barrier:n_waiting(), barrier:broken())
end
child("a", 1)
neap.gather(function() child("b", 5) end, function() child("c", 5) end)
