--- require: a module's body and its searchers may wait.

local neap = require "neap"
local helper = require "spec.helper"

local catch, in_task, settle, start = helper.catch, helper.in_task, helper.settle, helper.start

describe("require", function()
  local loads

  before_each(function() loads = {} end)
  after_each(function()
    for name in pairs(package.preload) do
      if name:match "^spec%-" then package.preload[name] = nil end
    end
    for name in pairs(package.loaded) do
      if name:match "^spec%-" then package.loaded[name] = nil end
    end
  end)

  local function module(name, body)
    package.preload[name] = function(...)
      loads[name] = (loads[name] or 0) + 1
      return body(...)
    end
  end

  it("lets a module's body wait", function()
    module("spec-waits", function(name, data)
      neap.sleep(0)
      return { name, data }
    end)
    assert.same({ "spec-waits", ":preload:" }, (in_task(require, "spec-waits")))
    package.loaded["spec-waits"] = nil
    assert.same({ "spec-waits", ":preload:" }, (require "spec-waits"))
    assert.same({ { "spec-waits", ":preload:" } }, { require "spec-waits" })
  end)

  it("lets a searcher wait", function()
    table.insert(package.searchers, 1, function(name)
      neap.sleep(0)
      if name == "spec-found" then return function(_, data) return data end, "data" end
      return "nothing here"
    end)
    local found, extra = in_task(require, "spec-found")
    local err = helper.catch_in_task(require, "spec-missing")
    table.remove(package.searchers, 1)
    assert.same({ "data", "data" }, { found, extra })
    assert.match("module 'spec%-missing' not found:\n\tnothing here\n\tno field", err)
  end)

  it("loads a module once for all who ask at the same time", function()
    module("spec-shared", function()
      neap.sleep(0.001)
      return {}
    end)
    local function get() return (require "spec-shared") end
    local a, b, c = neap.gather(get, coroutine.wrap(get), get)
    assert.equal(a, b)
    assert.equal(a, c)
    assert.equal(1, loads["spec-shared"])
  end)

  it("top level waits for a task's load, and a task for its", function()
    module("spec-shared", function()
      neap.sleep(0.001)
      return {}
    end)
    local task = neap.create_task(require, "spec-shared")
    neap.sleep(0)
    assert.equal(require "spec-shared", (task:await()))
    package.loaded["spec-shared"] = nil
    task = neap.create_task(require, "spec-shared")
    assert.equal(require "spec-shared", (task:await()))
    assert.equal(2, loads["spec-shared"])
  end)

  it("the next in line tries again after a failure", function()
    module("spec-fails", function()
      neap.sleep(0)
      if loads["spec-fails"] == 1 then error("no", 0) end
      return "yes"
    end)
    local first = start(require, "spec-fails")
    local second = start(require, "spec-fails")
    local third = start(require, "spec-fails")
    settle()
    assert.equal("no", first:exception())
    assert.equal("yes", (second:result()))
    assert.equal("yes", (third:result()))
    assert.equal(2, loads["spec-fails"])
  end)

  it("the next in line takes over after a cancellation #clock", function()
    module("spec-slow", function()
      neap.sleep(0.001)
      return "yes"
    end)
    local first = start(require, "spec-slow")
    local second = start(require, "spec-slow")
    local third = start(require, "spec-slow")
    neap.sleep(0)
    first:cancel()
    second:cancel()
    assert.equal("yes", (third:await()))
    assert.is_true(first:cancelled())
    assert.is_true(second:cancelled())
    assert.equal(2, loads["spec-slow"])
  end)

  it("the next in line takes over from a generator that failed or was left", function()
    module("spec-generator", function()
      neap.sleep(0)
      if loads["spec-generator"] == 1 then error("no", 0) end
      if loads["spec-generator"] == 2 then coroutine.yield "left" end
      return "yes"
    end)
    local co = coroutine.create(function() require "spec-generator" end)
    local first = start(coroutine.resume, co)
    local left = start(function()
      return coroutine.wrap(function() require "spec-generator" end)()
    end)
    local last = start(require, "spec-generator")
    settle()
    assert.same({ false, "no" }, { first:result() })
    assert.equal("dead", coroutine.status(co))
    assert.equal("left", left:await())
    collectgarbage()
    collectgarbage()
    assert.equal("yes", (last:await()))
    assert.equal(3, loads["spec-generator"])
  end)

  it("modules that require each other are loaded as in stock Lua", function()
    local function ring(name, other)
      module(name, function()
        neap.sleep(0)
        if loads[name] > 3 then error("a ring", 0) end
        require(other)
        return name
      end)
    end
    ring("spec-a", "spec-b")
    ring("spec-b", "spec-a")
    assert.equal("a ring", helper.catch_in_task(require, "spec-a"))
    loads = {}
    local a = neap.create_task(require, "spec-a")
    local b = neap.create_task(require, "spec-b")
    settle(30)
    assert.is_true(a:done())
    assert.is_true(b:done())
    a:exception()
    b:exception()
  end)

  it("gives stock results and messages", function()
    module("spec-nil", function() end)
    module("spec-false", function() return false end)
    module("spec-sets", function(name) package.loaded[name] = "set" end)
    for _, run in ipairs { function(f, ...) return f(...) end, in_task } do
      for name in pairs(package.loaded) do
        if name:match "^spec%-" then package.loaded[name] = nil end
      end
      assert.same({ true, ":preload:" }, { run(require, "spec-nil") })
      assert.same({ true }, { run(require, "spec-nil") })
      assert.same({ false, ":preload:" }, { run(require, "spec-false") })
      assert.same({ false, ":preload:" }, { run(require, "spec-false") })
      assert.same({ "set", ":preload:" }, { run(require, "spec-sets") })
      assert.match("bad argument #1 to '.-' %(string expected, got table%)",
        catch(run, require, {}))
      assert.match("module 'spec%-none' not found:\n\tno field "
        .. "package.preload%['spec%-none'%]\n\tno file '",
        catch(run, require, "spec-none"))
    end
  end)
end)
