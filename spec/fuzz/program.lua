--- Random programs of tasks, cancellations, locks, generators, errors and handlers.
---
---     neap spec/fuzz/program.lua FIRST LAST    runs the programs of these seeds
---
--- A program is decided by its seed alone: its time is virtual. It only ever waits for
--- what another task, a deadline or the end of the program brings about, so at its end
--- every task must be done, every lock free, and nothing may be left behind.

local neap = require "neap"
local test = require "neap.test"
local core = require "neap.core.test"
local new_random = require "spec.fuzz.random"

local M = {}

--- What a program may raise. Anything else is a finding.
local EXPECTED = {
  "^fuzz ", ": fuzz ", "cannot resume dead coroutine",
  "cannot resume non%-suspended coroutine", "cannot close a %l+ coroutine",
  "cannot wait in '[^']+' here: Lua cannot suspend", "inside a loop callback",
  "attempt to yield from the body of a task", "attempt to yield from outside",
  "attempt to yield across a C%-call boundary", "a task cannot await itself",
  "C stack overflow", "Lock is not acquired", "has started",
  "TaskGroup <.*> is finished", "TaskGroup <.*> is shutting down",
  "a time%-out needs a task", "a TaskGroup needs a task",
  "is closed by the task that made it",
  "Cannot change state of %l+ Timeout", "invalid order function",
  "cannot notify on un%-acquired lock",
  "cannot wait on un%-acquired lock", "error%(nil%)",
}

local expected
function expected(err)
  if type(err) == "table" and err.fuzz or neap.CancelledError:is(err) then return true end
  if neap.TimeoutError:is(err) or neap.BrokenBarrierError:is(err) then return true end
  if neap.QueueShutDown:is(err) then return true end
  if neap.ExceptionGroup:is(err) then
    for _, one in ipairs(err.errors) do
      if not expected(one) then return false end
    end
    return true
  end
  local text = tostring(err)
  for _, pattern in ipairs(EXPECTED) do
    if text:find(pattern) then return true end
  end
  return false
end

local OPS = {}

local function closing(fn)
  return setmetatable({}, { __close = fn })
end

