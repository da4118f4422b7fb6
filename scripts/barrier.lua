--- Three runners start each leg together: a barrier holds them until all three are there. When
--- one gives up, the others are told.

local neap = require "neap"

local line = neap.Barrier(3)

local function runner(name, pace, legs)
  for leg = 1, 3 do
    if leg > legs then
      line:abort()
      return name .. " gave up"
    end
    local place = line:wait()
    if place == 3 then print("leg " .. leg .. ": all are there, go!") end
    neap.sleep(pace)
    print(("  %s has run leg %d"):format(name, leg))
  end
  return name .. " finished"
end

local results = neap.gather({
  neap.create_task(runner, "Ann", 0.05, 3),
  neap.create_task(runner, "Bob", 0.15, 3),
  neap.create_task(runner, "Cy", 0.25, 2),
}, { return_exceptions = true })
for i = 1, results.n do print(results[i]) end
print(line)

line:reset()
print(line)
