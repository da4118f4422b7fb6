--- Error objects and classes, what an error value is on its way, reports of errors that
--- nobody looked at, exit codes.

local neap = require "neap"
local helper = require "spec.helper"

local catch, settle, in_task = helper.catch, helper.settle, helper.in_task

local classes = {
  "CancelledError", "TimeoutError", "InvalidStateError", "QueueEmpty", "QueueFull",
  "QueueShutDown", "BrokenBarrierError", "IncompleteReadError", "LimitOverrunError",
  "OSError", "DeadlockError", "KeyboardInterrupt", "ExceptionGroup",
}

describe("error classes", function()
  it("make objects with name and message", function()
    for _, name in ipairs { "Error", table.unpack(classes) } do
      local err = neap[name] "what happened"
      assert.equal("table", type(err))
      assert.equal(name, err.name)
      assert.equal("what happened", err.message)
      assert.equal(name .. ": what happened", tostring(err))
      assert.is_nil(err.code)
      assert.is_nil(err.traceback)
    end
  end)

  it("make objects without a message", function()
    local err = neap.TimeoutError()
    assert.is_nil(err.message)
    assert.equal("TimeoutError", tostring(err))
  end)

  it("take any message", function()
    local value = setmetatable({}, { __tostring = function() return "as text" end })
    local err = neap.Error(value)
    assert.equal(value, err.message)
    assert.equal("Error: as text", tostring(err))
    assert.equal("Error: 12", tostring(neap.Error(12)))
    assert.equal("Error: false", tostring(neap.Error(false)))
  end)

  it("show a code", function()
    local err = neap.OSError "connect: refused"
    err.code = "ECONNREFUSED"
    assert.equal("OSError: connect: refused (ECONNREFUSED)", tostring(err))
  end)

  it("know their instances, and those of subclasses", function()
    for _, name in ipairs(classes) do
      local err = neap[name] "x"
      assert.is_true(neap[name]:is(err))
      assert.is_true(neap.Error:is(err))
      for _, other in ipairs(classes) do
        assert.equal(other == name, neap[other]:is(err))
      end
      assert.is_false(neap[name]:is(neap.Error "x"))
    end
  end)

  it("say no to every other value", function()
    local looks_like = { name = "TimeoutError", message = "x" }
    local others = { "TimeoutError: x", 1, true, {}, looks_like, io.stdout, print,
      setmetatable({}, {}), setmetatable({}, { super = 5 }), neap.TimeoutError }
    for _, value in ipairs(others) do
      assert.is_false(neap.TimeoutError:is(value))
      assert.is_false(neap.Error:is(value))
    end
    assert.is_false(neap.Error:is(nil))
  end)

  it("can be named", function()
    assert.equal("class neap.TimeoutError", tostring(neap.TimeoutError))
    assert.equal("TimeoutError", neap.TimeoutError.name)
    assert.equal(neap.Error, neap.TimeoutError.super)
  end)

  it("can be extended", function()
    local HttpError = setmetatable({ name = "HttpError", super = neap.OSError }, {
      __index = neap.Error,
      __call = getmetatable(neap.Error).__call,
    })
    HttpError.__index = HttpError
    HttpError.__tostring = neap.Error.__tostring
    local err = HttpError "404"
    assert.is_true(HttpError:is(err))
    assert.is_true(neap.OSError:is(err))
    assert.is_true(neap.Error:is(err))
    assert.is_false(neap.TimeoutError:is(err))
    assert.equal("HttpError: 404", tostring(err))
  end)

  it("are raised like any value", function()
    local err = neap.Error "x"
    assert.equal(err, catch(error, err))
  end)
end)

