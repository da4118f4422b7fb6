-- Cancelled from outside, in the block or while it waits: the tasks are cancelled, no group.
local function child()
  local _f <close> = finally(function()
    neap.sleep(1)
    log("child ends", now())
  end)
  neap.sleep(10)
end
local function parent(in_block)
  local _, err = pcall(function()
    local group <close> = neap.TaskGroup()
    group:create_task(child)
    if in_block then neap.sleep(5) end
  end)
  log(err, now(), neap.current_task():cancelling())
  error(err, 0)
end
for _, in_block in ipairs { true, false } do
  local task = neap.create_task(parent, in_block)
  neap.sleep(1)
  task:cancel "outside"
  neap.wait { task }
  log(task:cancelled())
end
