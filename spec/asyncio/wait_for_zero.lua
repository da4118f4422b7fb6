-- Time-out 0 and what is not done: cancelled at once.
for _, delay in ipairs { 0, -1 } do
  local fut = neap.Future()
  local _, err = pcall(neap.wait_for, fut, delay)
  log(kind(err), fut:cancelled(), now())
end
