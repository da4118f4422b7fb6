-- result and exception of what is pending, returned, raised and cancelled.
local function ask(fut)
  for _, look in ipairs { fut.result, fut.exception } do
    local ok, value = pcall(look, fut)
    if ok then log("gives", value) else log("raises", kind(value)) end
  end
end
local futures = {}
for i = 1, 4 do futures[i] = neap.Future() end
futures[2]:set_result "value"
futures[3]:set_exception(neap.Error "bad")
futures[4]:cancel()
for _, fut in ipairs(futures) do ask(fut) end
