-- ensure_future gives a task or a future back as it is, and makes a task of a function.
local function child() return "value" end
local task, fut = neap.create_task(child), neap.Future()
log(neap.ensure_future(task) == task, neap.ensure_future(fut) == fut)
local made = neap.ensure_future(child)
log(made == task, made:await(), task:await())
fut:cancel()
