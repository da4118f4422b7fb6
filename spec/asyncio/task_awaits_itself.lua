-- A task that awaits itself gets an error.
neap.create_task(function()
  local self = neap.current_task()
  local _, err = pcall(self.await, self)
  log(kind(err))
end):await()
