--- Random rounds of threads: loops in them, channels, select, jobs in all directions, thread
--- pools, cancellations, time-outs, and ends at any moment.
---
---     neap spec/fuzz/thread.lua [SECONDS [SEED]]   rounds from this seed on, for so long
---     neap spec/fuzz/thread.lua end SEED           one program that ends somehow, see ENDS
---
--- A seed decides what is done, not when: threads have a time of their own.

local neap = require "neap"
local thread = require "neap.thread"
local new_random = require "spec.fuzz.random"

local SANITIZED, SIGNALS_WAIT -- signals come to ThreadSanitizer's code only in calls
do
  local maps <close> = assert(io.open "/proc/self/maps")
  local text = maps:read "a"
  SANITIZED, SIGNALS_WAIT = text:find "lib[at]san" ~= nil, text:find "libtsan" ~= nil
end

local function check(right, ...)
  if right then return end
  local words = table.pack(...)
  for i = 1, words.n do words[i] = tostring(words[i]) end
  error(table.concat(words, " "), 2)
end

--- What a round may raise.
local function expected(err)
  return type(err) == "table" and err.fuzz
    or neap.CancelledError:is(err) or neap.TimeoutError:is(err)
    or neap.QueueShutDown:is(err) or neap.BrokenExecutor:is(err)
    or tostring(err):find "fuzz %d" ~= nil or tostring(err):find "Event loop is closed" ~= nil
    or tostring(err):find "after shutdown" ~= nil
end

-- ---- values --------------------------------------------------------------------------

--- A value that says which one it is, in many forms.
local function wrap(random, id)
  local kind = random(7)
  if kind == 1 then return id end
  if kind == 2 then return tostring(id) end
  if kind == 3 then return { id = id } end
  if kind == 4 then return function() return id end end
  if kind == 5 then
    return { id = id, text = ("x"):rep(random(3000)), thread.Channel() }
  end
  if kind == 6 then return { buffer = thread.Buffer(tostring(id)) } end
  local value = { list = { { id } } }
  value.self = value
  return value
end

local function unwrap(value)
  if type(value) == "string" then return math.tointeger(tonumber(value)) end
  if type(value) == "function" then return value() end
  if type(value) ~= "table" then return value end
  if value.buffer then return math.tointeger(tonumber(value.buffer:sub(1))) end
  if value.self then return value.list[1][1] end
  return value.id
end

-- ---- producers and consumers ------------------------------------------------------------

