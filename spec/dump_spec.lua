--- The task tree: loop:dump(), the text of neap.all_tasks(), and SIGUSR1 of the host.

local neap = require "neap"
local core = require "neap.core.test"
local helper = require "spec.helper"
local catch, many = helper.catch, helper.many

local function spawn(name, fn, ...) return neap.create_task(fn, ...):set_name(name) end

--- The text with the lines of this file as "here" and without numbers of tasks that
--- have a name.
local function plain(text)
  return (text:gsub("Task%-%d+ \"", "\""):gsub("[^%s<]*dump_spec.lua:%d+", "here"))
end

--- The tree without its first line.
local function tree(list)
  return plain(tostring(list or neap.all_tasks())):match "^[^\n]*\n?(.*)$"
end

describe("the task tree", function()
  local event
  before_each(function()
    core.freeze(true)
    event = neap.Event()
  end)
  after_each(function()
    local left = neap.all_tasks()
    for _, task in ipairs(left) do task:cancel() end
    if left[1] then neap.wait(left) end
    core.thaw()
  end)
  local function wait() event:wait() end

  it("tells of a task what it waits for and since when, where it was made, its stack", function()
    local lock = neap.Lock()
    spawn("holder", function()
      lock:acquire()
      neap.sleep(3600)
    end)
    neap.sleep(1.5)
    spawn("waiter", function() lock:acquire() end)
    neap.sleep(0.25)
    assert.equal([[
"holder", waiting in 'neap.sleep', since 1.8 s
  created at here
    [C]: in function 'neap.sleep'
    here: in function <here>
"waiter", waiting in 'Lock:acquire' for <Lock locked> held by "holder", since 250 ms
  created at here
    [C]: in method 'acquire'
    here: in function <here>]], tree())
  end)

  it("measures what it says in hours, minutes, seconds", function()
    spawn("it", wait)
    for _, case in ipairs {
      { 0, "0 ms" }, { 0.012, "12 ms" }, { 1, "1.0 s" }, { 118, "119.0 s" }, { 600, "12 min" },
      { 36000, "10.2 h" },
    } do
      neap.sleep(case[1])
      assert.matches("since " .. case[2] .. "\n", tree())
    end
  end)

  it("says what is not waiting: running, ready, not started, being cancelled", function()
    local future = neap.Future()
    local text
    spawn("ready", function() future:await() end)
    spawn("cancelled", function()
      local _slow <close> = setmetatable({}, { __close = function() neap.sleep(60) end })
      event:wait()
    end)
    neap.sleep(1)
    neap.all_tasks()[2]:cancel()
    neap.sleep(1)
    local running = spawn("running", function()
      future:set_result()
      neap.create_task(wait):set_name "new"
      text = tree()
    end)
    running:await()
    assert.matches('^"ready", ready\n', text)
    assert.matches('\n"cancelled", waiting in \'neap.sleep\', being cancelled, since 1.0 s\n', text)
    assert.matches('\n"running", running\n  created at here\n    .-here: in upvalue \'tree\'\n',
      text)
    assert.matches('\n  "new", not started yet\n    created at here$', text)
  end)

  it("shows the stacks of generators", function()
    spawn("it", function()
      coroutine.wrap(function() event:wait() end)()
    end)
    neap.sleep(0)
    assert.equal([[
"it", waiting in 'Event:wait' for <Event unset>, since 0 ms
  created at here
    [C]: in method 'wait'
    here: in function <here>
  in a coroutine, resumed at
    [C]: in ?
    here: in function <here>]], (tree():gsub("%[C%]: in function <here>", "[C]: in ?")))
  end)

  it("puts a task below the one that made it, as long as that lasts", function()
    local goes = neap.Event()
    spawn("parent", function()
      spawn("child", function()
        spawn("grandchild", wait)
        wait()
      end)
      goes:wait()
    end)
    spawn("sibling", wait)
    neap.sleep(1)
    local shape = {}
    for indent, name in tree():gmatch "( *)\"(%w+)\"," do shape[#shape + 1] = #indent .. name end
    assert.same({ "0parent", "2child", "4grandchild", "0sibling" }, shape)
    goes:set()
    neap.sleep(1)
    shape = {}
    for indent, name in tree():gmatch "( *)\"(%w+)\"," do shape[#shape + 1] = #indent .. name end
    assert.same({ "0sibling", "0child", "2grandchild" }, shape)
  end)

  it("does not walk off to the right", function()
    local function descend(n)
      if n > 0 then neap.create_task(descend, n - 1) end
      wait()
    end
    local n = many(1000)
    neap.create_task(descend, n)
    for _ = 1, n + 2 do neap.sleep(0) end
    assert.equal(n + 1, #neap.all_tasks())
    local deepest = 0
    for indent in ("\n" .. tree()):gmatch "\n( *)Task" do deepest = math.max(deepest, #indent) end
    assert.is_true(deepest <= 40)
  end)

  it("shows equal ones once and counts the others", function()
    local n = many(10000)
    local function body(i)
      if i == n then neap.sleep(3600) end
      wait()
    end
    for i = 1, n do
      neap.create_task(body, i)
      if i == n - 2 then neap.sleep(2) end
    end
    neap.sleep(1)
    local text = tree()
    assert.is_true(#text < 1000, text)
    assert.matches("^Task%-%d+, waiting in 'Event:wait' for <Event unset>, since 3.0 s\n", text)
    assert.matches("\n  and " .. n - 2 .. " more like this, since 1.0 s to 3.0 s\nTask", text)
    assert.matches("\nTask%-%d+, waiting in 'neap.sleep', since 1.0 s\n", text)
  end)

  it("does not take for equal what was made by another or has children", function()
    local function parent()
      neap.create_task(wait)
      wait()
    end
    local function made(fn) return neap.create_task(fn) end
    made(parent)
    made(parent)
    made(wait)
    made(wait)
    neap.sleep(0)
    neap.sleep(0)
    local _, shown = tree():gsub("Task%-", "")
    assert.equal(5, shown)
    assert.matches("\n  and 1 more like this, since 0 ms$", tree())
  end)

  describe("as the text of neap.all_tasks()", function()
    it("leaves the list a list", function()
      local one, two = neap.create_task(wait), neap.create_task(wait)
      local list = neap.all_tasks()
      assert.equal(2, #list)
      assert.same({ one, two }, { table.unpack(list) })
      local seen = {}
      for i, task in ipairs(list) do seen[i] = task end
      assert.same({ one, two }, seen)
      assert.is_nil(list[3])
      assert.is_nil(list.n)
      table.remove(list, 1)
      table.insert(list, one)
      assert.same({ two, one }, { table.unpack(list) })
    end)

    it("is about those that are in it and not done", function()
      local done = spawn("done", function() end)
      spawn("one", wait)
      spawn("two", wait)
      local list = neap.all_tasks()
      done:await()
      table.remove(list, 2)
      list[3], list[4] = "no task", neap.Future()
      local text = plain(tostring(list))
      assert.matches('^1 task\n"two", waiting', text)
      assert.not_matches("one", text)
      assert.not_matches("done", text)
    end)

    it("is short where there are none", function()
      assert.equal("0 tasks", tostring(neap.all_tasks()))
    end)
  end)

  describe("as loop:dump()", function()
    local loop
    before_each(function() loop = neap.get_event_loop() end)

    it("begins with the loop and the main chunk", function()
      local later = loop:call_later(3600, print)
      local text
      loop:call_soon(function() text = plain(loop:dump()) end)
      spawn("it", wait)
      neap.sleep(1)
      assert.matches("^event loop, running, 1 task, 1 ready, 2 deadlines\n"
        .. "main chunk, waiting in 'neap.sleep', since %d+ ms\n    ", text)
      assert.matches("\n    %[C%]: in function 'neap.sleep'\n    here: in ", text)
      assert.matches('\n"it", not started yet\n  created at here$', text)
      assert.matches("^event loop, idle, 1 task, 1 deadline\nmain chunk, running\n"
        .. "    [^\n]*dump_spec", loop:dump())
      later:cancel()
    end)

    it("is about that loop only #ordered", function()
      local other <close> = neap.new_event_loop()
      spawn("here", wait)
      other:create_task(function() neap.sleep(1) end):set_name "there"
      assert.equal('event loop, idle, 1 task, 1 ready\n"there", not started yet\n  created at here',
        plain(other:dump()))
      assert.not_matches("there", plain(loop:dump()))
      local inner
      other:run_until_complete(function()
        neap.sleep(1)
        inner = neap.get_running_loop():dump()
      end)
      assert.matches("^event loop, running, 1 task\nTask%-%d+, running\n", inner)
    end)

    it("raises for a loop that is closed, and for what is none", function()
      local other = neap.new_event_loop()
      other:close()
      assert.matches("Event loop is closed", catch(other.dump, other))
      assert.matches("event loop expected", catch(loop.dump, {}))
    end)

    it("calls no code of the program's", function()
      local object = setmetatable({}, {
        __tostring = function() error "called" end,
        __name = "object",
      })
      local task = neap.create_task(function(_) wait() end, object)
      neap.sleep(0)
      assert.matches("Task%-%d+, waiting in 'Event:wait'", loop:dump())
      task:cancel()
    end)
  end)

  it("holds back finalizers, which could end its tasks meanwhile", function()
    local other, closed = neap.new_event_loop(), false
    other:set_exception_handler(function() end)
    for i = 1, 3000 do other:create_task(print):set_name("task " .. i) end
    helper.settle()
    local mode = collectgarbage("incremental", 10, 1000) -- always at work
    finally(function() collectgarbage("incremental", 200, 100) collectgarbage(mode) end)
    collectgarbage()
    setmetatable({}, { __gc = function()
      closed = true
      other:close()
    end })
    local text, early = other:dump(), closed
    assert.is_false(early)
    assert.matches("event loop, idle, 3000 tasks, 3000 ready\n", text)
    assert.is_true(collectgarbage "isrunning")
    collectgarbage()
    collectgarbage()
    assert.is_true(closed)
    collectgarbage "stop"
    neap.get_event_loop():dump()
    assert.is_false(collectgarbage "isrunning")
    collectgarbage "restart"
  end)

  it("is right whatever time stands between two looks of the loop", function()
    core.thaw()
    local start = os.clock()
    while os.clock() - start < 0.05 do end
    local loop = neap.get_event_loop()
    local began = loop:time()
    spawn("it", wait)
    neap.sleep(0)
    local text = tree()
    local ms = tonumber(text:match "since (%d+) ms")
    assert.is_true(ms <= (loop:time() - began) * 1000 + 1, text)
    core.freeze(true)
  end)
end)

describe("SIGUSR1 of the host #host", function()
  local function run(script, env)
    return helper.run([[
      local neap = require "neap"
      -- Not os.execute: the C function system() plays with signals while it waits.
      local function kill() io.popen("kill -USR1 $PPID"):close() end
    ]] .. script, { env = env })
  end

  it("shows the tree on stderr while Lua code is busy", function()
    local got = run [[
      neap.create_task(function() neap.sleep(0.01) end):set_name "sleeper"
      neap.create_task(function()
        kill()
        for i = 1, 1000 do i = i + 1 end
      end):set_name "busy"
      neap.sleep(0)
      kill()
      print "on"
    ]]
    assert.equal("on\n", got.out)
    assert.equal(0, got.code)
    local first, second = got.err:match "^(event loop, .*\n)(event loop, .*)$"
    assert.matches('^event loop, running, 2 tasks, 1 ready, 1 deadline\nmain chunk, ready\n', first)
    assert.matches('\nTask%-1 "sleeper", waiting in \'neap.sleep\', since ', first)
    assert.matches('\nTask%-2 "busy", running\n.-main.lua:3: in upvalue \'kill\'', first)
    assert.matches("\nmain chunk, running\n.-main.lua:3: in local 'kill'\n", second)
    assert.not_matches("busy", second)
  end)

  it("shows it in a loop that never waits", function()
    local got = run [[
      local sender = io.popen
        "until [ -e begun ]; do sleep 0.01; done; kill -USR1 $PPID; >sent"
      local turns = 0
      neap.create_task(function() turns = turns + 1 end)
      local function spin()
        io.open("begun", "w"):close()
        repeat
          local file = io.open "sent"
          for i = 1, 1000 do i = i + 1 end
        until file
      end
      spin()
      print(turns)
      neap.sleep(0)
      print(turns)
      sender:close()
    ]]
    assert.equal("0\n1\n", got.out)
    assert.matches("main.lua:%d+: in local 'spin'", got.err)
    local _, times = got.err:gsub("event loop", "")
    assert.equal(1, times)
  end)

  it("shows it while the program waits for events, which then go on", function()
    local got = run [[
      local sender = io.popen
        "until [ -e asleep ]; do sleep 0.01; done; sleep 0.1; kill -USR1 $PPID"
      neap.create_task(function()
        io.open("asleep", "w"):close()
        return neap.sleep(2)
      end):set_name "sleeper"
      local start = neap.get_event_loop():time()
      print(neap.sleep(2, "slept"))
      print(neap.get_event_loop():time() - start >= 2)
      sender:close()
      os.exit(7)
    ]]
    assert.equal("slept\ntrue\n", got.out)
    assert.equal(7, got.code)
    assert.matches("^event loop, running, 1 task, 2 deadlines\n"
      .. "main chunk, waiting in 'neap.sleep', since %d+%.?%d* m?s\n", got.err)
    assert.matches('"sleeper", waiting in', got.err)
  end)

  it("does not disturb a read of io, nor a debug hook of the program's", function()
    local got = run [[
      local lines = 0
      debug.sethook(function() lines = lines + 1 end, "l")
      local sender = io.popen "sleep 0.1; kill -USR1 $PPID; sleep 0.1; echo text"
      print(sender:read "l")
      sender:close()
      local before = lines
      local x = 1
      x = x + 1
      print(lines - before >= 2)
    ]]
    assert.equal("text\ntrue\n", got.out)
    assert.equal(0, got.code)
    assert.matches("^no event loop\nmain chunk, running\n", got.err)
  end)

  it("after the end of the main chunk, and where no loop was needed", function()
    local got = run [[
      kill()
      neap.create_task(function() neap.sleep(0.01) kill() neap.sleep(0) end)
    ]]
    assert.equal(0, got.code)
    assert.matches("^no event loop\nmain chunk, running\n", got.err)
    assert.matches("\nevent loop, running, 1 task\nTask%-1, running\n", got.err)
  end)

  it("is the script's, where that has a handler for it", function()
    local got = run [[
      local event = neap.Event()
      neap.get_event_loop():add_signal_handler("SIGUSR1", function()
        print "mine"
        event:set()
      end)
      local sender = io.popen "sleep 0.05; kill -USR1 $PPID"
      event:wait() -- the handler may end it: no deadlock
      sender:close()
    ]]
    assert.equal("mine\n", got.out)
    assert.equal("", got.err)
    assert.equal(0, got.code)
  end)

  it("is left to a parent that ignores it", function()
    local got = run("kill() print 'on'", "trap '' USR1;")
    assert.equal("on\n", got.out)
    assert.equal("", got.err)
  end)
end)
