--- Process pools: the parent's side.
---
--- A worker is a process with a socket as its standard input. It has one job at a time, and
--- a task here serves it as long as that lasts: sends the job and reads until the answer.
--- Idle workers have no task, so they neither cost anything nor keep the program running;
--- that one of them has died shows when it gets its next job, which another one gets then.

local neap = require "neap"
local core = require "neap.core.worker"
local fail = require "neap.core.thread".fail
local packet = require "neap.core.packet"
local child = require "neap.thread.process_child"
local executor = require "neap.thread.executor"
local frame = require "neap.thread.frame"
local receiver = require "neap.receiver"
local shipping = require "neap.thread.shipping"

local NAME = "neap.thread.ProcessPoolExecutor"
local STARTS = 3     -- workers that may end one after the other before they are ready
local MOVES = 3      -- workers that may end before they begin with a job
local PATIENCE = 1   -- seconds that a cancelled job gets when the block has failed

local SPEC = { workers = "count", command = "table" }

local Pool = { __name = NAME }
Pool.__index = Pool

-- ---- the queue -----------------------------------------------------------------------

local function is_wanted(job) return not job.future:done() end

local function push(pool, job)
  pool._last = pool._last + 1
  pool._queue[pool._last] = job
end

--- Before all others: it was on its way already.
local function push_front(pool, job)
  pool._first = pool._first - 1
  pool._queue[pool._first] = job
end

--- The next job that somebody still wants, or nil; it stays where it is.
local function peek(pool)
  while pool._first <= pool._last do
    local job = pool._queue[pool._first]
    if is_wanted(job) then return job end
    pool._queue[pool._first] = nil
    pool._first = pool._first + 1
  end
  pool._first, pool._last = 1, 0
  return nil
end

local function pop(pool)
  local job = peek(pool)
  if job then
    pool._queue[pool._first] = nil
    pool._first = pool._first + 1
  end
  return job
end

local function fail_job(job, err, traceback)
  if is_wanted(job) then fail(job.future, err, traceback) end
end

--- No worker can be had.
local function fail_all(pool, err)
  for job in pop, pool do fail_job(job, err) end
end

local function tell_of_cancel(worker, id, message)
  if not worker.stream:is_closed() then frame.write(worker.stream, frame.CANCEL, id, message) end
end

--- A future is done, by us or because it was cancelled.
local function settle(pool, future)
  local job = pool._jobs[future]
  if not job then return end -- of a loop that is closed
  pool._jobs[future] = nil
  pool._njobs = pool._njobs - 1
  job.arguments = nil
  local worker = job.worker
  if not (worker and job.sent and future:cancelled()) then return end
  local _, err = pcall(future.result, future)
  local message = type(err) == "table" and type(err.message) == "string" and err.message or nil
  neap.create_task(tell_of_cancel, worker, string.pack("<I8", job.id),
    packet.pack_as("message:", message))
end

-- ---- workers -------------------------------------------------------------------------

local pump

local function remove(pool, worker)
  if pool._workers[worker] then
    pool._workers[worker] = nil
    pool._nworkers = pool._nworkers - 1
  end
end

--- Wakes who waits in shutdown for the last job.
local function check_done(pool)
  if pool._done and pool._nworkers == 0 and not peek(pool) then pool._done:set() end
end

--- It has nothing to do and is not needed any more: it ends when it sees that.
local function retire(pool, worker)
  remove(pool, worker)
  worker.stream:close()
  pool._leaving[worker] = true
end

local function broken(message, cause)
  local err = neap.BrokenExecutor(message)
  err.cause = cause
  return err
end

--- The worker is gone. What it ran is lost, what it had not begun with goes elsewhere.
local function lost(pool, worker, why)
  local job = worker.job
  remove(pool, worker)
  worker.stream:close()
  local how = child.how_it_ended(worker)
  worker.job, job.worker = nil, nil
  if type(why) == "string" then how = ("sent %s, and %s"):format(why, how) end
  if job.started then
    fail_job(job, broken(("worker process %d %s while it ran this job")
      :format(worker.process.pid, how)))
  elseif not worker.ready then
    pool._failed = pool._failed + 1
    job.sent = false
    push_front(pool, job)
    if pool._failed >= STARTS then
      pool._failed = 0
      fail_all(pool, broken(("worker processes end before they are ready: '%s' %s "
        .. "(is it a neap or a lua5.4 that finds neap? see option 'command')")
        :format(worker.program, how)))
    end
  else
    job.moves = job.moves + 1
    job.sent = false
    if job.moves < MOVES then
      push_front(pool, job)
    else
      fail_job(job, broken(("%d worker processes ended before they began with this job; "
        .. "the last one %s"):format(MOVES, how)))
    end
  end
  pump(pool)
end

