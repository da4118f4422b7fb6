-- The outer one expires first: the inner passes the cancellation on.
local outer, inner
local _, err = pcall(function()
  outer = neap.timeout(1)
  local _o <close> = outer
  local _, e = pcall(function()
    inner = neap.timeout(2)
    local _i <close> = inner
    neap.sleep(10)
  end)
  log("between", e, inner:expired(), outer:expired())
  error(e, 0)
end)
log(kind(err), now(), inner:expired(), outer:expired())
log(neap.current_task():cancelling())
