--- How a queue ends: shutdown, and the loop over its items.

local neap = require "neap"
local helper = require "spec.helper"
local start = helper.start

local catch, settle = helper.catch, helper.settle

local function is_shut(fn, ...)
  return neap.QueueShutDown:is(catch(fn, ...))
end

describe("a queue that is", function()
  describe("shut down", function()
    it("takes nothing any more", function()
      local queue = neap.Queue(2)
      queue:put(1)
      queue:shutdown()
      assert.is_true(is_shut(queue.put, queue, 2))
      assert.is_true(is_shut(queue.put_nowait, queue, 2))
      assert.equal(1, queue:qsize())
      queue = neap.Queue(1)
      queue:put(1)
      queue:shutdown()
      assert.is_true(is_shut(queue.put, queue, 2)) -- also when it is full
      assert.is_true(is_shut(queue.put_nowait, queue, 2))
    end)

    it("gives out what is left, and then raises", function()
      local queue = neap.Queue()
      for i = 1, 3 do queue:put(i) end
      queue:shutdown()
      assert.same({ 1, 2, 3 }, { queue:get(), queue:get_nowait(), queue:get() })
      assert.is_true(is_shut(queue.get, queue))
      assert.is_true(is_shut(queue.get_nowait, queue))
      queue:shutdown()
      assert.equal("<Queue maxsize=0 items=0 unfinished=3 shutdown>", tostring(queue))
    end)

    it("drops what is left when it is immediate", function()
      local queue = neap.Queue()
      for i = 1, 3 do queue:put(i) end
      queue:get()
      local task = neap.create_task(queue.join, queue)
      settle()
      queue:shutdown(true)
      assert.equal(0, queue:qsize())
      assert.is_true(is_shut(queue.get, queue))
      settle()
      assert.is_false(task:done()) -- the item that was taken is not done
      queue:task_done()
      settle()
      assert.is_true(task:done())
      assert.matches("too many times", catch(queue.task_done, queue))
    end)

    it("may become immediate later", function()
      local queue = neap.Queue()
      queue:put(1)
      local task = neap.create_task(queue.join, queue)
      queue:shutdown()
      settle()
      assert.is_false(task:done())
      queue:shutdown(true)
      settle()
      assert.is_true(task:done())
      assert.is_true(queue:empty())
    end)

    it("wakes all who wait", function()
      for _, immediate in ipairs { false, true } do
        local queue, full = neap.Queue(), neap.Queue(1)
        full:put(0)
        local tasks = {}
        for i = 1, 3 do
          tasks[i] = neap.create_task(queue.get, queue)
          tasks[i + 3] = neap.create_task(full.put, full, i)
        end
        settle()
        queue:shutdown(immediate)
        full:shutdown(immediate)
        settle()
        for i = 1, 6 do assert.is_true(neap.QueueShutDown:is(tasks[i]:exception())) end
        assert.equal(immediate and 0 or 1, full:qsize())
      end
    end)

    it("lets a woken getter have its item, unless it is immediate", function()
      for _, immediate in ipairs { false, true } do
        local queue = neap.Queue()
        local tasks = {}
        for i = 1, 2 do tasks[i] = start(queue.get, queue) end
        settle()
        queue:put "a"
        queue:shutdown(immediate)
        settle()
        if immediate then
          assert.is_true(neap.QueueShutDown:is(tasks[1]:exception()))
        else
          assert.equal("a", tasks[1]:result())
        end
        assert.is_true(neap.QueueShutDown:is(tasks[2]:exception()))
      end
    end)

    it("gives the item of a cancelled getter to the next one all the same #ordered", function()
      local queue = neap.Queue()
      local tasks = {}
      for i = 1, 2 do tasks[i] = neap.create_task(queue.get, queue) end
      settle()
      queue:put "a"
      queue:shutdown()
      tasks[1]:cancel()
      settle()
      assert.is_true(tasks[1]:cancelled())
      assert.equal("a", tasks[2]:result())
    end)

    it("turns away a putter that was just woken", function()
      local queue = neap.Queue(1)
      queue:put(1)
      local task = neap.create_task(queue.put, queue, 2)
      settle()
      assert.equal(1, queue:get())
      queue:shutdown()
      settle()
      assert.is_true(neap.QueueShutDown:is(task:exception()))
      assert.equal(0, queue:qsize())
    end)

    it("wakes who waits in a generator", function()
      local queue = neap.Queue()
      local task = neap.create_task(function()
        return coroutine.wrap(function() return pcall(queue.get, queue, true) end)()
      end)
      settle()
      queue:shutdown()
      local ok, err = task:await()
      assert.is_false(ok)
      assert.is_true(neap.QueueShutDown:is(err))
    end)

    it("cancels well with waiters that it woke", function()
      local queue = neap.Queue()
      local task = neap.create_task(queue.get, queue)
      settle()
      queue:shutdown()
      task:cancel()
      settle()
      assert.is_true(task:cancelled())
    end)

    it("is what the end of a block does", function()
      local got = {}
      local task
      do
        local queue <close> = neap.Queue()
        task = neap.create_task(function()
          for item in queue:iter() do got[#got + 1] = item end
          return "ended"
        end)
        for i = 1, 3 do queue:put(i) end
      end
      assert.equal("ended", task:await())
      assert.same({ 1, 2, 3 }, got)
      local kept
      pcall(function()
        local queue <close> = neap.Queue()
        kept = queue
        queue:put(1)
        error "oops" -- is no `immediate`
      end)
      assert.equal(1, kept:qsize())
    end)
  end)

  describe("iterated", function()
    it("gives what comes until it is shut down and empty", function()
      local queue, got = neap.Queue(2), {}
      neap.gather(function()
        for item in queue:iter() do got[#got + 1] = item end
      end, function()
        for i = 1, 5 do queue:put(i) end
        queue:shutdown()
      end)
      assert.same({ 1, 2, 3, 4, 5 }, got)
    end)

    it("takes false for an item", function()
      local queue, got = neap.Queue(), {}
      queue:put(false)
      queue:put(1)
      queue:shutdown()
      for item in queue:iter() do got[#got + 1] = item end
      assert.same({ false, 1 }, got)
    end)

    it("refuses a nil item, and leaves it there", function()
      for _, new in ipairs { neap.Queue, neap.LifoQueue } do
        local queue = new()
        queue:put(nil)
        local next_item = queue:iter()
        assert.matches("nil item", catch(next_item))
        assert.equal(1, queue:qsize())
        assert.is_nil(queue:get())
        -- The same when it had to wait; the item goes to the next in line.
        local task = start(next_item)
        local other = start(queue.get, queue)
        settle()
        queue:put(nil)
        settle()
        assert.matches("nil item", task:exception())
        assert.is_true(other:done())
        assert.equal(0, queue:qsize())
      end
    end)

    it("can be cancelled", function()
      local queue = neap.Queue()
      local task = neap.create_task(function()
        for _ in queue:iter() do error "not here" end
      end)
      settle()
      assert.matches("Queue:iter", tostring(task))
      task:cancel()
      settle()
      assert.is_true(task:cancelled())
    end)
  end)
end)
