-- The server side of the echo workload: what comes in goes back, one task a connection.
-- echo.lua PORT serves until it is ended; a load generator is the client.
local net = require "neap.net"

net.serve(function(stream)
  while true do
    local data = stream:read_some(65536)
    if not data or not stream:write(data) then break end
  end
end, { host = "127.0.0.1", port = tonumber(arg[1] or 7007), backlog = 4096 })
