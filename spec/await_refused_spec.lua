--- Where one may not wait, and what is said there: in C functions, in loop callbacks.

local neap = require "neap"
local helper = require "spec.helper"

local catch, in_task, settle, closing = helper.catch, helper.in_task, helper.settle, helper.closing
local pause = helper.pause

describe("waiting", function()
  describe("inside a C function", function()
    --- The message when `fn` waits in a place that names `by`.
    local function refused(by, fn)
      local err = helper.catch_in_task(fn)
      assert.matches("cannot wait in 'neap.sleep' here: Lua cannot suspend a task inside "
        .. by .. " (do the waiting before that call, or in a task of its own: "
        .. "neap.create_task)", err, 1, true)
      return err
    end

    local texty = setmetatable({}, { __tostring = function() return neap.sleep(0, "x") end })

    local function less(a, b)
      neap.sleep(0)
      return a < b
    end

    it("is refused by table.sort", function()
      local err = refused("'table.sort'", function() table.sort({ 3, 1, 2 }, less) end)
      -- with the place of the wait
      local line = debug.getinfo(less, "S").linedefined + 1
      assert.matches("await_refused_spec.lua:" .. line .. ": cannot wait", err, 1, true)
    end)

    it("is refused by string.gsub", function()
      refused("'string.gsub'", function()
        return (("abc"):gsub(".", function(c) return neap.sleep(0, c) end))
      end)
    end)

    it("is refused by tostring and what asks for a text", function()
      refused("'tostring'", function() return tostring(texty) end)
      refused("'string.format'", function() return ("%s"):format(texty) end)
      refused("'print'", function() print(texty) end)
    end)

    it("is refused by table.concat, load and others", function()
      local list = setmetatable({}, {
        __index = function(_, i) return neap.sleep(0, "x" .. i) end,
        __len = function() return 2 end,
      })
      refused("'table.concat'", function() return table.concat(list) end)
      refused("'table.unpack'", function() return table.unpack(list) end)
      refused("'load'", function()
        local _, err = load(function() return neap.sleep(0, nil) end)
        error(err, 0)
      end)
    end)

    it("is refused by the iterator of ipairs", function()
      local list = setmetatable({}, { __index = function() return neap.sleep(0) end })
      refused("the C function 'for iterator'", function()
        for _ in ipairs(list) do error "not reached" end
      end)
    end)

    it("is refused by coroutine.close", function()
      local err = helper.catch_in_task(function()
        local co = coroutine.create(function()
          local _ <close> = closing(function() neap.sleep(0) end)
          coroutine.yield()
        end)
        coroutine.resume(co)
        local ok, message = coroutine.close(co)
        assert(not ok)
        assert.equal("dead", coroutine.status(co))
        error(message, 0)
      end)
      assert.matches("cannot suspend a task inside '?coroutine%.close'? ", err)
    end)

    it("is refused by a coroutine.wrap that fails", function()
      local err = helper.catch_in_task(function()
        coroutine.wrap(function()
          local _ <close> = closing(function() neap.sleep(0) end)
          error "x"
        end)()
      end)
      assert.matches("cannot suspend a task inside a failing coroutine%.wrap ", err)
    end)

    it("is refused by a finalizer", function()
      local err
      in_task(function()
        setmetatable({}, { __gc = function() err = catch(neap.sleep, 0) end })
        collectgarbage()
        collectgarbage()
      end)
      assert.matches("inside a finalizer", err)
    end)

    it("is refused through coroutines, pcall and functions in between", function()
      refused("'table.sort'", function()
        table.sort({ 3, 1, 2 }, function(a, b)
          coroutine.wrap(function() neap.sleep(0) end)()
          return a < b
        end)
      end)
      refused("'table.sort'", function()
        coroutine.wrap(function() table.sort({ 3, 1, 2 }, less) end)()
      end)
      refused("'string.gsub'", function()
        table.sort({ 3, 1, 2 }, function(a, b)
          ("x"):gsub("x", function()
            local ok, err = pcall(neap.sleep, 0)
            assert(not ok)
            error(err, 0)
          end)
          return a < b
        end)
      end)
    end)

    it("leaves the task able to go on", function()
      assert.equal("on", in_task(function()
        for _ = 1, 5 do
          assert.matches("table.sort", catch(table.sort, { 3, 1, 2 }, less))
          neap.sleep(0)
        end
        return neap.sleep(0, "on")
      end))
    end)

    it("has no effect: nothing was started", function()
      local ran = false
      in_task(function()
        assert.matches("'neap.gather'", catch(table.sort, { 2, 1 }, function()
          neap.gather(function() ran = true end)
        end))
        local lock = neap.Lock()
        lock:acquire()
        assert.matches("'Lock:acquire'", catch(table.sort, { 2, 1 }, function()
          lock:acquire()
        end))
        lock:release()
        assert.is_true(lock:try_acquire())
      end)
      settle()
      assert.is_false(ran)
    end)

    it("is no wait when there is nothing to wait for", function()
      in_task(function()
        local lock, event = neap.Lock(), neap.Event()
        local done = neap.create_task(function() return 1 end)
        done:await()
        event:set()
        local list = { 3, 1, 2 }
        table.sort(list, function(a, b)
          local _ <close> = lock:acquire()
          return event:wait() and a * done:await() < b
        end)
        assert.same({ 1, 2, 3 }, list)
      end)
    end)

    it("simply works at top level", function()
      local list = { 3, 1, 2 }
      table.sort(list, less)
      assert.same({ 1, 2, 3 }, list)
      assert.equal("<a><b>", (("ab"):gsub(".", function(c) return pause("<" .. c .. ">") end)))
      assert.equal("x", tostring(texty))
      assert.equal("x", ("%s"):format(texty))
      for _ in ipairs(setmetatable({}, { __index = function() return pause(nil) end })) do
        error "not reached"
      end
      local co = coroutine.create(function()
        local _ <close> = closing(function() pause() end)
        coroutine.yield()
      end)
      coroutine.resume(co)
      assert.is_true(coroutine.close(co))
      table.sort(list, function(a, b)
        return neap.create_task(function() return pause(a > b) end):await()
      end)
      assert.same({ 3, 2, 1 }, list)
    end)
  end)

  describe("in a loop callback", function()
    it("is refused, with what to do", function()
      local err
      neap.get_event_loop():call_soon(function()
        err = catch(function() coroutine.wrap(function() neap.sleep(0) end)() end)
      end)
      settle()
      assert.matches("cannot wait in 'neap.sleep' inside a loop callback "
        .. "(start a task there: neap.create_task)", err, 1, true)
    end)
  end)
end)
