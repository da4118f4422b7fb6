-- A child's error decides, then the caller is cancelled in the same pass.
local gate = neap.Event()
local function bad()
  gate:wait()
  error(neap.Error "bad")
end
local function sibling()
  local _, err = pcall(neap.sleep, 5)
  log("sibling cancelled", now())
  error(err, 0)
end
local function caller()
  local _, err = pcall(neap.gather, bad, sibling)
  log("caller", err, now())
end
local task = neap.create_task(caller)
local function canceller()
  gate:wait()
  log("cancel", task:cancel())
end
neap.sleep(0)
neap.sleep(0)
neap.create_task(canceller)
neap.sleep(0)
gate:set()
neap.sleep(1)
log(task:done(), task:cancelling())
