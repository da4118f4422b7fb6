-- A loop that runs cannot be run again, nor closed; another one cannot be run inside.
local other = neap.new_event_loop()
loop:call_soon(function()
  for _, call in ipairs { { loop, "run_forever" }, { loop, "close" }, { other, "run_forever" } } do
    local _, err = pcall(call[1][call[2]], call[1])
    log(kind(err))
  end
  loop:stop()
end)
loop:run_forever()
log(loop:is_closed())
other:close()
log(other:is_closed(), other:is_running())
