--- ContextVar: a value for each task and for all that it starts.

local neap = require "neap"
local helper = require "spec.helper"

--- Whether all that `make` passed to its argument could be collected.
local function collected(make)
  local weak = setmetatable({}, { __mode = "k" })
  make(function(value)
    weak[value] = true
    return value
  end)
  assert(next(weak))
  collectgarbage()
  collectgarbage()
  return next(weak) == nil
end

describe("ContextVar", function()
  it("has a value once it is set, or a default", function()
    local var = neap.ContextVar("var", "default")
    assert.equal("default", var:get())
    assert.equal("other", var:get "other")
    var:set "value"
    assert.equal("value", var:get())
    assert.equal("value", var:get "other")
  end)

  it("raises where it has neither", function()
    local var = neap.ContextVar "request"
    assert.matches("context_spec.lua:%d+: ContextVar 'request' has no value here and no default",
      helper.catch(function() var:get() end))
    assert.equal("other", var:get "other")
    var:reset(var:set(1))
    assert.matches("no value", helper.catch(var.get, var))
  end)

  it("takes a nil that is given for a value", function()
    local var = neap.ContextVar("var", nil)
    assert.same({ n = 1 }, table.pack(var:get()))
    assert.same({ n = 1 }, table.pack(neap.ContextVar("none"):get(nil)))
    var = neap.ContextVar("var", "default")
    local token = var:set(nil)
    assert.same({ n = 1 }, table.pack(var:get()))
    assert.is_nil(var:get "other")
    local inner = var:set(false)
    assert.is_false(var:get())
    var:reset(inner)
    assert.is_nil(var:get())
    var:reset(token)
    assert.equal("default", var:get())
  end)

  it("tells its name", function()
    assert.equal("<ContextVar 'request'>", tostring(neap.ContextVar "request"))
    local var = neap.ContextVar "var"
    local token = var:set(1)
    assert.equal("<Token of ContextVar 'var'>", tostring(token))
    var:reset(token)
    assert.equal("<Token used of ContextVar 'var'>", tostring(token))
  end)

  it("is itself and not its name", function()
    local a, b = neap.ContextVar "same", neap.ContextVar "same"
    a:set(1)
    b:set(2)
    assert.equal(1, a:get())
    assert.equal(2, b:get())
  end)

  it("refuses bad arguments", function()
    assert.matches("#1 .*string expected", helper.catch(function() neap.ContextVar() end))
    assert.matches("#1 .*string expected", helper.catch(function() neap.ContextVar(1) end))
    local var = neap.ContextVar "var"
    assert.matches("value expected", helper.catch(function() var:set() end))
    assert.matches("ContextVar expected", helper.catch(var.get, {}))
    assert.matches("ContextVar expected", helper.catch(var.set, neap.Lock(), 1))
    assert.matches("token of ContextVar:set expected", helper.catch(var.reset, var, 1))
    assert.matches("token of ContextVar:set expected", helper.catch(var.reset, var))
    assert.matches("token of ContextVar:set expected", helper.catch(var.reset, var, var))
  end)

  describe("reset", function()
    it("gives back what was before, in any order", function()
      local var = neap.ContextVar("var", 0)
      local one = var:set(1)
      local two = var:set(2)
      var:reset(one)
      assert.equal(0, var:get())
      var:reset(two)
      assert.equal(1, var:get())
    end)

    it("raises for a token that was used", function()
      local var = neap.ContextVar "var"
      local token = var:set(1)
      var:reset(token)
      var:set(2)
      assert.matches("used already", helper.catch(var.reset, var, token))
      assert.equal(2, var:get())
    end)

    it("raises for a token of another variable, which stays good", function()
      local a, b = neap.ContextVar("a", 0), neap.ContextVar("b", 0)
      local token = a:set(1)
      assert.matches("another ContextVar", helper.catch(b.reset, b, token))
      a:reset(token)
      assert.equal(0, a:get())
    end)

    it("raises for a token of another context, which stays good", function()
      local var = neap.ContextVar("var", 0)
      local token = var:set(1)
      assert.matches("another context", helper.catch_in_task(var.reset, var, token))
      local theirs = helper.in_task(var.set, var, 2)
      assert.matches("another context", helper.catch(var.reset, var, theirs))
      assert.equal(1, var:get())
      var:reset(token)
      assert.equal(0, var:get())
    end)

    it("works in a task whose context others have copied since", function()
      local var = neap.ContextVar("var", 0)
      helper.in_task(function()
        local token = var:set(1)
        local child = neap.create_task(var.get, var)
        var:reset(token)
        assert.equal(0, var:get())
        assert.equal(1, child:await())
      end)
    end)
  end)

  describe("in tasks", function()
    local var
    before_each(function() var = neap.ContextVar("var", "default") end)

    it("starts with the values that its creator has then", function()
      var:set "then"
      local task = neap.create_task(var.get, var)
      var:set "later"
      assert.equal("then", task:await())
    end)

    it("is set for that task alone, and for what it starts", function()
      var:set "parent"
      local child = neap.create_task(function()
        var:set "child"
        neap.sleep(0)
        return var:get(), helper.in_task(var.get, var)
      end)
      local sibling = neap.create_task(function()
        neap.sleep(0)
        neap.sleep(0)
        return var:get()
      end)
      assert.same({ "child", "child" }, { child:await() })
      assert.equal("parent", sibling:await())
      assert.equal("parent", var:get())
    end)

    it("is the same across waits, at any depth", function()
      local a, b = neap.gather(function()
        var:set "a"
        neap.sleep(0)
        return (select(2, pcall(var.get, var)))
      end, function()
        var:set "b"
        neap.sleep(0)
        local get = coroutine.wrap(function() return var:get() end)
        return get()
      end)
      assert.same({ "a", "b" }, { a, b })
    end)

    it("is shared with coroutines that the task drives", function()
      helper.in_task(function()
        local step = coroutine.wrap(function()
          var:set "generator"
          coroutine.yield()
          coroutine.yield(var:get())
        end)
        step()
        assert.equal("generator", var:get())
        local token = var:set "task"
        assert.equal("task", step())
        coroutine.wrap(function() var:reset(token) end)()
        assert.equal("generator", var:get())
      end)
    end)

    it("follows a generator to the task that drives it", function()
      local step = coroutine.wrap(function()
        while true do coroutine.yield(var:get()) end
      end)
      for _, name in ipairs { "one", "two" } do
        assert.equal(name, helper.in_task(function()
          var:set(name)
          return step()
        end))
      end
      assert.equal("default", step())
    end)

    it("is copied by all that starts tasks", function()
      local loop = neap.get_event_loop()
      var:set "parent"
      local function get() return var:get() end
      assert.equal("parent", loop:create_task(get):await())
      assert.equal("parent", neap.ensure_future(get):await())
      assert.equal("parent", neap.create_task(coroutine.create(get)):await())
      assert.equal("parent", (neap.gather(get)))
      assert.equal("parent", neap.run(get))
      assert.equal("parent", neap.wait_for(get, 1))
      assert.equal("parent", neap.shield(get))
      for task in neap.as_completed { get } do assert.equal("parent", task:await()) end
      local done = neap.wait { neap.create_task(get) }
      assert.equal("parent", done[1]:result())
      local group <close> = neap.TaskGroup()
      assert.equal("parent", group:create_task(get):await())
      assert.equal("parent", loop:run_until_complete(get))
      assert.equal("parent", neap.run(function()
        return neap.create_task(get):await()
      end))
    end)

    it("of the main chunk are not changed by a run", function()
      var:set "root"
      neap.run(function() var:set "inside" end)
      assert.equal("root", var:get())
    end)

    it("keeps 10,000 apart", function()
      local n = helper.many(10000)
      local list = {}
      var:set "all"
      for i = 1, n do
        list[i] = neap.create_task(function()
          local first = var:get()
          if i % 2 == 0 then var:set(i) end
          neap.sleep(0)
          return first, var:get()
        end)
      end
      for i = 1, n do
        local first, last = list[i]:await()
        assert(first == "all" and last == (i % 2 == 0 and i or "all"))
      end
      assert.equal("all", var:get())
    end)

    it("copies nothing for tasks that only look", function()
      local big = {}
      for i = 1, 200 do
        big[i] = neap.ContextVar("v" .. i)
        big[i]:set(i)
      end
      local n = helper.many(2000)
      local tasks = {}
      for i = 1, n do tasks[i] = neap.create_task(function() return big[7]:get() end) end
      helper.settle()
      collectgarbage()
      local before = collectgarbage "count"
      for i = 1, n do
        tasks[i] = neap.create_task(function()
          neap.sleep(0)
          neap.sleep(0)
          return big[7]:get()
        end)
      end
      neap.sleep(0)
      collectgarbage()
      -- a table of 200 values has 8 KB or more
      assert.is_true((collectgarbage "count" - before) / n < 4)
      for i = 1, n do assert(tasks[i]:await() == 7) end
      for i = 1, 200 do big[i]:reset(big[i]:set(nil)) end
    end)
  end)

  describe("set for the first time", function()
    -- by a host of its own: nothing was set before
    it("works in a task, a callback and a generator", function()
      local result = helper.run([[
        local neap = require "neap"
        local var = neap.ContextVar("var", "default")
        local early = neap.create_task(function()
          neap.sleep(0.01)
          print("early", var:get())
          local token = var:set "early's"
          local child = neap.create_task(function() print("child", var:get()) end)
          print("early", var:get())
          child:await()
          var:reset(token)
          print("early", var:get())
        end)
        neap.get_event_loop():call_soon(function()
          var:set "callback's"
          print("callback", var:get())
          neap.create_task(function() print("its task", var:get()) end)
        end)
        neap.sleep(0)
        print("root", var:get())
        early:await()
        early = nil
        print("root", var:get())
      ]])
      assert.same({ "callback\tcallback's\nroot\tdefault\nits task\tcallback's\n"
        .. "early\tdefault\nearly\tearly's\nchild\tearly's\nearly\tdefault\nroot\tdefault\n",
        "", 0 }, { result.out, result.err, result.code })
    end)
  end)

  describe("in callbacks", function()
    local var, loop
    before_each(function()
      var = neap.ContextVar("var", "default")
      loop = neap.get_event_loop()
    end)

    it("has the values of the time when the callback was added", function()
      local log, add = helper.log()
      local future = neap.Future()
      var:set "added"
      loop:call_soon(function(name) add(name .. var:get()) end, "soon ")
      loop:call_later(0, function() add("later " .. var:get()) end)
      loop:call_at(loop:time(), function() add("at " .. var:get()) end)
      future:add_done_callback(function() add("done " .. var:get()) end)
      var:set "after"
      future:set_result()
      helper.settle()
      table.sort(log)
      assert.same({ "at added", "done added", "later added", "soon added" }, log)
    end)

    it("is a copy: what it sets, only its own tasks see", function()
      local inner
      var:set "outer"
      loop:call_soon(function()
        var:set "inner"
        inner = neap.create_task(var.get, var)
      end)
      local second
      loop:call_soon(function() second = var:get() end)
      helper.settle()
      assert.equal("inner", inner:await())
      assert.equal("outer", second)
      assert.equal("outer", var:get())
    end)

    it("gives done-callbacks the context of who added them, not of who ended it", function()
      local seen
      local task = neap.create_task(function()
        var:set "task"
        neap.sleep(0)
      end)
      helper.in_task(function()
        var:set "adder"
        task:add_done_callback(function() seen = var:get() end)
      end)
      task:await()
      helper.settle()
      assert.equal("adder", seen)
    end)

    it("is still there while a time-out cancels", function()
      local seen
      helper.in_task(function()
        var:set "task"
        local ok = pcall(neap.wait_for, function()
          local _look <close> = setmetatable({}, { __close = function() seen = var:get() end })
          var:set "inside"
          neap.sleep(3600)
        end, 0.001)
        assert.is_false(ok)
        assert.equal("task", var:get())
      end)
      assert.equal("inside", seen)
    end)

    it("resets only its own tokens", function()
      local token = var:set "outer"
      local errors = {}
      loop:call_soon(function()
        errors[1] = helper.catch(var.reset, var, token)
        local own = var:set "inner"
        var:reset(own)
        errors[2] = var:get()
      end)
      helper.settle()
      assert.matches("another context", errors[1])
      assert.equal("outer", errors[2])
    end)

    it("is the root's again after one that failed", function()
      var:set "root"
      loop:set_exception_handler(function() end)
      loop:call_soon(function()
        var:set "callback"
        error "x"
      end)
      helper.settle()
      assert.equal("root", var:get())
      assert.equal("root", helper.in_task(var.get, var))
    end)
  end)

  describe("leaves nothing behind", function()
    it("of tasks that are done, even when somebody keeps them", function()
      local var = neap.ContextVar "var"
      local kept = {}
      assert.is_true(collected(function(note)
        kept[1] = neap.create_task(function() var:set(note {}) end)
        kept[2] = neap.create_task(function()
          var:set(note {})
          neap.sleep(3600)
        end)
        helper.settle()
        kept[2]:cancel()
        helper.settle()
        kept[3] = neap.create_task(function() var:set(note {}) error "x" end)
        helper.catch(kept[3].await, kept[3])
      end))
      assert.equal(3, #kept)
    end)

    it("of a value that was set again or reset", function()
      local var = neap.ContextVar "var"
      assert.is_true(collected(function(note) var:reset(var:set(note {})) end))
      assert.is_true(collected(function(note)
        var:set(note {})
        var:set(1)
      end))
    end)
  end)
end)
