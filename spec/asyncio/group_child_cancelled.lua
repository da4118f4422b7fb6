-- A task of the group that is cancelled by others is no failure.
local a, b
do
  local group <close> = neap.TaskGroup()
  a = group:create_task(neap.sleep, 10)
  b = group:create_task(neap.sleep, 2)
  neap.sleep(1)
  a:cancel()
  neap.sleep(0)
end
log(a:cancelled(), b:cancelled(), now())