--- One or more random operations.
local function body(p, depth)
  for _ = 1, p.random(4) do
    if p.budget <= 0 then return end
    p.budget = p.budget - 1
    local op = OPS[p.random(#OPS)]
    p.trace[#p.trace + 1] = op.name
    if depth < 7 or op.flat then op.run(p, depth + 1) end
  end
end

local function op(name, run, weight, flat)
  for _ = 1, weight or 1 do OPS[#OPS + 1] = { name = name, run = run, flat = flat } end
end

local function flat(name, run, weight) op(name, run, weight, true) end

--- Keeps the books: every body that starts must end, in its close handler.
local function counted(p, depth)
  return function()
    p.running = p.running + 1
    local _done <close> = closing(function() p.running = p.running - 1 end)
    body(p, depth)
    return p.random(100)
  end
end

local function spawn(p, depth)
  local task
  if p.random(4) == 1 then
    task = neap.create_task(coroutine.create(counted(p, depth)))
  else
    task = neap.create_task(counted(p, depth))
  end
  p.tasks[#p.tasks + 1] = task
  return task
end

local function any(p, list) return list[p.random(math.max(#list, 1))] end

flat("sleep", function() neap.sleep(0) end, 6)
flat("fail", function(p)
  if p.random(3) == 1 then error { fuzz = true } end
  error("fuzz " .. p.random(9))
end)
flat("fail with nil", function(p) if p.random(4) == 1 then error(nil) end end)
op("spawn", spawn, 3)
op("spawn and wait", function(p, depth) spawn(p, depth):await() end, 2)
flat("wait for any", function(p)
  local task = any(p, p.tasks)
  if task then task:await() end
end)
flat("cancel any", function(p)
  local task = any(p, p.tasks)
  if task then task:cancel(p.random(2) == 1 and "fuzz" or nil) end
end, 2)
flat("cancel itself", function(p)
  local task = neap.current_task()
  if task and p.random(3) == 1 then task:cancel() end
end)
flat("uncancel", function()
  local task = neap.current_task()
  if task then task:uncancel() end
end)
op("lock", function(p, depth)
  local _held <close> = any(p, p.locks):acquire()
  p.held = p.held + 1
  local _count <close> = closing(function() p.held = p.held - 1 end)
  body(p, depth + 2)
end, 3)
op("semaphore", function(p, depth)
  local _held <close> = p.semaphore:acquire()
  body(p, depth + 2)
end, 2)
-- The holder must not wait for tasks: one that takes the lock back after its wait()
-- cannot be cancelled meanwhile.
flat("condition", function(p)
  local _held <close> = p.condition:acquire()
  if p.random(2) == 1 then p.condition:notify(p.random(3)) else p.condition:wait() end
  neap.sleep(0)
  if p.random(4) == 1 then error "fuzz condition" end
end)
flat("event", function(p)
  if p.random(3) == 1 then p.event:set() else p.event:wait() end
  if p.random(3) == 1 then p.event:clear() end
end)
-- The books say how many items must be left in the end.
flat("queue", function(p)
  local queue = any(p, p.queues)
  if p.random(2) == 1 then
    queue:put(p.random(9))
    p.items = p.items + 1
  else
    queue:get()
    p.items = p.items - 1
  end
end, 3)
flat("barrier", function(p)
  local what = p.random(20)
  if what == 1 then p.barrier:abort() elseif what <= 3 then p.barrier:reset() end
  p.barrier:wait()
end)
flat("future", function(p)
  local future = any(p, p.futures)
  local what = p.random(5)
  if what == 1 and not future:done() then
    future:set_result(1, 2)
  elseif what == 2 and not future:done() then
    future:set_exception("fuzz future")
  elseif what == 3 then
    future:cancel()
  else
    if future:done() then
      future = neap.Future()
      p.futures[p.random(#p.futures)] = future
    end
    future:await()
  end
end, 2)
op("pcall", function(p, depth)
  local ok, err = pcall(body, p, depth)
  if not ok and p.random(3) == 1 then error(err, 0) end
end, 4)
op("xpcall", function(p, depth)
  xpcall(body, function(err) return err end, p, depth)
end, 2)
op("close", function(p, depth)
  local _held <close> = closing(function() body(p, depth + 1) end)
  body(p, depth)
end, 3)
op("metamethod", function(p, depth)
  local object = setmetatable({}, {
    __index = function()
      body(p, depth)
      return 1
    end,
    __lt = function()
      body(p, depth)
      return true
    end,
  })
  return object.field, object < object
end)
op("sort", function(p, depth)
  table.sort({ 1, 2 }, function(a, b)
    body(p, depth + 1)
    return a < b
  end)
end)
op("gsub", function(p, depth)
  string.gsub("a", "a", function() body(p, depth + 1) end)
end)

--- A generator yields only where it holds nothing: it may never be continued.
local function generator(p, depth)
  return function()
    for _ = 1, p.random(3) do
      body(p, depth)
      coroutine.yield(1)
    end
  end
end

op("wrap", function(p, depth)
  local g = coroutine.wrap(generator(p, depth))
  for _ = 1, p.random(4) do
    if not g() then break end
  end
end, 4)
op("resume", function(p, depth)
  local co = coroutine.create(generator(p, depth))
  for _ = 1, p.random(4) do
    if not coroutine.resume(co) then break end
  end
  if coroutine.status(co) ~= "normal" then coroutine.close(co) end
end, 3)
op("shared generator", function(p, depth)
  local i = p.random(#p.generators)
  local co = p.generators[i]
  if not co or coroutine.status(co) == "dead" then
    co = coroutine.create(generator(p, depth))
    p.generators[i] = co
  end
  if not coroutine.resume(co) and coroutine.status(co) == "dead" then
    coroutine.close(co)
  end
end, 3)
flat("close shared generator", function(p)
  local co = any(p, p.generators)
  if co then coroutine.close(co) end
end)
op("close at once", function(p, depth)
  local co
  co = coroutine.create(function()
    local _held <close> = closing(function()
      if p.random(3) == 1 then coroutine.resume(co) end
      body(p, depth + 2)
    end)
    coroutine.yield()
  end)
  coroutine.resume(co)
  coroutine.close(co)
end)
op("gather", function(p, depth)
  local list = {}
  for i = 1, p.random(3) do
    list[i] = p.random(3) == 1 and spawn(p, depth + 1) or counted(p, depth + 1)
  end
  neap.gather(list, { return_exceptions = p.random(2) == 1 })
end, 2)
--- A time from now to 40 ms on.
local function soon(p) return (p.random(5) - 1) / 100 end

--- A time of the loop's clock within 40 ms, and no other deadline's: how a sum of times is
--- rounded depends on when the program began.
local function moment(p)
  p.moments = p.moments + 1
  return neap.get_event_loop():time() + soon(p) + 0.0007 + p.moments / 1e6
end

flat("sleep for a while", function(p) neap.sleep(soon(p)) end, 3)
op("timeout", function(p, depth)
  local limit <close> = neap.timeout(p.random(6) > 1 and soon(p) or nil)
  if p.random(4) == 1 then limit:reschedule(moment(p)) end
  p.timeouts[p.random(3)] = limit
  body(p, depth)
end, 4)
op("timeout and pcall", function(p, depth)
  pcall(function()
    local _ <close> = neap.timeout(soon(p))
    body(p, depth)
  end)
end, 2)
flat("reschedule", function(p)
  local limit = any(p, p.timeouts)
  if limit then limit:reschedule(moment(p)) end
end)
op("wait_for", function(p, depth)
  local task = p.random(3) == 1 and any(p, p.tasks)
  if task then
    neap.wait_for(task, soon(p))
  else
    neap.wait_for(counted(p, depth + 1), p.random(6) > 1 and soon(p) or nil)
  end
end, 3)
op("shield", function(p, depth)
  local task = p.random(3) == 1 and any(p, p.tasks)
  if task then
    neap.shield(task)
  else
    neap.shield(counted(p, depth + 1))
  end
end, 2)

--- One to four awaitables, the same one twice now and then.
local function some(p, depth)
  local list = {}
  for i = 1, p.random(4) do
    local what = p.random(4)
    if what == 1 then
      list[i] = spawn(p, depth + 1)
    elseif what == 2 then
      list[i] = any(p, p.tasks) or counted(p, depth + 1)
    elseif what == 3 and list[1] then
      list[i] = list[1]
    else
      list[i] = counted(p, depth + 1)
    end
    if list[i] == neap.current_task() then list[i] = counted(p, depth + 1) end
  end
  return list
end

local MODES = { "all_completed", "first_completed", "first_exception" }
op("wait", function(p, depth)
  local list = some(p, depth)
  local done, pending = neap.wait(list, {
    timeout = p.random(2) == 1 and soon(p) or nil,
    return_when = MODES[p.random(3)],
  })
  for _, future in ipairs(done) do assert(future:done()) end
  for _, future in ipairs(pending) do assert(not future:done()) end
end, 3)
op("as_completed", function(p, depth)
  local opts = { timeout = p.random(3) == 1 and soon(p) or nil }
  for future in neap.as_completed(some(p, depth), opts) do
    assert(future:done())
    if p.random(5) == 1 then break end
  end
end, 2)
op("as_completed, shared", function(p, depth)
  if not p.iterator or p.random(4) == 1 then
    p.iterator = neap.as_completed(some(p, depth))
  end
  p.iterator()
end)
op("group", function(p, depth)
  local group <close> = neap.TaskGroup()
  p.groups[p.random(3)] = group
  for _ = 1, p.random(3) do p.tasks[#p.tasks + 1] = group:create_task(counted(p, depth + 1)) end
  body(p, depth)
end, 4)
op("child of any group", function(p, depth)
  local group = any(p, p.groups)
  if group then p.tasks[#p.tasks + 1] = group:create_task(counted(p, depth + 1)) end
end)
op("group that is not closed", function(p, depth)
  local group = neap.TaskGroup()
  p.kept[#p.kept + 1] = group -- when it is collected must make no difference
  p.tasks[#p.tasks + 1] = group:create_task(counted(p, depth + 2))
end)
op("context", function(p, depth)
  local before = p.var:get()
  local token = p.var:set(before + 1)
  body(p, depth)
  p.var:reset(token)
  assert(p.var:get() == before)
end, 2)
op("neap.pcall", function(p, depth)
  local ok, err = neap.pcall(body, p, depth)
  assert(ok or not neap.CancelledError:is(err))
end, 3)
op("later", function(p, depth)
  p.later = p.later + 1
  neap.get_event_loop():call_later(soon(p), function()
    p.later = p.later - 1
    local ok, err = pcall(body, p, depth + 2)
    if not ok and not expected(err) and err ~= nil then p.finding = p.finding or err end
  end)
end)
op("callback", function(p, depth)
  neap.get_event_loop():call_soon(function()
    p.trace[#p.trace + 1] = "called"
    local ok, err = pcall(body, p, depth + 2)
    if not ok and not expected(err) and err ~= nil then p.finding = p.finding or err end
  end)
end)
flat("done callback", function(p)
  local task = any(p, p.tasks)
  if task then task:add_done_callback(function() p.trace[#p.trace + 1] = "done" end) end
end)
flat("look", function(p)
  local task = any(p, p.tasks)
  if not task then return end
  local _ = tostring(task) .. task:state() .. task:get_name() .. #neap.all_tasks()
  _ = task:traceback()
  local co = p.random(3) == 1 and task:get_coro()
  if co then
    _ = coroutine.status(co) .. debug.traceback(co)
    assert(coroutine.isyieldable(co) == false)
    assert(not coroutine.resume(co))
    assert(not pcall(coroutine.close, co))
  end
end, 2)
flat("running", function() coroutine.running() end)
flat("yield in the body", function(p)
  if p.random(3) == 1 and not coroutine.isyieldable() then coroutine.yield() end
end)
flat("collect", function(p) if p.random(5) == 1 then collectgarbage() end end)
flat("hook", function(p)
  if p.random(4) == 1 then debug.sethook(function() end, "l") else debug.sethook() end
end)

--- Runs the program of a seed. Raises when something is wrong at its end. Gives the
--- list of the operations that were run.
function M.run(seed)
  local p = {
    random = new_random(seed),
    budget = 250,
    trace = {},
    tasks = {},
    running = 0,
    held = 0,
    locks = { neap.Lock(), neap.Lock(), neap.Lock() },
    semaphore = neap.BoundedSemaphore(2),
    condition = neap.Condition(),
    event = neap.Event(),
    barrier = neap.Barrier(3),
    items = 0,
    futures = { neap.Future(), neap.Future() },
    generators = { false, false, false },
    timeouts = {},
    moments = 0,
    kept = {},
    groups = {},
    later = 0, -- callbacks to come
    var = neap.ContextVar("fuzz", 0),
  }
  p.queues = { neap.Queue(2), neap.LifoQueue(1), neap.PriorityQueue(3, function(a, b)
    if p.random(9) == 1 then error "fuzz less" end
    return a < b
  end) }
  local clock <close> = test.clock { autojump = false }
  if seed % 3 == 0 then core.shuffle(seed) end
  local loop = neap.get_event_loop()
  loop:set_exception_handler(function(_, context)
    local err = context.exception
    if err ~= nil and not expected(err) then
      p.finding = p.finding or context.message .. " " .. tostring(err)
    end
  end)
  for _ = 1, 4 do spawn(p, 1) end
  local quiet = 0 -- turns; a callback may still start tasks in the next
  for turn = 1, 2000 do
    neap.sleep(0)
    if turn % 3 == 0 then core.step(core.now() + 5000000) end
    quiet = #neap.all_tasks() == 0 and p.later == 0 and quiet + 1 or 0
    if quiet == 3 then break end
    if turn % 20 == 0 then
      p.event:set()
      p.barrier:abort()
      for i, future in ipairs(p.futures) do
        if not future:done() then future:set_result() end
        p.futures[i] = neap.Future()
      end
      p.barrier:reset()
      for _, queue in ipairs(p.queues) do
        if pcall(queue.get_nowait, queue) then p.items = p.items - 1 end
        if pcall(queue.put_nowait, queue, turn) then p.items = p.items + 1 end
      end
      if p.condition:try_acquire() then
        p.condition:notify_all()
        p.condition:release()
      end
    end
    if turn > 200 and turn % 10 == 0 then
      for _, task in ipairs(neap.all_tasks()) do task:cancel() end
    end
  end
  debug.sethook()
  core.shuffle(nil)
  local function check(right, ...)
    if right then return end
    local words = table.pack(...)
    for i = 1, words.n do words[i] = tostring(words[i]) end
    error(("seed %d: %s"):format(seed, table.concat(words, " ")), 0)
  end
  local left = neap.all_tasks()
  for _, task in ipairs(left) do
    p.left = (p.left or "") .. ("\n%s\n%s"):format(task, task:traceback())
  end
  check(#left == 0, "tasks are left:", p.left)
  for _, task in ipairs(p.tasks) do
    check(task:done(), "not done", task)
    local ok, err = pcall(task.exception, task)
    check(err == nil or expected(err),
      "unexpected", ok, err, task:traceback())
  end
  for i = 1, #p.generators do
    local co = p.generators[i]
    check(not co or coroutine.status(co) ~= "normal", "generator", i, "is still parked")
    p.generators[i] = false
  end
  check(p.held == 0, "count of held locks", p.held)
  for i, lock in ipairs(p.locks) do check(not lock:locked(), "lock", i, "is held") end
  check(not p.condition:locked(), "the condition's lock is held")
  check(p.semaphore:try_acquire() and p.semaphore:try_acquire(), "semaphore is taken")
  check(not p.semaphore:try_acquire(), "semaphore has too much")
  for _, queue in ipairs(p.queues) do
    check(not tostring(queue):find "tters", "somebody waits for", queue)
    while not queue:empty() do
      local ok, err = pcall(queue.get_nowait, queue)
      if ok then p.items = p.items - 1 else check(expected(err), queue, err) end
    end
  end
  check(p.items == 0, "items too many or too few:", p.items)
  p.barrier:reset()
  check(tostring(p.barrier) == "<Barrier filling waiters=0/3>", p.barrier)
  check(p.var:get() == 0, "the context has changed")
  p.tasks, p.futures, p.timeouts, p.groups, p.iterator, p.kept = {}, {}, {}, {}, nil, nil
  collectgarbage()
  collectgarbage()
  neap.sleep(0)
  loop:set_exception_handler(nil)
  local clear = not core.step(core.now() + 100000000000)
  clock:close()
  check(clear, "a deadline is left")
  check(p.finding == nil, "unexpected", p.finding)
  return p.trace
end

if arg and arg[0] and arg[0]:find "fuzz/program.lua$" then
  local findings = 0
  for seed = tonumber(arg[1]) or 1, tonumber(arg[2] or arg[1]) or 100 do
    local ok, err = pcall(M.run, seed)
    if not ok then
      print(err)
      findings = findings + 1
    end
  end
  if findings > 0 then os.exit(1) end
end

return M
