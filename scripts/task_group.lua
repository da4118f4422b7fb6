--- A group of tasks ends as a whole: its block waits for all of them, the first failure
--- cancels the others, and the errors leave the block together.

local neap = require "neap"

local function worker(name, seconds, problem)
  local _bye <close> = setmetatable({}, {
    __close = function(_, reason) print(name .. (reason and " is stopped" or " is done")) end,
  })
  neap.sleep(seconds)
  if problem then error(problem, 0) end
  return name:upper()
end

-- All is well: the tasks have their results when the block is left.
local one, two
do
  local group <close> = neap.TaskGroup()
  one = group:create_task(worker, "one", 0.2)
  two = group:create_task(worker, "two", 0.01)
  print "the body is done first"
end
print(one:result(), two:result())

-- One fails: the others are cancelled, and the body as well.
local ok, err = pcall(function()
  local group <close> = neap.TaskGroup()
  group:create_task(worker, "three", 3600)
  group:create_task(worker, "four", 0.01, "out of paper")
  neap.sleep(3600)
  print "never printed"
end)
print(ok, err)
for _, problem in ipairs(err.errors) do print("problem: " .. problem) end

-- Tasks may add tasks to their group.
do
  local group <close> = neap.TaskGroup()
  group:create_task(function()
    neap.sleep(0.01)
    group:create_task(worker, "a late one", 0.01)
  end)
end
print "all have ended"
