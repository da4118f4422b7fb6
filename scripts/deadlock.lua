--- Two cooks take two tools in different order, and each waits for what the other has.
--- Nothing can wake them: instead of hanging, the wait of the main chunk raises an error
--- that says who waits where, for what, and that they wait in a circle.

local neap = require "neap"

local knife, board = neap.Lock(), neap.Lock()

local function cook(name, first, second)
  local _one <close> = first:acquire()
  print(name .. " has the first tool")
  neap.sleep(0.01)
  local _two <close> = second:acquire()
  print(name .. " has both")
end

local ann = neap.create_task(cook, "Ann", knife, board):set_name "Ann"
local bob = neap.create_task(cook, "Bob", board, knife):set_name "Bob"

local function plain(text) return (text:gsub("%S*deadlock.lua:", "deadlock.lua:")) end

local ok, err = pcall(neap.gather, ann, bob)
print(ok, neap.DeadlockError:is(err), #err.tasks, #err.cycle)
print(plain(err.message))

-- The program goes on: both were cancelled with the gather, which set the tools free.
print("the tools are " .. (knife:locked() and "taken" or "free"))

-- What tasks do can be asked at any time: print(neap.all_tasks()), loop:dump(), or
-- `kill -USR1` of a program that runs in the host.
neap.create_task(neap.sleep, 60):set_name "sleeper"
neap.sleep(0)
print((plain(tostring(neap.all_tasks())):gsub("since %S+ m?s", "since a moment")))
neap.all_tasks()[1]:cancel()
