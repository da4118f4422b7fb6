--- Generators are Lua's own coroutines. One that runs in a task may wait between its
--- values; whoever loops over it notices nothing, and other tasks go on meanwhile.

local neap = require "neap"

--- The lines of a slow source, one at a time.
local function slow_lines(...)
  local lines = table.pack(...)
  return coroutine.wrap(function()
    for i = 1, lines.n do
      neap.sleep(0.05) -- suspends the task that loops, not the program
      coroutine.yield(i, lines[i]) -- gives a value to its loop
    end
  end)
end

local function reader(name, ...)
  for number, line in slow_lines(...) do
    print(("%s, line %d: %s"):format(name, number, line))
  end
end

neap.gather(
  neap.create_task(reader, "poem", "The tide comes in,", "the tide goes out."),
  neap.create_task(reader, "list", "bread", "butter", "salt")
)
