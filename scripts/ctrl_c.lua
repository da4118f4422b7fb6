--- Ctrl-C cancels all tasks: each cleans up, and the main chunk gets KeyboardInterrupt
--- where it waits. Run it, watch it work, and press Ctrl-C.
-- test: SIGINT after "everybody is at work"

local neap = require "neap"

io.stdout:setvbuf "line"

local function worker(name)
  local _tidy <close> = setmetatable({}, {
    __close = function()
      neap.sleep(0.05) -- cleaning up may wait, too
      print(name .. " has tidied up")
    end,
  })
  print(name .. " works")
  while true do
    neap.sleep(0.5)
    io.stderr:write "."
  end
end

local tasks = {}
for i, name in ipairs { "Ann", "Bob", "Cy" } do
  tasks[i] = neap.create_task(worker, name)
end
neap.get_event_loop():call_later(0.1, print, "everybody is at work")

-- With return_exceptions gather waits for all of them, also while they are cancelled.
local ok, err = pcall(neap.gather, tasks, { return_exceptions = true })
if not ok and neap.KeyboardInterrupt:is(err) then
  io.stderr:write "\n"
  local cancelled = 0
  for _, task in ipairs(tasks) do
    if task:cancelled() then cancelled = cancelled + 1 end
  end
  print("stopped by Ctrl-C, tasks cancelled: " .. cancelled)
end
