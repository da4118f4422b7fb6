--- ExceptionGroup: several errors in one, and what is shown of them.

local neap = require "neap"
local helper = require "spec.helper"

local catch = helper.catch
local ExceptionGroup = neap.ExceptionGroup

describe("ExceptionGroup", function()
  local reports = helper.reports

  it("is an error with a list of errors", function()
    local list = { "one", {}, neap.Error "three" }
    local err = ExceptionGroup("several", list)
    assert.equal("ExceptionGroup", err.name)
    assert.equal("several", err.message)
    assert.equal(list, err.errors)
    assert.is_true(ExceptionGroup:is(err) and neap.Error:is(err))
    assert.is_false(ExceptionGroup:is(list[3]))
    assert.same({}, ExceptionGroup("none").errors)
    assert.is_nil(ExceptionGroup().message)
    assert.equal(err, catch(error, err))
  end)

  it("refuses errors that are no list", function()
    for _, bad in ipairs { 5, "x", true } do
      assert.matches("bad argument #2 to '.-' %(table expected, got " .. type(bad) .. "%)",
        catch(function() return ExceptionGroup("message", bad) end))
    end
  end)

  describe("as a text", function()
    it("names each on a line of its own", function()
      local object = setmetatable({}, { __tostring = function() return "an object's" end })
      assert.equal("ExceptionGroup: several (4 errors)\n  1: one\n  2: an object's\n"
        .. "  3: TimeoutError: late\n  4: 5",
        tostring(ExceptionGroup("several", { "one", object, neap.TimeoutError "late", 5 })))
      assert.equal("ExceptionGroup: one (1 error)\n  1: x",
        tostring(ExceptionGroup("one", { "x" })))
      assert.equal("ExceptionGroup", tostring(ExceptionGroup()))
      assert.equal("ExceptionGroup: none", tostring(ExceptionGroup "none"))
    end)

    it("indents groups in groups and texts of several lines", function()
      assert.equal("ExceptionGroup: outer (2 errors)\n"
        .. "  1: ExceptionGroup: inner (1 error)\n    1: first\n    second\n  2: x",
        tostring(ExceptionGroup("outer", { ExceptionGroup("inner", { "first\nsecond" }), "x" })))
    end)

    it("copes with errors that have none, or whose __tostring fails or lies", function()
      local fails = setmetatable({}, { __tostring = function() error "no" end })
      local lies = setmetatable({}, { __tostring = function() return {} end })
      local waits = setmetatable({}, { __tostring = function() neap.sleep(0) end })
      local text = helper.in_task(tostring, ExceptionGroup("m", { fails, lies, waits }))
      assert.equal("ExceptionGroup: m (3 errors)\n  1: (error object is a table value)\n"
        .. "  2: (error object is a table value)\n  3: (error object is a table value)", text)
      assert.matches("^ExceptionGroup: m %(1 error%)\n  1: table: 0x",
        tostring(ExceptionGroup("m", { {} })))
    end)

    it("may have lost its fields", function()
      local err = ExceptionGroup("m", { "x" })
      err.errors = nil
      assert.equal("ExceptionGroup: m", tostring(err))
      err.errors = "none"
      assert.equal("ExceptionGroup: m", tostring(err))
    end)

    it("shows some of very many", function()
      local list = {}
      for i = 1, 10000 do list[i] = "e" .. i end
      local text = tostring(ExceptionGroup("many", list))
      assert.matches("^ExceptionGroup: many %(10000 errors%)\n", text)
      assert.matches("\n  20: e20\n  and 9980 more$", text)
    end)

    it("shows some of a tree that is wide and deep", function()
      local err = "leaf"
      for _ = 1, 10 do
        local list = {}
        for i = 1, 20 do list[i] = err end
        err = ExceptionGroup("level", list)
      end
      local text = tostring(err)
      assert.is_true(#text < 10000)
      assert.matches("\n  and 19 more$", text)
      assert.equal(text, tostring(err)) -- what was shown once is not counted twice
    end)

    it("shows the outer ones of a chain that is 50,000 deep", function()
      local err = "leaf"
      for _ = 1, 50000 do err = ExceptionGroup("m", { err }) end
      local text = tostring(err)
      assert.is_true(#text < 1000)
      assert.matches("^ExceptionGroup: m %(1 error%)\n  1: ExceptionGroup: m %(1 error%)\n", text)
    end)

    it("ends for one that is inside itself", function()
      local err = ExceptionGroup("m", {})
      for i = 1, 30 do err.errors[i] = err end
      assert.is_true(#tostring(err) < 10000)
    end)
  end)

  describe("in a report #host", function()
    it("of an error that nobody looked at has what it lists, and where", function()
      local result = helper.run [[
local neap = require "neap"
neap.create_task(function()
  local g <close> = neap.TaskGroup()
  g:create_task(function()
    error("a string", 0)
  end)
  g:create_task(function()
    pcall(neap.sleep, 60)
    error { code = 5 }
  end)
end)
]]
      assert.equal(1, result.code)
      assert.matches("^Task exception was never retrieved\n", result.err)
      assert.matches("\nExceptionGroup: unhandled errors in a TaskGroup %(2 errors%)\n"
        .. "  1: a string\n  2: table: 0x%x+\n", result.err)
      assert.matches("\n  error 1: a string\n.-main.lua:5: in function <main.lua:4>\n", result.err)
      assert.matches("\n  error 2: table: 0x%x+\n.-main.lua:9: in function <main.lua:7>\n",
        result.err)
    end)

    it("of one that the program made shows the errors' own tracebacks", function()
      local result = helper.run [[
local neap = require "neap"
local task = neap.create_task(function() error(neap.TimeoutError "late") end)
local ok, err = pcall(task.await, task)
error(neap.ExceptionGroup("mine", { err, "plain" }))
]]
      assert.equal(1, result.code)
      assert.matches("^neap: ExceptionGroup: mine %(2 errors%)\n  1: TimeoutError: late\n"
        .. "  2: plain\nstack traceback:\n", result.err)
      assert.matches("\n  error 1: TimeoutError: late\n.-main.lua:2: in function <main.lua:2>",
        result.err)
      assert.matches("\n  error 2: plain\n$", result.err)
    end)

    it("of thousands in a tree is short", function()
      local result = helper.run [[
local neap = require "neap"
local g <close> = neap.TaskGroup()
for _ = 1, 30 do
  g:create_task(function()
    local h <close> = neap.TaskGroup()
    for i = 1, 30 do h:create_task(error, "e" .. i) end
  end)
end
]]
      assert.equal(1, result.code)
      local _, lines = result.err:gsub("\n", "")
      assert.is_true(lines > 200 and lines < 600, lines)
    end)

    it("of a chain that is 50,000 deep is short and quick", function()
      local result = helper.run [[
local neap = require "neap"
local function nest(depth)
  local g <close> = neap.TaskGroup()
  g:create_task(depth < 50000 and nest or error, depth + 1)
end
nest(1)
]]
      assert.equal(1, result.code)
      local _, lines = result.err:gsub("\n", "")
      assert.is_true(lines < 100, lines)
    end)
  end)

  it("that nobody looks at is reported once, its errors are not", function()
    neap.create_task(function()
      local g <close> = neap.TaskGroup()
      for i = 1, 3 do g:create_task(error, i) end
    end)
    helper.settle()
    collectgarbage()
    collectgarbage()
    neap.sleep(0)
    local list = reports.take()
    assert.equal(1, #list)
    assert.is_true(ExceptionGroup:is(list[1].exception))
    local errors = table.move(list[1].exception.errors, 1, 3, 1, {})
    table.sort(errors) -- they came in the order in which the tasks ran
    assert.same({ 1, 2, 3 }, errors)
  end)
end)
