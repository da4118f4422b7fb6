-- The result, the error and the cancellation of what is shielded come through.
local function child(how)
  neap.sleep(1)
  if how == "error" then error(neap.Error(how)) end
  if how == "cancel" then
    neap.current_task():cancel "inside"
    neap.sleep(1)
  end
  return how
end
for _, how in ipairs { "result", "error", "cancel" } do
  local ok, value = pcall(neap.shield, child, how)
  if ok then
    log(value, now())
  else
    log("raised", kind(value), now(), neap.current_task():cancelling())
  end
end
local fut = neap.Future()
fut:set_result "done already"
log(neap.shield(fut))
