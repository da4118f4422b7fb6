-- Both expire in the same pass: the inner one leaves the cancellation to the outer.
local outer, inner
local _, err = pcall(function()
  outer = neap.timeout(1)
  local _o <close> = outer
  local _, e = pcall(function()
    inner = neap.timeout(1)
    local _i <close> = inner
    neap.sleep(10)
  end)
  log("between", kind(e), inner:expired(), outer:expired())
  error(e, 0)
end)
log(kind(err), now(), neap.current_task():cancelling())
neap.sleep(1)
log "goes on"
