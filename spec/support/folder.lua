--- A folder of their own for specs about files: `local at = folder(before_each, after_each)`
--- makes and removes it around each test; at "name" is a path in it.

local fs = require "neap.fs"

-- In memory where that is possible: a disk that is busy takes seconds.
local template = fs.access("/dev/shm", "w") and "/dev/shm/neap-" or nil

return function(before_each, after_each)
  local dir
  before_each(function() dir = assert(fs.mkdtemp(template)) end)
  after_each(function()
    assert(fs.remove(dir, { recursive = true }))
    collectgarbage() -- files that a test left to the collector
  end)
  return function(name) return name and dir .. "/" .. name or dir end
end
