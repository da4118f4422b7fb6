-- What ends in time gives its result or its error.
local function child(delay)
  neap.sleep(delay)
  if delay == 2 then error(neap.Error "bad") end
  return "value"
end
log(neap.wait_for(child, 5, 1), now())
local _, err = pcall(neap.wait_for, child, 5, 2)
log(err, now())
log(neap.wait_for(child, nil, 1), now())
