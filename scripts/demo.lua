--- Concurrency at a glance: what `make run` shows. Takes about a second.

local neap = require "neap"

local loop = neap.get_event_loop()

local function title(text) print("\n" .. text) end

print("neap " .. neap._VERSION .. ": asyncio for " .. _VERSION)

title "1. Three tasks wait at the same time"
do
  local waiting, most = 0, 0
  local function prepare(what, seconds)
    waiting = waiting + 1
    most = math.max(most, waiting)
    neap.sleep(seconds)
    waiting = waiting - 1
    print(("   %.1f s: %s"):format(seconds, what))
  end
  local start = loop:time()
  neap.gather(
    neap.create_task(prepare, "the tea is ready", 0.3),
    neap.create_task(prepare, "the toast is ready", 0.2),
    neap.create_task(prepare, "the juice is ready", 0.1)
  )
  io.stderr:write(("   together %.1f s, one after another 0.6 s\n"):format(loop:time() - start))
  print(("   %d waited at the same time"):format(most))
end

title "2. Ten thousand tasks sleep for 0.2 s"
do
  local start, awake = loop:time(), 0
  local tasks = {}
  for i = 1, 10000 do
    tasks[i] = neap.create_task(function()
      neap.sleep(0.2)
      awake = awake + 1
    end)
  end
  neap.gather(tasks)
  print(("   %d are awake again after %s"):format(awake,
    loop:time() - start < 20 and "a moment" or "a long time"))
end

title "3. A task is cancelled, and its <close> handler runs"
do
  local task = neap.create_task(function()
    local _file <close> = setmetatable({}, { __close = function() print "   tidied up" end })
    neap.sleep(3600)
  end)
  neap.sleep(0.1)
  task:cancel()
  local _, err = pcall(task.await, task)
  print("   " .. tostring(err))
end

title "4. A generator waits between its values"
do
  local function countdown(from)
    return coroutine.wrap(function()
      for n = from, 1, -1 do
        neap.sleep(0.05)
        coroutine.yield(n)
      end
    end)
  end
  io.write "  "
  for n in countdown(5) do io.write(" ", n) end
  print " lift-off"
end

title "5. An error reaches whoever awaits the task"
do
  local task = neap.create_task(function()
    neap.sleep(0.05)
    error { code = 404, text = "not found" }
  end)
  local _, err = pcall(task.await, task)
  print(("   %d %s"):format(err.code, err.text))
end
