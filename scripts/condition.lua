--- A condition wakes as many of those who wait as there is something for: two of four.

local neap = require "neap"

local kitchen = neap.Condition()
local meals = 0

local function guest(name)
  local _held <close> = kitchen:acquire()
  print(name .. " is hungry")
  kitchen:wait_for(function() return meals > 0 end) -- lets go of the lock meanwhile
  meals = meals - 1
  print(name .. " eats, meals left: " .. meals)
end

local guests = {}
for i, name in ipairs { "Ann", "Bob", "Cy", "Dee" } do
  guests[i] = neap.create_task(guest, name)
end
neap.sleep(0.1)

do
  local _held <close> = kitchen:acquire()
  meals = 2
  print "two meals are served"
  kitchen:notify(2)
end
neap.sleep(0.1)

for _, task in ipairs(guests) do
  if not task:done() then task:cancel() end
end
local outcomes = neap.gather(guests, { return_exceptions = true })
local hungry = 0
for i = 1, outcomes.n do
  if neap.CancelledError:is(outcomes[i]) then hungry = hungry + 1 end
end
print("the kitchen closes, still hungry: " .. hungry)
