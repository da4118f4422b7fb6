-- A task of the group cancels the one who waits for the group: both are cancelled.
local task = neap.create_task(function()
  local parent = neap.current_task()
  local _, err = pcall(function()
    local group <close> = neap.TaskGroup()
    group:create_task(function()
      neap.sleep(1)
      parent:cancel "by child"
      local _f <close> = finally(function() log("child", now()) end)
      neap.sleep(10)
    end)
  end)
  log(err, parent:cancelling())
  error(err, 0)
end)
neap.wait { task }
log(task:cancelled(), now())
