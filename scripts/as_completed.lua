--- Results in the order in which they come, with a limit for the slow ones; and waiting
--- for the first of several.

local neap = require "neap"

local function fetch(name, seconds)
  neap.sleep(seconds)
  if name == "a broken one" then error("cannot be read", 0) end
  return name
end

local function start(list)
  local tasks = {}
  for i, item in ipairs(list) do tasks[i] = neap.create_task(fetch, item[1], item[2]) end
  return tasks
end

-- The tasks themselves come out, so each can be asked for what became of it.
local tasks = start {
  { "a slow one", 0.6 }, { "a quick one", 0.1 }, { "a broken one", 0.3 },
  { "a hopeless one", 3600 },
}
local ok, err = pcall(function()
  for task in neap.as_completed(tasks, { timeout = 3 }) do
    local problem = task:exception()
    print(problem and "failed: " .. problem or "got " .. task:result())
  end
end)
print(ok, err)
print(tasks[4]:state()) -- it was not cancelled
tasks[4]:cancel()

-- The first that is there is enough.
local done, pending = neap.wait(start {
  { "mirror 1", 3600 }, { "mirror 2", 0.01 }, { "mirror 3", 3600 },
}, { return_when = "first_completed" })
print("first: " .. done[1]:result() .. ", and " .. #pending .. " are pending")
for _, task in ipairs(pending) do task:cancel() end
