--- Circles of tasks that wait for each other: a cancellation breaks them.

local neap = require "neap"
local helper = require "spec.helper"

local settle = helper.settle

describe("a circle of tasks", function()
  local reports = helper.reports

  --- n tasks, each of which waits for the next by `wait`, the last one for the first.
  local function circle(n, wait)
    local tasks = {}
    for i = 1, n do
      tasks[i] = neap.create_task(function()
        neap.sleep(0)
        return wait(tasks[i % n + 1])
      end)
    end
    settle()
    for i = 1, n do assert.equal("pending", tasks[i]:state()) end
    return tasks
  end

  local function assert_all_end(tasks)
    settle(#tasks + 8)
    for _, task in ipairs(tasks) do assert.equal("cancelled", task:state()) end
  end

  local waits = {
    await = function(task) return task:await() end,
    gather = function(task) return neap.gather(task, task) end,
    wait_for = function(task) return neap.wait_for(task, nil) end,
    ["the end of a group"] = function(task)
      local group <close> = neap.TaskGroup()
      group:create_task(function() task:await() end)
    end,
  }
  for name, wait in pairs(waits) do
    it("ends when one of them is cancelled: " .. name, function()
      local tasks = circle(3, wait)
      tasks[2]:cancel()
      assert_all_end(tasks)
    end)

    it("ends when one that waits for it from outside is cancelled: " .. name, function()
      local tasks = circle(3, wait)
      local outside = neap.create_task(wait, tasks[1])
      settle()
      outside:cancel()
      assert_all_end(tasks)
      settle()
      assert.equal("cancelled", outside:state())
    end)
  end

  it("may be large", function()
    local tasks = circle(helper.many(20000), waits.await)
    tasks[1]:cancel()
    assert_all_end(tasks)
  end)

  it("is no circle where two wait for the same task", function()
    local shared = neap.create_task(neap.sleep, 60)
    local tasks = { shared }
    for _ = 1, 10 do tasks[#tasks + 1] = neap.create_task(waits.await, shared) end
    local all = neap.create_task(neap.gather, tasks)
    settle()
    all:cancel()
    tasks[#tasks + 1] = all
    assert_all_end(tasks)
    assert.equal(11, shared:cancelling())
  end)

  it("ends when it was closed while its groups were being cancelled", function()
    local parent
    parent = neap.create_task(function()
      local group <close> = neap.TaskGroup()
      group:create_task(function()
        local inner <close> = neap.TaskGroup()
        inner:create_task(function()
          pcall(neap.sleep, 60)
          neap.current_task():uncancel()
          parent:await()
        end)
      end)
    end)
    settle()
    parent:cancel()
    settle()
    assert.equal("pending", parent:state())
    assert.equal(3, #neap.all_tasks())
    parent:cancel()
    settle()
    assert.equal("cancelled", parent:state())
    assert.equal(0, #neap.all_tasks())
  end)

  it("ends when a group's block fails while a child waits for its parent", function()
    local parent
    parent = neap.create_task(function()
      local group <close> = neap.TaskGroup()
      group:create_task(function()
        local inner <close> = neap.TaskGroup()
        inner:create_task(function() parent:await() end)
      end)
      neap.sleep(0)
      neap.sleep(0)
      neap.sleep(0)
      error "the block"
    end)
    settle(20)
    local err = parent:exception()
    assert.is_true(neap.ExceptionGroup:is(err))
    assert.matches("the block$", err.errors[1])
    settle()
    assert.equal(0, #neap.all_tasks())
    collectgarbage()
    collectgarbage()
    -- The child's own error, which comes from the parent's, is left to nobody.
    assert.equal(1, #reports.take())
  end)
end)
