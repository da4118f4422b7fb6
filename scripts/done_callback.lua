--- A callback that the loop calls when a task is done, however it ended.

local neap = require "neap"

local function divide(a, b)
  neap.sleep(0.05)
  if b == 0 then error("division by zero", 0) end
  return a // b, a % b
end

local function report(task)
  if task:cancelled() then
    print(task:get_name() .. " was cancelled")
  elseif task:exception() then
    print(task:get_name() .. " failed: " .. task:exception())
  else
    print(task:get_name() .. " gave", task:result())
  end
end

local good = neap.create_task(divide, 17, 5):set_name "good"
local bad = neap.create_task(divide, 17, 0):set_name "bad"
local late = neap.create_task(divide, 17, 2):set_name "late"
for _, task in ipairs { good, bad, late } do task:add_done_callback(report) end

late:cancel()
neap.wait { good, bad, late }
neap.sleep(0) -- the callbacks have their turn
