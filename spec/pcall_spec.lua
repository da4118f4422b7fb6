--- neap.pcall and neap.xpcall: what ends a task passes through them.

local neap = require "neap"
local helper = require "spec.helper"

local function gives(...) return ... end

describe("neap.pcall", function()
  it("gives results and errors as Lua's does", function()
    assert.same({ n = 5, true, 1, nil, 3, nil }, table.pack(neap.pcall(gives, 1, nil, 3, nil)))
    assert.same({ n = 1, true }, table.pack(neap.pcall(gives)))
    local err = setmetatable({}, {})
    local ok, caught = neap.pcall(error, err)
    assert.is_false(ok)
    assert.equal(err, caught)
    assert.same({ n = 2, false, nil }, table.pack(neap.pcall(error, nil)))
    assert.same({ pcall(nil) }, { neap.pcall(nil) })
    assert.matches("bad argument #1 to 'pcall' %(value expected%)",
      helper.catch(function() neap.pcall() end))
  end)

  it("catches errors of neap's that end nothing", function()
    for _, class in ipairs { neap.Error, neap.TimeoutError, neap.InvalidStateError } do
      local err = class "x"
      local ok, caught = neap.pcall(error, err)
      assert.is_false(ok)
      assert.equal(err, caught)
    end
  end)

  it("lets a cancellation pass, as it is", function()
    local task = neap.create_task(function()
      neap.pcall(neap.sleep, 3600)
      error "not reached"
    end)
    helper.settle()
    task:cancel "enough"
    local err = helper.catch(task.await, task)
    assert.is_true(task:cancelled())
    assert.equal("enough", err.message)
  end)

  it("lets any instance pass, also through several, with its identity", function()
    for _, class in ipairs { neap.CancelledError, neap.KeyboardInterrupt } do
      local err = class "x"
      local function raise() error(err) end
      assert.equal(err, helper.catch(neap.pcall, neap.pcall, neap.pcall, raise))
      assert.equal(err, helper.catch(neap.pcall, coroutine.wrap(function()
        neap.pcall(raise)
      end)))
    end
    local sub = setmetatable({ name = "Sub", super = neap.CancelledError }, {})
    assert.equal(sub, getmetatable(helper.catch(neap.pcall, error, setmetatable({}, sub))))
  end)

  it("is no place where a cancellation is swallowed", function()
    local raised = 0
    local task = neap.create_task(function()
      local _count <close> = setmetatable({}, { __close = function()
        -- waits: were the cancellation swallowed, this would raise it again
        neap.pcall(neap.sleep, 0)
        raised = raised + 1
      end })
      neap.pcall(neap.pcall, neap.sleep, 3600)
    end)
    helper.settle()
    task:cancel()
    helper.catch(task.await, task)
    assert.equal(1, raised)
    assert.is_true(task:cancelled())
  end)

  it("leaves it to a pcall of Lua's further out to swallow it", function()
    local task = neap.create_task(function()
      local ok = pcall(neap.pcall, neap.sleep, 3600)
      assert(not ok)
      neap.sleep(0) -- raised again
      error "not reached"
    end)
    helper.settle()
    task:cancel()
    helper.catch(task.await, task)
    assert.is_true(task:cancelled())
  end)

  it("marks a cancellation that another error took the place of", function()
    local task = neap.create_task(function()
      local ok, err = neap.pcall(function()
        local _swap <close> = setmetatable({}, { __close = function() error("other", 0) end })
        neap.sleep(3600)
      end)
      assert(not ok and err == "other")
      neap.sleep(0)
      error "not reached"
    end)
    helper.settle()
    task:cancel()
    helper.catch(task.await, task)
    assert.is_true(task:cancelled())
  end)

  it("lets its function wait", function()
    local ok, a, b = helper.in_task(neap.pcall, neap.sleep, 0, "a", "b")
    assert.same({ true, "a", "b" }, { ok, a, b })
    local gen = coroutine.wrap(function()
      coroutine.yield(select(2, neap.pcall(neap.sleep, 0, 1)))
      coroutine.yield(select(2, neap.pcall(coroutine.yield, 2)))
      local _, err = neap.pcall(function()
        neap.sleep(0)
        error("after a wait", 0)
      end)
      coroutine.yield(err)
    end)
    local list = helper.in_task(function() return { gen(), gen(), gen("x"), gen() } end)
    assert.same({ 1, 2, "x", "after a wait" }, list)
  end)

  it("passes a cancellation that comes while it waits in a generator", function()
    local task = neap.create_task(function()
      for _ in coroutine.wrap(function() neap.pcall(neap.sleep, 3600) end) do error "no" end
    end)
    helper.settle()
    task:cancel()
    helper.catch(task.await, task)
    assert.is_true(task:cancelled())
  end)

  it("catches a stack that overflows", function()
    local function deep() return 1 + deep() end
    local ok, err = neap.pcall(deep)
    assert.is_false(ok)
    assert.matches("stack overflow", err)
  end)

  it("keeps the traceback of what passes whole", function()
    local result = helper.run([[
      local neap = require "neap"
      local function fails() error(neap.KeyboardInterrupt "stop") end
      local function inner() neap.pcall(fails) return 1 end
      local function generator() neap.pcall(inner) return 1 end
      local function outer() neap.pcall(coroutine.wrap(generator)) return 1 end
      neap.pcall(outer)
    ]])
    assert.equal(130, result.code)
    local at = 0
    for _, name in ipairs { "main.lua:2: in ", "main.lua:3: in ",
      "main.lua:4: in ", "in a coroutine, resumed at", "main.lua:5: in ",
      "main.lua:6: in main chunk" } do
      at = assert(result.err:find(name, at + 1), name .. " is missing in " .. result.err)
    end
    assert.equal(select(2, result.err:gsub("main.lua:2:", "")), 1)
    assert.equal(select(2, result.err:gsub("main.lua:3:", "")), 1)
  end)

  it("lets os.exit pass", function()
    local result = helper.run([[
      local neap = require "neap"
      neap.create_task(function() neap.pcall(os.exit, 7) print "not reached" end)
      neap.pcall(neap.sleep, 3600)
      print "not reached"
    ]])
    assert.same({ "", 7 }, { result.out, result.code })
  end)

  it("can be called 100,000 times", function()
    local count = 0
    for _ = 1, helper.many(100000) do
      if not neap.pcall(error, "x") then count = count + 1 end
    end
    assert.equal(helper.many(100000), count)
  end)
end)

