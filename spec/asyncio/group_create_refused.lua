-- No task can be added to a group that was left.
local group
do
  group = neap.TaskGroup()
  local _g <close> = group
end
local _, err = pcall(group.create_task, group, neap.sleep, 0)
log(kind(err))
