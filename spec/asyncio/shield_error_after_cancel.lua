-- An error of what is shielded, after its caller was cancelled, is reported.
local inner = neap.create_task(function()
  neap.sleep(2)
  error(neap.Error "nobody sees this")
end)
local task = neap.create_task(function() neap.shield(inner) end)
neap.sleep(1)
task:cancel()
neap.wait { task }
neap.sleep(2)
log "end"
