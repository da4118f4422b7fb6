-- Sleeps end in the order of their deadlines, equal ones in the order of arming.
local function child(name, delay)
  return function()
    neap.sleep(delay)
    log(name, now())
  end
end
neap.gather(child("a", 2), child("b", 1), child("c", 2), child("d", 0.5), child("e", 1))
