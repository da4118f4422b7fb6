-- Gives the result or raises the error; what else was scheduled stays for the next run.
local function child()
  loop:call_later(1, log, "left over")
  log "runs"
  return "value"
end
log(loop:is_running(), loop:run_until_complete(child))
local _, err = pcall(loop.run_until_complete, loop, function() error(neap.Error "bad") end)
log(err)
log(loop:run_until_complete(neap.sleep, 2, "slept"), now())
