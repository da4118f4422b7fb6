--- What goes over the socket between a process pool and its workers: the length of the
--- body (4 bytes, little endian), one letter for its kind, the body.

local M = {}

-- The longest body.
M.LIMIT = 1 << 30

M.VERSION = 1

-- To the worker: KEY (first; the version, the key that seals functions), JOB (its number, that
-- of its function, and the packed function where it is new there), ARGUMENTS (of that job,
-- packed), DROP (numbers of functions), CANCEL (number of the job, a packed message).
-- From it: READY (its version), STARTED (number of the job), and how the job ended, with a
-- packet: RETURNED, RAISED, CANCELLED.
M.KEY, M.JOB, M.ARGUMENTS, M.DROP, M.CANCEL = "K", "J", "A", "D", "C"
M.READY, M.STARTED = "H", "S"
M.RETURNED, M.RAISED, M.CANCELLED = "R", "E", "X"

--- Writes a frame whose body is made of these strings. Waits.
---@async
function M.write(stream, kind, ...)
  local size = 0
  for i = 1, select("#", ...) do size = size + #(select(i, ...)) end
  return stream:write(string.pack("<I4c1", size, kind), ...)
end

--- Reads one: its kind and body; nil at the end, and an error where there is one. Waits.
---@async
function M.read(stream)
  local head, err = stream:read_exactly(5)
  if not head then return nil, err end
  local size, kind = string.unpack("<I4c1", head)
  if size == 0 then return kind, "" end
  if size > M.LIMIT then return nil, ("a frame of %d bytes"):format(size) end
  local body
  body, err = stream:read_exactly(size)
  if not body then return nil, err end
  return kind, body
end

return M
