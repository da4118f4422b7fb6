-- What is due joins the queue behind what is ready already.
loop:call_later(1, function()
  log "first timer"
  loop:call_soon(log, "soon, from the first timer")
end)
loop:call_later(1, log, "second timer")
neap.sleep(2)