describe("an error in a task", function()
  local reports = helper.reports

  it("is the very value for whoever awaits it, in whatever way", function()
    local values = { "text", false, 3, {}, io.stdout, neap.Error "x", print,
      setmetatable({}, { __tostring = function() error "no text" end }) }
    for _, value in ipairs(values) do
      local function fail()
        neap.sleep(0)
        error(value, 0)
      end
      assert.equal(value, helper.catch_in_task(fail))
      assert.equal(value, catch(neap.gather, fail))
      assert.equal(value, neap.gather({ fail }, { return_exceptions = true })[1])
      assert.equal(value, catch(neap.run, fail))
      assert.equal(value, helper.catch_in_task(function()
        local ok, err = coroutine.resume(coroutine.create(in_task), fail)
        assert(not ok)
        error(err, 0)
      end))
    end
  end)

  it("is an Error object where it was nil", function()
    local err = helper.catch_in_task(error)
    assert.is_true(neap.Error:is(err))
    assert.equal("Error", err.name)
    assert.is_truthy(tostring(err):find("nil", 1, true))
  end)

  it("keeps no string in the way, however long", function()
    local text = ("x"):rep(100000) .. "\n\0end"
    assert.equal(text, helper.catch_in_task(error, text, 0))
  end)

  it("gets its traceback when it is an error object, once", function()
    local err = neap.Error "x"
    local function fail()
      neap.sleep(0)
      error(err)
    end
    local task = neap.create_task(fail)
    assert.equal(err, catch(task.await, task))
    assert.equal(task:traceback(), err.traceback)
    local line = debug.getinfo(fail, "S").linedefined + 2
    assert.matches("error_spec.lua:" .. line .. ": in ", err.traceback, 1, true)
    local before = err.traceback
    assert.equal(err, helper.catch_in_task(error, err))
    assert.equal(before, err.traceback)
  end)

  it("is reported with task, value and traceback when nobody looks", function()
    local value = {}
    neap.create_task(function() error(value) end):set_name "careless"
    settle()
    collectgarbage()
    collectgarbage()
    local list = reports.take()
    assert.equal(1, #list)
    local context = list[1]
    assert.equal("Task exception was never retrieved", context.message)
    assert.equal(value, context.exception)
    assert.equal("careless", context.task:get_name())
    assert.equal(context.task, context.future)
    assert.equal(value, context.task:exception())
    assert.matches("in task 'careless', created at .-error_spec.lua:%d+$", context.traceback)
  end)

  it("is not lost when the task that awaited it was cancelled", function()
    local child = neap.create_task(function()
      pcall(neap.sleep, 100)
      error("from the child", 0)
    end)
    local parent = neap.create_task(function() child:await() end)
    settle()
    parent:cancel()
    assert.equal("from the child", catch(parent.await, parent))
  end)

  it("in a handler of xpcall is Lua's own affair", function()
    local ok = in_task(xpcall, error, function() error "again" end, "x")
    assert.is_false(ok)
  end)

  it("out of memory is one too", function()
    local err = helper.catch_in_task(function()
      neap.sleep(0)
      return ("x"):rep(1 << 60)
    end)
    assert.matches("resulting string too large", err)
  end)
end)

describe("the host #host", function()
  local function run(script, opts) return helper.run(script, opts) end

  local function code(script, opts)
    local result = run(script, opts)
    return result.code, result.err
  end

  it("exits with 1 for an error that nobody looked at, and runs to the end", function()
    local result = run [[
      local neap = require "neap"
      neap.create_task(error, "lost", 0)
      neap.sleep(0.001)
      print "goes on"
    ]]
    assert.equal(1, result.code)
    assert.equal("goes on\n", result.out)
    assert.matches("^Task exception was never retrieved\n", result.err)
  end)

  it("exits with 1 also when the task is still referred to at the end", function()
    local n, err = code [[
      local neap = require "neap"
      KEEP = neap.create_task(error, "lost", 0)
    ]]
    assert.equal(1, n)
    assert.matches("lost", err)
  end)

  it("reports each such error once", function()
    local _, err = code [[
      local neap = require "neap"
      for i = 1, 5 do neap.create_task(error, "lost " .. i, 0) end
      neap.sleep(0.001)
      collectgarbage()
      collectgarbage()
    ]]
    for i = 1, 5 do
      assert.equal(2, select(2, err:gsub("lost " .. i, "")) + 1)
    end
    assert.equal(5, select(2, err:gsub("never retrieved", "")))
  end)

  it("exits with 0 when it was looked at, even late", function()
    assert.equal(0, (code [[
      local neap = require "neap"
      local task = neap.create_task(error, "seen", 0)
      neap.sleep(0.001)
      neap.create_task(function()
        neap.sleep(0.001)
        assert(task:exception() == "seen")
      end)
    ]]))
  end)

  it("exits with 0 after a cancellation", function()
    local n, err = code [[
      local neap = require "neap"
      local task = neap.create_task(neap.sleep, 100)
      neap.sleep(0)
      task:cancel()
    ]]
    assert.equal(0, n)
    assert.equal("", err)
  end)

  it("exits with 1 for an error in a callback", function()
    local n, err = code [[
      local neap = require "neap"
      neap.get_event_loop():call_soon(error, "in the callback", 0)
    ]]
    assert.equal(1, n)
    assert.matches("^Exception in callback\n", err)
  end)

  it("exits with 0 when the program's own exception handler took it", function()
    local result = run [[
      local neap = require "neap"
      neap.get_event_loop():set_exception_handler(function(loop, context)
        print(context.message, context.exception)
      end)
      neap.get_event_loop():call_soon(error, "a", 0)
      neap.create_task(error, "b", 0)
    ]]
    assert.equal(0, result.code)
    assert.equal("", result.err)
    assert.equal("Exception in callback\ta\nTask exception was never retrieved\tb\n",
      result.out)
  end)

  it("exits with 1 when that handler passes it on", function()
    local n, err = code [[
      local neap = require "neap"
      neap.get_event_loop():set_exception_handler(function(loop, context)
        loop:default_exception_handler(context)
      end)
      neap.get_event_loop():call_soon(error, "a", 0)
    ]]
    assert.equal(1, n)
    assert.matches("^Exception in callback\n.-\na\n", err)
  end)

  it("shows the error of an exception handler, and what it was about", function()
    local n, err = code [[
      local neap = require "neap"
      neap.get_event_loop():set_exception_handler(function()
        error("worse", 0)
      end)
      neap.get_event_loop():call_soon(error, "bad", 0)
    ]]
    assert.equal(1, n)
    assert.matches("^Unhandled error in exception handler\nworse\n", err)
    assert.matches("\nException in callback\n.-\nbad\n", err)
  end)

  it("exits with 1 when tasks wait for what cannot come", function()
    local n, err = code [[
      local neap = require "neap"
      local event = neap.Event()
      neap.create_task(function() event:wait() end):set_name "stuck"
    ]]
    assert.equal(1, n)
    assert.equal("The program cannot go on\n"
      .. "DeadlockError: nothing can wake this task:\n"
      .. "  Task-1 \"stuck\" waits in 'Event:wait' at main.lua:3 for <Event unset> "
      .. "(created at main.lua:3)\n",
      err)
  end)

  it("exits with 1 for error(nil) and tables in the main chunk and in tasks", function()
    for _, value in ipairs { "nil", "{}", "'x'", "neap.Error 'x'" } do
      local n, err = code("local neap = require 'neap' error(" .. value .. ")")
      assert.equal(1, n)
      assert.matches("^%S*neap: ", err)
      n, err = code("local neap = require 'neap' neap.create_task(error, " .. value .. ")")
      assert.equal(1, n)
      assert.matches("^Task exception was never retrieved\n", err)
    end
  end)

  it("shows where error(nil) was, in tasks and in callbacks", function()
    local result = run [[
      local neap = require "neap"
      neap.create_task(function() error(nil) end)
      neap.get_event_loop():call_soon(function() error(nil) end)
    ]]
    for line = 2, 3 do
      assert.matches("Error: error%(nil%)\nstack traceback:\n\t%[C%]: in function 'error'\n"
        .. "\tmain.lua:" .. line .. ": in function", result.err)
    end
  end)

  it("runs <close> handlers of all tasks, awaiting, when the main chunk fails", function()
    local result = run [[
      local neap = require "neap"
      for i = 1, 3 do
        neap.create_task(function()
          local _ <close> = setmetatable({}, { __close = function()
            neap.sleep(0.001)
            print("closed " .. i)
          end })
          neap.sleep(100)
        end)
      end
      neap.sleep(0)
      error "main"
    ]]
    assert.equal(1, result.code)
    assert.equal("closed 1\nclosed 2\nclosed 3\n", result.out)
    assert.matches("main.lua:12: main\n", result.err)
    assert.is_nil(result.err:find "destroyed")
  end)
end)