describe("neap.xpcall", function()
  it("gives results, and what the handler makes of an error", function()
    assert.same({ true, 1, 2 }, { neap.xpcall(gives, debug.traceback, 1, 2) })
    assert.same({ false, "<x>" }, {
      neap.xpcall(error, function(err) return "<" .. err .. ">" end, "x") })
    assert.matches("bad argument #2 to 'xpcall' %(function expected",
      helper.catch(function() neap.xpcall(error) end))
  end)

  it("runs the handler at the place of the error", function()
    local function fails() local here = "found" error(here) end
    local _, seen = neap.xpcall(fails, function()
      for level = 1, 20 do
        local info = debug.getinfo(level, "f")
        if info and info.func == fails then return (select(2, debug.getlocal(level, 1))) end
      end
    end)
    assert.equal("found", seen)
  end)

  it("gives the very traceback that Lua's gives", function()
    local function fails() local x = nil; x() end
    local list = {}
    for _, f in ipairs { xpcall, neap.xpcall } do
      local _, text = f(fails, debug.traceback)
      list[#list + 1] = text:gsub("'neap%.xpcall'", "'xpcall'")
    end
    assert.matches("pcall_spec.lua:%d+: in ", list[1])
    assert.equal(list[1], list[2])
    local err = {}
    assert.equal(err, select(2, neap.xpcall(error, debug.traceback, err)))
  end)

  it("does not show its handler what passes", function()
    local called = 0
    local function handler(err) called = called + 1 return err end
    for _, class in ipairs { neap.CancelledError, neap.KeyboardInterrupt } do
      local err = class "x"
      assert.equal(err, helper.catch(neap.xpcall, error, handler, err))
    end
    local task = neap.create_task(neap.xpcall, neap.sleep, handler, 3600)
    helper.settle()
    task:cancel()
    helper.catch(task.await, task)
    assert.is_true(task:cancelled())
    assert.equal(0, called)
  end)

  it("lets its function wait, and runs the handler after it", function()
    local ok, err = helper.in_task(neap.xpcall, function(a)
      neap.sleep(0)
      error(a, 0)
    end, function(err) return err .. "!" end, "late")
    assert.same({ false, "late!" }, { ok, err })
  end)

  it("says where a handler cannot wait", function()
    local _, err = helper.in_task(neap.xpcall, error, function()
      local _, inner = pcall(neap.sleep, 0)
      return inner
    end, "x")
    assert.matches("cannot wait in 'neap.sleep' here", err)
  end)

  it("ends when its handler fails, as Lua's does", function()
    local function handler(err) error(err, 0) end
    assert.same({ xpcall(error, handler, "x") }, { neap.xpcall(error, handler, "x") })
  end)
end)
