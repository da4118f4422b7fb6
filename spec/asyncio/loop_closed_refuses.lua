-- A closed loop accepts nothing; closing it again is allowed.
loop:close()
loop:close()
log(loop:is_closed(), loop:is_running())
for _, call in ipairs {
  function(f) loop:call_soon(f) end,
  function(f) loop:call_later(1, f) end,
  function(f) loop:call_at(1, f) end,
} do
  local _, err = pcall(call, log)
  log(kind(err))
end
local _, err = pcall(loop.run_forever, loop)
log(kind(err))
