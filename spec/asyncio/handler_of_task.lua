-- The context of a task's unseen error has the task, also under future.
loop:set_exception_handler(function(_, context)
  log(context.message, context.exception, context.future)
end)
neap.create_task(function() error(neap.Error "unseen") end):set_name "bad task"
neap.sleep(1)
collectgarbage()
collectgarbage()
log "collected"
