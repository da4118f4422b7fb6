--- error and assert: Lua's own, but a cancellation that is raised again is not swallowed.

local neap = require "neap"
local helper = require "spec.helper"

local settle = helper.settle

describe("a cancellation that was caught", function()
  --- A cancelled task that catches the cancellation, does `again(ok, err)`, and has a
  --- handler further out that waits. Gives the task and whether that came to its end.
  local function cleaned(again)
    local cleaned_up = false
    local task = neap.create_task(function()
      local _ <close> = setmetatable({}, { __close = function()
        neap.sleep(0)
        neap.sleep(0)
        cleaned_up = true
      end })
      again(pcall(neap.Event().wait, neap.Event()))
    end)
    settle()
    task:cancel()
    settle()
    return task, cleaned_up
  end

  local ways = {
    error = function(_, err) error(err) end,
    ["error without a position"] = function(_, err) error(err, 0) end,
    ["another of its class"] = function() error(neap.CancelledError "again") end,
    ["error in a generator"] = function(_, err)
      coroutine.wrap(function() error(err, 0) end)()
    end,
  }
  for name, again in pairs(ways) do
    it("lets handlers wait when it is raised again: " .. name, function()
      local task, cleaned_up = cleaned(again)
      assert.is_true(cleaned_up)
      assert.equal("cancelled", task:state())
    end)
  end

  it("is raised again at the next wait when it is not, or something else is", function()
    for _, again in ipairs { function() end, function() error "x" end,
      function() error {} end, function() pcall(error, neap.Error "x") end } do
      local task, cleaned_up = cleaned(again)
      assert.is_false(cleaned_up)
      assert.equal("cancelled", task:state())
    end
  end)

  it("counts as swallowed when it is raised again and caught again", function()
    local task, cleaned_up = cleaned(function(_, err) pcall(error, err, 0) end)
    assert.is_false(cleaned_up)
    assert.equal("cancelled", task:state())
  end)

  it("lets handlers wait when assert raises it again #host", function()
    local result = helper.run [[
      local neap = require "neap"
      local task = neap.create_task(function()
        local _ <close> = setmetatable({}, { __close = function()
          neap.sleep(0)
          print "cleaned up"
        end })
        assert(pcall(neap.sleep, 60))
      end)
      neap.sleep(0)
      task:cancel()
      print(pcall(task.await, task))
    ]]
    assert.equal("cleaned up\nfalse\tCancelledError\n", result.out)
    assert.equal(0, result.code)
  end)

  it("may be raised again where nothing was caught", function()
    local err = helper.catch_in_task(function() error(neap.CancelledError "mine") end)
    assert.equal("mine", err.message)
    assert.has_error(function() error("text", 0) end, "text")
  end)
end)
