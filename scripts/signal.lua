--- Handlers of signals: SIGUSR1 asks how far the work is, SIGTERM and Ctrl-C end it in
--- order. The program sends them to itself; `kill` from another terminal does as well.

local neap = require "neap"

local loop = neap.get_event_loop()
local stop = neap.Event()
local done = 0

local function send(name)
  io.popen("kill -" .. name .. " $PPID"):close()
end

loop:add_signal_handler("SIGUSR1", function() print("done so far: " .. done) end)
for _, name in ipairs { "SIGTERM", "SIGINT" } do
  loop:add_signal_handler(name, function()
    print("stopping for " .. name)
    stop:set()
  end)
end

local worker = neap.create_task(function()
  while true do
    done = done + 1
    if done == 2 then send "USR1" end
    if done == 4 then send "TERM" end
    neap.sleep(0.2)
  end
end)

stop:wait() -- no deadlock: a signal may still come
worker:cancel()
print("done in the end: " .. done)
