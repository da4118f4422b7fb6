--- The main function of a worker process: runs what the pool in the parent sends, one job
--- at a time, each as a task of this process's loop.

local neap = require "neap"
local core = require "neap.core.worker"
local packet = require "neap.core.packet"
local frame = require "neap.thread.frame"

local M = {}

local functions = {}  -- by their numbers; their bytes, as long as they were not needed
local running         -- the number of the job
local called          -- that of its function
local task            -- that runs it, once it has begun
local doomed          -- it was cancelled before: a packet with a message

local whose = "\n  in a worker process" -- a line of tracebacks

-- ---- answers -------------------------------------------------------------------------

--- The bytes of an error; where it cannot cross, its text does.
local packed_error = packet.pack_error

local function packed_results(...) return packet.pack_as("result", ...) end

--- The traceback of a job, as it is read in another process.
local function traceback_of(job)
  local text = job:traceback()
  return text and (text:gsub("\n  in task '[^\n]*created at neap/thread/[^\n]*", whose))
end

--- How a task ended: the kind of the frame and its packet. nil: this process is ended.
local function outcome(job)
  if job:cancelled() then
    local _, err = pcall(job.result, job)
    local message = type(err) == "table" and err.message
    if type(message) ~= "string" then message = nil end
    return frame.CANCELLED, packet.pack_as("message:", message)
  end
  local err = job:exception()
  if type(err) ~= "string" and neap.Error:is(err) and err.name == "SystemExit" then return nil end
  if err ~= nil then return frame.RAISED, packed_error(err, traceback_of(job)) end
  local ok, bytes = pcall(function() return packed_results(job:result()) end)
  if not ok then return frame.RAISED, packed_error(bytes) end
  if #bytes > frame.LIMIT then
    return frame.RAISED, packed_error(neap.LimitOverrunError(
      ("the results take %d bytes, more than a process can send"):format(#bytes)))
  end
  return frame.RETURNED, bytes
end

-- ---- jobs ----------------------------------------------------------------------------

--- Runs a job: how it ended.
local function run_job(number, arguments)
  local fn = functions[number]
  if type(fn) == "string" then
    fn = packet.unpack(fn)
    functions[number] = fn
  end
  task = neap.create_task(fn, packet.unpack(arguments))
  neap.wait { task }
  return outcome(task)
end

local function run(stream, id, number, arguments)
  -- A job can cancel all tasks there are: then nobody would answer.
  local _gone <close> = setmetatable({}, { __close = function(_, err)
    if err ~= nil then stream:close() end
  end })
  if not doomed then
    frame.write(stream, frame.STARTED, string.pack("<I8", id))
    stream:flush()
  end
  local kind, bytes = frame.CANCELLED, doomed
  if not doomed then
    local ok
    ok, kind, bytes = neap.pcall(run_job, number, arguments)
    if not ok then kind, bytes = frame.RAISED, packed_error(kind) end
  end
  if not kind then os.exit(143, true) end -- as after SIGTERM
  task, running, doomed = nil, nil, nil
  pcall(io.stdout.flush, io.stdout)
  frame.write(stream, kind, bytes)
end

-- ---- requests ------------------------------------------------------------------------

local HANDLERS = {
  [frame.KEY] = function(stream, body)
    packet.set_key(body:sub(2))
    frame.write(stream, frame.READY, string.char(frame.VERSION))
  end,

  [frame.JOB] = function(_, body)
    running, called = string.unpack("<I8I8", body)
    if #body > 16 then functions[called] = body:sub(17) end
  end,

  [frame.ARGUMENTS] = function(stream, body)
    neap.create_task(run, stream, running, called, body)
  end,

  [frame.DROP] = function(_, body)
    for at = 1, #body, 8 do functions[string.unpack("<I8", body, at)] = nil end
  end,

  [frame.CANCEL] = function(_, body)
    local id = string.unpack("<I8", body)
    if id ~= running then return end
    if task then
      task:cancel(packet.unpack(body:sub(9)))
    else
      doomed = body:sub(9)
    end
  end,
}

--- Serves the pool until it hangs up, and ends this process.
function M.main()
  local stream = assert(core.channel())
  whose = ("\n  in worker process %d"):format(core.pid())
  local loop = neap.get_event_loop()
  -- Ctrl-C is for all processes of a terminal. The pool decides what becomes of its jobs.
  loop:add_signal_handler("SIGINT", function() end)
  loop:set_debug(false) -- here is where a job may hold the loop
  while true do
    local kind, body = frame.read(stream)
    local handler = HANDLERS[kind]
    if not handler then break end
    handler(stream, body)
  end
  os.exit(0, true)
end

return M