--- No process could be started for it.
local function not_started(pool, worker, err)
  local job = worker.job
  remove(pool, worker)
  worker.job, job.worker = nil, nil
  push_front(pool, job)
  if pool._nworkers > 0 then return end -- one of the others will take it
  fail_all(pool, neap.BrokenExecutor:is(err) and err
    or broken(("a worker process cannot be started: %s"):format(err), err))
end

local function send_job(pool, worker, job)
  local shipped, stream = job.fn, worker.stream
  local arguments = job.arguments -- the job may be cancelled while this waits
  local dropped, code = pool._shipping:for_worker(worker, shipped)
  if dropped then frame.write(stream, frame.DROP, dropped) end
  job.sent = true
  frame.write(stream, frame.JOB, string.pack("<I8I8", job.id, shipped.number), code)
  frame.write(stream, frame.ARGUMENTS, arguments)
end

--- The answer to a job, as its Future's outcome.
local function answer(job, kind, bytes)
  if not is_wanted(job) then return end
  local future = job.future
  local ok, err = pcall(function()
    if kind == frame.RETURNED then
      future:set_result(packet.unpack(bytes))
    elseif kind == frame.RAISED then
      fail(future, packet.unpack(bytes))
    else
      future:cancel((packet.unpack(bytes)))
    end
  end)
  if not ok then fail_job(job, err) end
end

--- Reads until the job of the worker is answered. false, why: it will not be.
local function await_answer(pool, worker)
  local job = worker.job
  while true do
    local kind, body = frame.read(worker.stream)
    if kind == nil then
      return false, body
    elseif kind == frame.READY and body == string.char(frame.VERSION) then
      worker.ready, pool._failed = true, 0
    elseif not worker.ready then
      return false, "what no worker of this version sends"
    elseif kind == frame.STARTED and body == string.pack("<I8", job.id) then
      job.started, job.arguments = true, nil
    elseif kind == frame.RETURNED or kind == frame.RAISED or kind == frame.CANCELLED then
      answer(job, kind, body)
      return true
    else
      return false, "what nobody has asked for"
    end
  end
end

