-- The inner one expires first: the outer block goes on until its own deadline.
local outer, inner
local _, err = pcall(function()
  outer = neap.timeout(3)
  local _o <close> = outer
  local _, e = pcall(function()
    inner = neap.timeout(1)
    local _i <close> = inner
    neap.sleep(10)
  end)
  log("inner", kind(e), now(), inner:expired(), outer:expired())
  neap.sleep(10)
end)
log("outer", kind(err), now(), outer:expired())
