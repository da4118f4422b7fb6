-- The same with a plain future: it is cancelled for both, and cannot be set any more.
local fut = neap.Future()
local function outer(name)
  local _, err = pcall(fut.await, fut)
  log(name, neap.current_task():cancelling())
  error(err, 0)
end
local a, b = neap.create_task(outer, "a"), neap.create_task(outer, "b")
neap.sleep(1)
a:cancel()
log(fut:cancelled())
neap.wait { a, b }
log(a:cancelled(), b:cancelled())
