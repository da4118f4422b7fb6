-- stop ends the run after the present pass: what was ready then still runs.
loop:call_soon(function()
  log "first"
  loop:stop()
  loop:call_soon(log, "in the next run")
  log("stop is not at once", loop:is_running())
end)
loop:call_soon(log, "second")
loop:run_forever()
log("stopped", loop:is_running())
loop:call_soon(function() loop:stop() end)
loop:run_forever()
