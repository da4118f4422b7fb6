-- Two groups one after the other: the failure of the first has no effect on the second.
local function child(delay)
  neap.sleep(delay)
  if delay == 1 then error(neap.Error "one") end
  log("child", delay, now())
end
for delay = 1, 2 do
  local ok, err = pcall(function()
    local group <close> = neap.TaskGroup()
    group:create_task(child, delay)
    group:create_task(child, 3)
  end)
  if not ok then log(err, now()) end
end
log(now())