--- Sends ids to random channels, some with a time-out. Gives those that were sent, and those
--- whose send was given up: these may have arrived.
local function produce(seed, channels, first, n)
  local random = new_random(seed)
  local sent, given_up = {}, {}
  for id = first, first + n - 1 do
    local channel, value = channels[random(#channels)], wrap(random, id)
    local how = random(8)
    if how == 1 then
      if channel:try_send(value) then sent[#sent + 1] = id end
    elseif how <= 3 then
      local done = false
      local ok, err = pcall(function()
        local _ <close> = neap.timeout(random(30) / 10000)
        channel:send(value)
        done = true
      end)
      if ok then
        sent[#sent + 1] = id
      else
        check(expected(err), "produce:", err)
        check(not done, "a time-out after the send")
        given_up[#given_up + 1] = id
      end
    else
      channel:send(value)
      sent[#sent + 1] = id
    end
    if random(10) == 1 then neap.sleep(0) end
  end
  return sent, given_up
end

--- Takes what comes until all channels are closed and empty. Tasks that are cancelled while
--- they wait take part.
local function consume(seed, channels)
  local random = new_random(seed)
  local got, open = {}, {}
  local function note(value) got[#got + 1] = unwrap(value) end
  local function one()
    if random(2) == 1 then
      local channel = open[random(#open)]
      return channel, channel:recv()
    end
    return thread.select(open, random(2) == 1 and random(20) / 10000 or nil)
  end
  local function step()
    local channel, value
    local ok, err = pcall(function()
      local _ <close> = neap.timeout(random(40) / 10000)
      channel, value = one()
    end)
    if not ok then
      check(expected(err), "consume:", err)
    elseif value ~= nil then
      note(value)
    elseif channel then
      for i, other in ipairs(open) do
        if other == channel then table.remove(open, i); break end
      end
    end
  end
  for i, channel in ipairs(channels) do open[i] = channel end
  while #open > 0 do
    if random(4) == 1 then
      local list = table.move(open, 1, #open, 1, {})
      local task = neap.create_task(function()
        local _, value = thread.select(list)
        if value ~= nil then note(value) end
      end)
      neap.sleep(random(3) == 1 and random(10) / 10000 or 0)
      task:cancel()
      neap.wait { task }
      check(task:cancelled() or task:exception() == nil, "consume:", task)
    else
      step()
    end
  end
  return got
end

-- ---- jobs ------------------------------------------------------------------------------

--- What is sent to another loop: it ends in many ways, perhaps by way of a third one.
local function job(kind, x, loops, jobs)
  if kind == 1 then error("fuzz " .. x) end
  if kind == 2 then neap.sleep(x % 7 / 5000) end
  if kind == 3 then neap.Future():await() end -- until it is cancelled
  if kind == 4 then error { fuzz = x } end
  if kind == 5 and #loops > 0 then
    local loop = table.remove(loops)
    return neap.run_coroutine_threadsafe(jobs.run, loop, x % 6, x, loops, jobs):await()
  end
  if kind == 6 then
    local _ <close> = setmetatable({}, { __close = function() neap.sleep(0) end })
    neap.sleep(x % 5 / 5000)
  end
  return 2 * x, { x }
end

--- Sends n jobs to random loops and cancels some; each has to end, as it should.
local function send_jobs(seed, loops, run, n)
  local random = new_random(seed)
  local futures, kinds, args = {}, {}, {}
  local jobs = { run = run }
  for i = 1, n do
    local list = {}
    for _ = 1, random(3) do list[#list + 1] = loops[random(#loops)] end
    kinds[i], args[i] = random(7), random(1000)
    futures[i] = neap.run_coroutine_threadsafe(run, loops[random(#loops)], kinds[i], args[i],
      list, jobs)
    if random(5) == 1 then neap.sleep(random(3) == 1 and random(10) / 10000 or 0) end
    if random(6) == 1 then futures[random(i)]:cancel() end
  end
  for i, kind in ipairs(kinds) do
    if kind == 3 or kind == 5 then
      neap.sleep(0)
      futures[i]:cancel()
    end
  end
  local _, pending = neap.wait(futures, { timeout = 20 })
  check(next(pending) == nil, "a job does not end")
  local cancelled = 0
  for i, future in ipairs(futures) do
    if future:cancelled() then
      cancelled = cancelled + 1
    elseif future:exception() ~= nil then
      check(expected(future:exception()), "job:", future:exception())
    else
      local double, list = future:result()
      check(double == 2 * args[i] and list[1] == args[i], "job: wrong result", double, args[i])
    end
  end
  return cancelled
end

--- Calls of another loop are made, each once, in order.
local function send_calls(loops, n)
  local replies, where = thread.Channel(), #loops
  for _, loop in ipairs(loops) do
    for i = 1, n do
      loop:call_soon_threadsafe(function(k, to)
        _G.fuzz_calls = _G.fuzz_calls or {}
        local calls = _G.fuzz_calls
        calls[to] = calls[to] or 0
        calls[to] = calls[to] + (calls[to] == k - 1 and 1 or 1e9)
        if k == n then
          to:try_send(calls[to])
          calls[to] = nil
        end
      end, i, replies)
    end
  end
  for _ = 1, where do
    local made = replies:recv()
    check(made == n, "calls:", made, "of", n)
  end
end

--- A pool is used and left, in one way or another.
local function use_pool(seed, n)
  local random = new_random(seed)
  local pool = thread.ThreadPoolExecutor(random(3))
  local futures, x = {}, 0
  local function run(i)
    if i % 3 == 0 then neap.sleep(i % 5 / 10000) end
    if i % 11 == 0 then error "fuzz 0" end
    x = x + 1
    return i
  end
  for i = 1, n do
    futures[i] = pool:submit(run, i)
    if random(6) == 1 then neap.sleep(0) end
    if random(8) == 1 then futures[random(i)]:cancel() end
  end
  local how = random(4)
  if how == 1 then
    pool:shutdown(true)
  elseif how == 2 then
    pool:shutdown(false, { cancel_futures = true })
  elseif how == 3 then
    pool = nil -- luacheck: ignore
    collectgarbage()
  end
  local _, pending = neap.wait(futures, { timeout = 20 })
  check(next(pending) == nil, "a pool's job does not end")
  for i, future in ipairs(futures) do
    if not future:cancelled() then
      local err = future:exception()
      check(err == nil and future:result() == i or expected(err), "pool:", err)
    end
  end
  if how == 4 then
    pool:shutdown()
  end
end

-- ---- what a thread does -------------------------------------------------------------------

--- All of the above at once, in a thread of its own. `parts` has the functions.
local function work(seed, parts, loops, channels)
  local random = parts.new_random(seed)
  local group <close> = neap.TaskGroup()
  for _ = 1, random(2) do
    group:create_task(parts.send_jobs, random(1 << 20), loops, parts.job, random(20))
  end
  if random(2) == 1 then group:create_task(parts.send_calls, loops, random(20)) end
  if random(4) == 1 then group:create_task(parts.use_pool, random(1 << 20), random(20)) end
  if random(3) == 1 then
    group:create_task(function() parts.consume(random(1 << 20), { channels[1] }) end)
  end
end

local PARTS = {
  new_random = new_random, send_jobs = send_jobs, send_calls = send_calls, use_pool = use_pool,
  consume = consume, produce = produce, job = job,
}

-- ---- rounds ----------------------------------------------------------------------------------

--- Does not come to its end, in one way or another.
local function stuck(how)
  local function spin() while true do end end
  if how == 1 then
    while true do pcall(spin) end
  elseif how == 2 then
    while true do pcall(coroutine.wrap(spin)) end
  elseif how == 3 then
    while true do table.concat { tostring {}, ("x"):rep(100) } end
  elseif how == 4 then
    local _ <close> = setmetatable({}, { __close = spin })
    neap.Future():await()
  end
  spin()
end

--- Everything ends in order: each value that was sent is received, once.
local function gentle(seed)
  local random = new_random(seed)
  local channels, loops, threads, futures = {}, {}, {}, {}
  for i = 1, random(3) do
    local kind = random(3)
    channels[i] = thread.Channel(kind == 1 and random(5) or kind == 2 and 0 or nil)
  end
  for i = 1, 2 do loops[i] = assert(thread.start_loop()) end
  loops[3] = neap.get_event_loop()
  local each, sent, maybe, got = 20 * random(4), {}, {}, {}
  local producers, consumers = {}, {}
  for i = 1, 3 do
    local first = i * 1000000
    if random(2) == 1 then
      producers[i] = neap.run_coroutine_threadsafe(produce, loops[random(2)], random(1 << 20),
        channels, first, each)
    else
      threads[#threads + 1] = assert(thread.start(produce, random(1 << 20), channels, first,
        each))
      producers[i] = neap.create_task(threads[#threads].join, threads[#threads])
    end
  end
  for i = 1, random(3) do
    consumers[i] = neap.run_coroutine_threadsafe(consume, loops[random(3)], random(1 << 20),
      channels)
  end
  for i = 1, 2 do
    futures[i] = neap.run_coroutine_threadsafe(work, loops[i], random(1 << 20), PARTS, loops,
      { thread.Channel(1) })
    futures[i]:add_done_callback(function() end)
  end
  send_jobs(random(1 << 20), { loops[1], loops[2] }, job, random(30))
  for i = 1, 3 do
    local one, two = producers[i]:await()
    for _, id in ipairs(one) do sent[id] = true end
    for _, id in ipairs(two) do maybe[id] = true end
  end
  for _, channel in ipairs(channels) do channel:close() end
  for _, consumer in ipairs(consumers) do
    for _, id in ipairs(consumer:await()) do
      check(not got[id], "received twice:", id)
      check(sent[id] or maybe[id], "received, but not sent:", id)
      got[id] = true
    end
  end
  for id in pairs(sent) do check(got[id], "lost:", id) end
  for _, future in ipairs(futures) do -- one may wait for a channel that nobody closes
    future:cancel()
  end
  for i = 1, 2 do
    loops[i]:stop()
    loops[i]:join()
    check(loops[i]:is_closed(), "not closed after join")
  end
  for _, t in ipairs(threads) do check(not t:is_alive(), "alive after join") end
end

--- Threads are stopped while all is under way.
local function rough(seed)
  local random = new_random(seed)
  local channels = { thread.Channel(random(3)), thread.Channel(0), thread.Channel() }
  local loops, futures, threads = {}, {}, {}
  for i = 1, 4 do loops[i] = assert(thread.start_loop()) end
  loops[5] = neap.get_event_loop()
  for i = 1, 8 do
    local run, a, b, c, d = work, random(1 << 20), PARTS, loops, channels
    if i > 6 then
      run, a, b = consume, random(1 << 20), channels
    elseif i > 4 then
      run, a, b, c, d = produce, random(1 << 20), channels, i * 1000, 50
    end
    local ok, future = pcall(neap.run_coroutine_threadsafe, run, loops[random(4)], a, b, c, d)
    check(ok or expected(future), "send:", future)
    if ok then futures[#futures + 1] = future end
    if random(4) == 1 then
      threads[#threads + 1] = assert(thread.start(work, random(1 << 20), PARTS, loops, channels))
    end
    if random(4) == 1 then neap.sleep(random(20) / 10000) end
    if random(6) == 1 then loops[random(4)]:stop() end
    if random(6) == 1 then futures[random(#futures)]:cancel() end
  end
  local hopeless = {}
  if not SIGNALS_WAIT and random(3) == 1 then
    for i = 1, random(3) do hopeless[i] = assert(thread.start(stuck, random(5))) end
    neap.sleep(random(20) / 10000)
  end
  for _, t in ipairs(threads) do
    local how = random(4)
    if how == 1 then t:cancel() end
    if how == 2 then t:stop(10) end
    if how == 3 and not SIGNALS_WAIT then t:stop(random(20) / 1000) end
  end
  for i = 1, 4 do
    loops[i]:stop()
    if random(2) == 1 then loops[i]:join() end
  end
  for _, t in ipairs(hopeless) do
    t:stop(0.01)
    threads[#threads + 1] = t
  end
  for _, t in ipairs(threads) do t:stop(10) end
  for i = 1, 4 do loops[i]:join() end
  for _, t in ipairs(threads) do
    local ok, err = pcall(t.join, t)
    check(ok or expected(err) or neap.ExceptionGroup:is(err), "thread:", err)
  end
  local _, pending = neap.wait(futures, { timeout = 20 })
  check(next(pending) == nil, "a Future does not end")
  for _, future in ipairs(futures) do
    local err = not future:cancelled() and future:exception() or nil
    check(err == nil or expected(err) or neap.ExceptionGroup:is(err), "future:", err)
  end
end

--- The loop ends while all is under way.
local function abrupt(seed)
  local random = new_random(seed)
  local channels, loops = { thread.Channel(1), thread.Channel() }, {}
  for i = 1, 3 do loops[i] = assert(thread.start_loop()) end
  loops[4] = neap.get_event_loop()
  for i = 1, 4 do
    neap.run_coroutine_threadsafe(work, loops[i], random(1 << 20), PARTS, loops, channels)
    thread.start(work, random(1 << 20), PARTS, loops, channels)
    thread.start(use_pool, random(1 << 20), 20)
  end
  neap.create_task(use_pool, random(1 << 20), 30)
  neap.sleep(random(50) / 10000)
end

-- ---- what is left ----------------------------------------------------------------------------

local function count(folder)
  local pipe <close> = assert(io.popen("ls /proc/$PPID/" .. folder .. " | wc -l"))
  return tonumber(pipe:read "l")
end

--- Threads of pools that are garbage end in their own time.
local function settle(folder, before)
  for _ = 1, 1000 do
    if count(folder) <= before then return end
    neap.sleep(0.02)
  end
  check(count(folder) <= before, folder, "has more than before:", count(folder), before)
end

local function resident()
  local file <close> = assert(io.open "/proc/self/statm")
  return tonumber((file:read "l":match "^%d+ (%d+)")) * 4096
end

local ROUNDS = { gentle, gentle, rough, abrupt }

--- Whether a report is of what the round itself has brought about.
local function foreseen(context)
  local text = tostring(context.report or context.exception)
  -- What `job` raises, a table among them, and what comes of loops that end.
  for _, pattern in ipairs {
    "fuzz %d", "table: 0x", "BrokenExecutor", "QueueShutDown", "loop is closed",
  } do
    if text:find(pattern) then return true end
  end
  return expected(context.exception)
end

--- One round. What it gets wrong is an error.
local function round(seed)
  local run, reports = ROUNDS[seed % #ROUNDS + 1], {}
  neap.run(function()
    neap.get_event_loop():set_exception_handler(function(_, context)
      local text = tostring(context.report) -- of threads that were interrupted
      local forced = run == rough and (text:find "was destroyed" or text:find "SystemExit")
      if forced or foreseen(context) then return end
      reports[#reports + 1] = ("%s %s %s"):format(context.message, context.exception,
        context.report)
    end)
    run(seed)
  end)
  check(#reports == 0, "reported:", table.concat(reports, "\n"))
end

-- ---- whole programs --------------------------------------------------------------------------

local ENDS = {
  { "neap.run ends", 0, function() end },
  { "os.exit", 7, function() os.exit(7) end },
  { "os.exit that closes", 8, function() os.exit(8, true) end },
  { "an error", 1, function() error "fuzz" end },
  { "SIGTERM", 143, function()
    io.popen("kill -TERM $PPID"):close()
    neap.sleep(100)
  end },
  { "SIGINT", 130, function()
    io.popen("kill -INT $PPID"):close() -- os.execute ignores it
    neap.sleep(100)
  end },
  { "os.exit in a thread", 9, function()
    thread.start(function() os.exit(9, true) end)
    neap.sleep(100)
  end },
}

--- One that ends while all is under way; in the main chunk, or in neap.run.
local function program(seed)
  local fill = seed // #ENDS % 2 == 0 and abrupt or rough
  local how = ENDS[seed % #ENDS + 1]
  local function main()
    neap.get_event_loop():set_exception_handler(function(_, context)
      local text = tostring(context.report)
      local forced = fill == rough and (text:find "was destroyed" or text:find "SystemExit")
      if forced or foreseen(context) then return end
      io.stderr:write(("unforeseen: %s %s %s %s %s\n"):format(context.message,
        context.exception, context.report, context.task, context.traceback))
    end)
    local task = neap.create_task(fill, seed)
    if fill == rough then neap.sleep(seed % 50 / 1000) else task:await() end
    how[3]()
  end
  if how[2] == 0 or seed // #ENDS % 3 == 0 then neap.run(main) else main() end
end

--- Runs one in a child.
local function run_program(seed)
  local command = ("timeout 60 %s %s end %d 2>&1"):format(arg[-1], arg[0], seed)
  local pipe <close> = assert(io.popen(command))
  local text = pipe:read "a"
  local _, kind, code = pipe:close()
  if kind == "signal" then code = 128 + code end
  local how = ENDS[seed % #ENDS + 1]
  check(code == how[2] and not text:find "unforeseen" and not text:find "Sanitizer",
    how[1], "gave", code, text)
end

-- ---- the main program ------------------------------------------------------------------------

local function main(seconds, seed)
  local last, rounds, programs = os.time() + seconds, 0, 0
  local threads, descriptors, memory
  neap.sleep(0) -- the loop of this chunk, with its descriptors, is there from now on
  while os.time() < last do
    local ok, err = pcall(round, seed)
    if ok and rounds % 10 == 0 then
      ok, err = pcall(run_program, seed)
      programs = programs + 1
    end
    if not ok then
      print(("seed %d: %s"):format(seed, err))
      os.exit(1)
    end
    collectgarbage()
    collectgarbage()
    rounds, seed = rounds + 1, seed + 1
    if rounds == 20 then threads, descriptors = count "task", count "fd" end
    if rounds == 200 then memory = resident() end
  end
  if threads then
    settle("task", threads)
    settle("fd", descriptors)
  end
  if memory and not SANITIZED then
    local grown = resident() - memory
    check(grown < 16e6 + memory / 4, "memory has grown by", grown)
  end
  print(("%d rounds, %d programs"):format(rounds, programs))
end

if arg[1] == "end" then
  program(math.tointeger(tonumber(arg[2])))
else
  main(tonumber(arg[1]) or 3, math.tointeger(tonumber(arg[2])) or 1)
end