--- The task of a worker that has a job.
local function serve(pool, worker)
  local _abandon <close> = worker.guard
  if not worker.process then
    local ok, err = child.start(worker, pool._command)
    if not ok then return not_started(pool, worker, err) end
  end
  repeat
    local job = worker.job
    if is_wanted(job) then
      send_job(pool, worker, job)
      local ok, why = await_answer(pool, worker)
      if not ok then return lost(pool, worker, why) end
    end
    job.worker = nil
    worker.job = pop(pool)
    if worker.job then worker.job.worker = worker end
  until not worker.job
  if pool._shut then
    retire(pool, worker)
    check_done(pool)
  else
    pool._idle[#pool._idle + 1] = worker
  end
end

--- The task that serves it has failed: it was cancelled, as at the end of a loop. Waits.
local function abandon(pool, worker, err)
  remove(pool, worker)
  local job = worker.job
  if job then
    job.worker = nil
    if neap.CancelledError:is(err) then
      job.future:cancel()
    else
      fail_job(job, err)
    end
  end
  for queued in pop, pool do queued.future:cancel() end
  check_done(pool)
  if worker.stream then
    worker.stream:close()
    worker.process:close()
  end
end

local function new_worker(pool)
  local worker = {}
  pool._shipping:add_worker(worker)
  worker.guard = setmetatable({}, { __close = function(_, err)
    if err ~= nil then abandon(pool, worker, err) end
  end })
  pool._workers[worker] = true
  pool._nworkers = pool._nworkers + 1
  return worker
end

local function take_idle(pool)
  while true do
    local worker = table.remove(pool._idle)
    if not worker or worker.process:is_running() then return worker end
    remove(pool, worker)
    worker.stream:close()
  end
end

--- Gives jobs to workers, as long as there are both.
function pump(pool)
  while peek(pool) do
    local worker = take_idle(pool)
    if not worker then
      if pool._nworkers >= pool._size then return end
      worker = new_worker(pool)
    end
    local job = pop(pool)
    worker.job, job.worker = job, worker
    neap.create_task(serve, pool, worker):set_name(NAME)
  end
  check_done(pool)
end

-- ---- the executor ----------------------------------------------------------------------

--- Nothing is running and nothing waits.
local function reset(pool, loop)
  pool._loop = loop
  pool._workers, pool._nworkers = {}, 0
  pool._idle = {}
  pool._leaving = {}               -- are about to end
  pool._queue, pool._first, pool._last = {}, 1, 0
  pool._jobs, pool._njobs = {}, 0  -- by Futures that are not done
  pool._failed = 0                 -- workers that could not be started, in a row
  pool._done = nil                 -- an Event, when somebody waits for the last job
end

--- The workers belong to the loop in which the executor is used first.
local function bind(pool)
  local loop = neap.get_event_loop()
  if loop == pool._loop then return end
  if pool._loop and not pool._loop:is_closed() then
    error("this executor belongs to another event loop", 3)
  end
  reset(pool, loop)
end

--- Schedules fn(...) to be called in one of the processes. The Future belongs to the
--- running (or current) loop; cancelling it cancels the call, which runs as a task there.
---
--- What fn has in its upvalues, and the arguments, are copied. A function is sent to a
--- worker once, as long as its upvalues do not change here; what it keeps in them there
--- lives on in that worker.
---@param fn function
---@param ... any
---@return userdata future  its results; or its error, with the traceback from there
function Pool:submit(fn, ...)
  receiver(self, Pool, "submit")
  if self._shut then error(executor.after_shutdown(), 2) end
  executor.check_function(fn, 1, "submit", 2)
  bind(self)
  local shipped = self._shipping:ship(fn)
  local arguments = packet.pack_as("argument", ...)
  local size = math.max(#arguments, #shipped.code + 16)
  if size > frame.LIMIT then
    error(neap.LimitOverrunError(("the function or its arguments take %d bytes, more than can "
      .. "be sent to a process"):format(size)), 2)
  end
  local future = neap.Future()
  self._last_job = self._last_job + 1
  local job = { id = self._last_job, future = future, fn = shipped, arguments = arguments,
    moves = 0 }
  future:add_done_callback(self._on_done)
  self._jobs[future] = job
  self._njobs = self._njobs + 1
  push(self, job)
  pump(self)
  return future
end

executor.add_map(Pool)

--- Waits until the workers that were told to end have done so. Where that is cancelled,
--- they are ended.
local function await_ends(pool)
  local leaving = pool._leaving
  local _now <close> = setmetatable({}, { __close = function(_, err)
    if err == nil then return end
    local list = {}
    for worker in pairs(leaving) do list[#list + 1] = worker end
    child.end_now(list)
  end })
  while true do
    local worker = next(leaving)
    if not worker then return end
    child.finish(worker)
    leaving[worker] = nil
  end
end

--- No more jobs are taken. What is queued is still done, unless it is cancelled. Waits for
--- all of that and the end of the processes, unless told not to.
---@async
---@param wait? boolean
---@param options? { cancel_futures?: boolean } cancels what has not started
function Pool:shutdown(wait, options)
  receiver(self, Pool, "shutdown")
  local cancel
  wait, cancel = executor.check_shutdown(wait, options, "shutdown", 2)
  self._shut = true
  if not self._loop or self._loop:is_closed() then return end
  if cancel then
    for job in pop, self do job.future:cancel() end
  end
  while self._idle[1] do retire(self, table.remove(self._idle)) end
  if not wait then return end
  if self._nworkers > 0 then
    self._done = self._done or neap.Event()
    self._done:wait()
  end
  await_ends(self)
end

--- Ends what runs: cancels it, and ends the processes of jobs that do not mind. Waits.
local function stop(pool)
  pool:shutdown(false, { cancel_futures = true })
  if not pool._loop or pool._loop:is_closed() then return end
  local running = {}
  for worker in pairs(pool._workers) do
    running[#running + 1] = worker
    if worker.job then worker.job.future:cancel() end
  end
  pool._done = pool._done or neap.Event()
  if running[1] and not neap.pcall(neap.wait_for, pool._done.wait, PATIENCE, pool._done) then
    child.end_now(running)
  end
  await_ends(pool)
end

--- The end of a block: shutdown(true). Where an error has left the block, or the wait for
--- its end is cancelled, what is queued or running is cancelled.
---@async
function Pool:__close(err)
  if err ~= nil then return stop(self) end
  local _stop <close> = setmetatable({}, { __close = function(_, failure)
    if failure ~= nil then stop(self) end
  end })
  self:shutdown(true)
end

function Pool:__tostring()
  local live = self._loop and not self._loop:is_closed()
  return ("<ProcessPoolExecutor%s, %d of %d workers, %d jobs>"):format(
    self._shut and " shut down" or "", live and self._nworkers or 0, self._size,
    live and self._njobs or 0)
end

local M = {}

---@class neap.thread.ProcessPoolOptions
---@field workers integer?   how many processes there may be; the number of processors
---@field command string[]?  what starts neap, or a lua5.4 that finds it, and its arguments;
---  this program, where it is one of them

--- An executor whose calls run in other processes. They are started when there is work for
--- them, and end with shutdown, with the event loop, or with this program.
---@param options? integer|neap.thread.ProcessPoolOptions  or how many workers
---@return table executor  submit, map, shutdown, and for <close>
function M.ProcessPoolExecutor(options)
  options = executor.check_size(options, SPEC, NAME, 2)
  child.check_command(options.command, NAME, 2)
  local pool = setmetatable({
    _size = options.workers or core.processors(),
    _command = options.command,
    _shut = false,
    _shipping = shipping.new(),
    _last_job = 0,
  }, Pool)
  pool._on_done = function(future) settle(pool, future) end
  packet.key() -- there has to be one
  reset(pool, nil)
  return pool
end

return M
