--- The texts of tracebacks and reports, to the letter.

local neap = require "neap"
local helper = require "spec.helper"

local catch, settle = helper.catch, helper.settle

--- A chunk of its own, so that its lines count from 1 and its name is "CHUNK".
local function chunk(text, ...)
  return assert(load(text:gsub("^\n", ""), "=CHUNK"))(...)
end

--- Without what differs from run to run: numbers of tasks, addresses.
local function plain(text)
  return (text:gsub("Task%-%d+", "Task-N"):gsub("0x%x+", "ADDRESS"))
end

describe("task:traceback()", function()
  it("tells where a failed task was", function()
    local task = chunk [[
local neap = require "neap"
local function inner()
  neap.sleep(0)
  error "boom"
end
local function body()
  inner()
  return 1
end
return neap.create_task(body)]]
    assert.equal("CHUNK:4: boom", catch(task.await, task))
    assert.equal([[
stack traceback:
	[C]: in function 'error'
	CHUNK:4: in upvalue 'inner'
	CHUNK:7: in function <CHUNK:6>
  in task 'Task-N', created at CHUNK:10]], plain(task:traceback()))
  end)

  it("shows the frames of generators, from the inside out", function()
    local task = chunk [[
local neap = require "neap"
local function leaf()
  neap.sleep(0)
  error({})
end
local function middle()
  local call = coroutine.wrap(leaf)
  call()
end
local function body()
  local call = coroutine.wrap(middle)
  call()
  return 1
end
return neap.create_task(body):set_name "outer"]]
    catch(task.await, task)
    assert.equal([[
stack traceback:
	[C]: in function 'error'
	CHUNK:4: in function <CHUNK:2>
  in a coroutine, resumed at
	[C]: in local 'call'
	CHUNK:8: in function <CHUNK:6>
  in a coroutine, resumed at
	[C]: in local 'call'
	CHUNK:12: in function <CHUNK:10>
  in task 'outer', created at CHUNK:15]], task:traceback())
  end)

  it("shows those of awaited tasks before the awaiting ones", function()
    local task = chunk [[
local neap = require "neap"
local function third()
  neap.sleep(0)
  error "boom"
end
local function second()
  return (neap.create_task(third):set_name "c":await())
end
local function first()
  local x = neap.gather(neap.create_task(second):set_name "b")
  return x
end
return neap.create_task(first):set_name "a"]]
    catch(task.await, task)
    assert.equal([[
stack traceback:
	[C]: in function 'error'
	CHUNK:4: in function <CHUNK:2>
  in task 'c', created at CHUNK:7
	[C]: in method 'await'
	CHUNK:7: in function <CHUNK:6>
  in task 'b', created at CHUNK:10
	[C]: in function 'neap.gather'
	CHUNK:10: in function <CHUNK:9>
  in task 'a', created at CHUNK:13]], task:traceback())
  end)

  it("mixes generators and tasks", function()
    local task = chunk [[
local neap = require "neap"
local function child()
  neap.sleep(0)
  error(neap.Error "boom")
end
local function generate()
  local task = neap.create_task(child):set_name "child"
  task:await()
end
local function body()
  local call = coroutine.wrap(generate)
  call()
  return 1
end
return neap.create_task(body):set_name "parent"]]
    local err = catch(task.await, task)
    local want = [[
stack traceback:
	[C]: in function 'error'
	CHUNK:4: in function <CHUNK:2>
  in task 'child', created at CHUNK:7
	[C]: in method 'await'
	CHUNK:8: in function <CHUNK:6>
  in a coroutine, resumed at
	[C]: in local 'call'
	CHUNK:12: in function <CHUNK:10>
  in task 'parent', created at CHUNK:15]]
    assert.equal(want, task:traceback())
    assert.equal(want:match "^(.-created at CHUNK:7)\n", err.traceback)
  end)

  it("forgets inner frames of an error that was caught", function()
    local task = chunk [[
local neap = require "neap"
local function fail() error("boom", 0) end
local function body()
  local child = neap.create_task(fail)
  pcall(child.await, child)
  neap.sleep(0)
  error("boom", 0)
end
return neap.create_task(body):set_name "x"]]
    catch(task.await, task)
    assert.equal([[
stack traceback:
	[C]: in function 'error'
	CHUNK:7: in function <CHUNK:3>
  in task 'x', created at CHUNK:9]], task:traceback())
  end)

  it("tells where a waiting task is", function()
    local task = chunk [[
local neap = require "neap"
local function wait()
  neap.sleep(0.001)
  return 1
end
local function body()
  local _, x = pcall(wait)
  return x
end
return neap.create_task(body):set_name "x"]]
    settle(1)
    assert.equal([[
stack traceback:
	[C]: in function 'neap.sleep'
	CHUNK:3: in function <CHUNK:2>
	[C]: in function 'pcall'
	CHUNK:7: in function <CHUNK:6>
  in task 'x', created at CHUNK:10]], task:traceback())
    task:await()
    assert.is_nil(task:traceback())
  end)

  it("tells where a task waits in generators", function()
    local task, event = chunk [[
local neap = require "neap"
local event = neap.Event()
local function leaf()
  event:wait()
  return 1
end
local function middle()
  local _, x = coroutine.resume(coroutine.create(leaf))
  return x
end
local function body()
  local call = coroutine.wrap(middle)
  local x = call()
  return x
end
return neap.create_task(body):set_name "x", event]]
    settle()
    assert.equal([[
stack traceback:
	[C]: in method 'wait'
	CHUNK:4: in function <CHUNK:3>
  in a coroutine, resumed at
	[C]: in function 'coroutine.resume'
	CHUNK:8: in function <CHUNK:7>
  in a coroutine, resumed at
	[C]: in local 'call'
	CHUNK:13: in function <CHUNK:11>
  in task 'x', created at CHUNK:16]], task:traceback())
    event:set()
    task:await()
  end)

  it("of a task that has not started is where it was created", function()
    local task = chunk [[
return require "neap".create_task(function() end):set_name "x"]]
    assert.equal("stack traceback:\n  in task 'x', created at CHUNK:1", task:traceback())
    task:await()
    assert.is_nil(task:traceback())
  end)

  it("knows the place of creation through gather and ensure_future #ordered", function()
    local tasks = chunk [[
local neap = require "neap"
local list = {}
local function body() list[#list + 1] = neap.current_task() end
neap.gather(body,
  body)
neap.ensure_future(body)
neap.get_event_loop():create_task(body)
neap.sleep(0)
return list]]
    local lines = {}
    for i, task in ipairs(tasks) do lines[i] = tostring(task):match "CHUNK:%d+" end
    assert.same({ "CHUNK:4", "CHUNK:4", "CHUNK:6", "CHUNK:7" }, lines)
  end)

  it("is nil for a task that was cancelled", function()
    local task = neap.create_task(neap.sleep, 100)
    settle()
    task:cancel()
    settle()
    assert.is_nil(task:traceback())
  end)
end)

describe("the standard error of the host #host", function()
  local function stderr(script, want, opts)
    local result = helper.run((script:gsub("^\n", "")), opts)
    assert.equal(want, plain(result.err))
    return result
  end

  it("shows the whole chain for an error in the main chunk", function()
    local result = stderr([[
local neap = require "neap"
local function fetch()
  neap.sleep(0)
  error("no route", 0)
end
local function load_page()
  local page = neap.create_task(fetch):await()
  return page
end
local main = neap.create_task(load_page):set_name "loader"
main:await()
]], [[
neap: no route
stack traceback:
	[C]: in function 'error'
	main.lua:4: in function <main.lua:2>
  in task 'Task-N', created at main.lua:7
	[C]: in method 'await'
	main.lua:7: in function <main.lua:6>
  in task 'loader', created at main.lua:10
	[C]: in method 'await'
	main.lua:11: in main chunk
	[C]: in ?
]])
    assert.equal(1, result.code)
  end)

  it("shows it for neap.run", function()
    stderr([[
local neap = require "neap"
local function body()
  neap.sleep(0)
  local t = nil
  return t.x
end
neap.run(body)
]], [[
neap: main.lua:5: attempt to index a nil value (local 't')
stack traceback:
	main.lua:5: in function <main.lua:2>
  in task 'Task-N', created at main.lua:7
	[C]: in function 'neap.run'
	main.lua:7: in main chunk
	[C]: in ?
]])
  end)

  it("has a report for an error that nobody looked at", function()
    stderr([[
local neap = require "neap"
local function generate()
  coroutine.yield(1)
  neap.sleep(0)
  error(neap.TimeoutError "too late")
end
local function body()
  local next_value = coroutine.wrap(generate)
  next_value()
  next_value()
  return 1
end
neap.create_task(body):set_name "reader"
]], [[
Task exception was never retrieved
task: <Task 'reader' failed, created at main.lua:13>
TimeoutError: too late
stack traceback:
	[C]: in function 'error'
	main.lua:5: in function <main.lua:2>
  in a coroutine, resumed at
	[C]: in local 'next_value'
	main.lua:10: in function <main.lua:7>
  in task 'reader', created at main.lua:13
]])
  end)

  it("stays short in a deep chain of tasks, with both ends", function()
    local function deep(n)
      if n == 0 then error "the innermost" end
      neap.create_task(deep, n - 1):await()
    end
    local task = neap.create_task(deep, 1000):set_name "outermost"
    assert.has_error(function() task:await() end)
    local trace = task:traceback()
    assert.is_true(#trace < 10000)
    assert.matches("^stack traceback:\n\t%[C%]: in function 'error'\n", trace)
    assert.matches("\n\t%.%.%.\n", trace)
    assert.matches("\n  in task 'outermost', created at [^\n]+$", trace)
  end)

  it("has one for a future", function()
    stderr([[
local neap = require "neap"
neap.Future():set_exception("lost")
]], [[
Future exception was never retrieved
future: <Future failed>
lost
]])
  end)

  it("has one for a table that has no text", function()
    stderr([[
require "neap".create_task(function() error {} end)
]], [[
Task exception was never retrieved
task: <Task 'Task-N' failed, created at main.lua:1>
table: ADDRESS
stack traceback:
	[C]: in function 'error'
	main.lua:1: in function <main.lua:1>
  in task 'Task-N', created at main.lua:1
]])
  end)

  it("has one for a callback", function()
    stderr([[
local neap = require "neap"
local function callback() error "in callback" end
neap.get_event_loop():call_soon(callback)
]], [[
Exception in callback
handle: <Handle, created at main.lua:3>
main.lua:2: in callback
stack traceback:
	[C]: in function 'error'
	main.lua:2: in function <main.lua:2>
	[C]: in ?
]])
  end)

  it("has one for a pending task of a loop that is closed", function()
    stderr([[
local neap = require "neap"
local loop = neap.new_event_loop()
local function body() neap.sleep(100) end
loop:create_task(body):set_name "sleeper"
loop:run_until_complete(neap.sleep, 0)
loop:close()
]], [[
Task was destroyed but it is pending!
task: <Task 'sleeper' pending, created at main.lua:4, waiting in 'neap.sleep'>
stack traceback:
	[C]: in function 'neap.sleep'
	main.lua:3: in function <main.lua:3>
  in task 'sleeper', created at main.lua:4
]])
  end)

  it("has one for tasks that can never go on", function()
    stderr([[
local neap = require "neap"
local lock = neap.Lock()
lock:acquire()
neap.create_task(function() lock:acquire() end):set_name "first"
neap.create_task(function()
  coroutine.wrap(function() neap.Future():await() end)()
end):set_name "second"
]], [[
The program cannot go on
DeadlockError: nothing can wake these tasks:
  Task-N "first" waits in 'Lock:acquire' at main.lua:4 for <Lock locked> held by the main chunk]]
.. [[ (created at main.lua:4)
  Task-N "second" waits in 'await' at main.lua:6 for <Future pending> (created at main.lua:5)
]])
  end)

  it("has one for a main chunk that can never go on, with the tasks", function()
    stderr([[
local neap = require "neap"
local event = neap.Event()
local task = neap.create_task(function() event:wait() end):set_name "waiter"
task:await()
]], [[
neap: DeadlockError: nothing can wake the main chunk, nor this task:
  the main chunk waits in 'await' at main.lua:4 for Task-N "waiter"
  Task-N "waiter" waits in 'Event:wait' at main.lua:3 for <Event unset> (created at main.lua:3)
stack traceback:
	[C]: in method 'await'
	main.lua:4: in main chunk
	[C]: in ?
]])
  end)

  it("shows plain Lua errors as lua does", function()
    stderr([[
local function f() error "plain" end
f()
]], [[
neap: main.lua:1: plain
stack traceback:
	[C]: in function 'error'
	main.lua:1: in local 'f'
	main.lua:2: in main chunk
	[C]: in ?
]])
  end)
end)
