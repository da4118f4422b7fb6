--- Streams, listeners and servers that are closed at the end of the test, whatever
--- happens in it: `local kept = require "spec.support.kept"(before_each, after_each)`.

local neap = require "neap"
local net = require "neap.net"

return function(before_each, after_each)
  local open
  before_each(function() open = {} end)
  after_each(function()
    for _, object in ipairs(open) do
      if object.connections then -- a server
        object:shutdown(0)
      else
        (object.abort or object.close)(object)
      end
    end
    neap.sleep(0)
  end)

  local M = {}

  --- keep(...) of what a call gave: the object, or its error is raised.
  function M.keep(object, err)
    assert(object, err)
    open[#open + 1] = object
    return object
  end

  --- Two connected streams.
  function M.pair()
    local a, b = net.pair()
    return M.keep(a, b), M.keep(b)
  end

  return M
end
