-- The first error is enough; a cancelled one is no error.
local function bad()
  neap.sleep(2)
  error(neap.Error "bad")
end
local tasks = {
  neap.create_task(neap.sleep, 1):set_name "good",
  neap.create_task(bad):set_name "bad",
  neap.create_task(neap.sleep, 10):set_name "cancelled",
  neap.create_task(neap.sleep, 5):set_name "slow",
}
loop:call_later(1.5, function() tasks[3]:cancel() end)
local done, pending = neap.wait(tasks, { return_when = "first_exception" })
log(sorted(done), sorted(pending), now())
log(tasks[2]:exception(), tasks[3]:cancelled())
done, pending = neap.wait(pending, { return_when = "first_exception" })
log(sorted(done), sorted(pending), now())
