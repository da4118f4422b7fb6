--- Ports, for TCP and UDP, for specs that need one before anything listens there, the
--- same one at several addresses, or one where nobody listens. A port that the system
--- picked and that was closed again is none of these: any program that runs meanwhile may
--- be given it.

local net = require "neap.net"

local M = {}

--- The first line of a file of Linux's, or nil.
local function line(path)
  local file = io.open(path)
  if not file then return nil end
  local text = file:read "l"
  file:close()
  return text
end

-- Those below the range from which the system picks. Programs that run at the same time
-- begin at different ones.
local FIRST, LAST = 10000, 32767
local lowest = (line "/proc/sys/net/ipv4/ip_local_port_range" or ""):match "^%d+"
if tonumber(lowest) and tonumber(lowest) > FIRST + 1000 then
  LAST = math.min(LAST, tonumber(lowest) - 1)
end
local pid = tonumber((line "/proc/self/stat" or ""):match "^%d+") or 0
local count = pid * 101

--- A port where nobody listens, and that nobody gets by chance. No old connection lingers
--- there, either: it is free also for programs that are strict about that.
function M.unused()
  while true do
    count = count + 1
    local port = FIRST + count % (LAST - FIRST + 1)
    local listener = net.listen { host = "0.0.0.0", port = port, reuse_addr = false }
    local socket = net.udp { host = "0.0.0.0", port = port }
    if listener then listener:close() end
    if socket then socket:close() end
    if listener and socket then return port end
  end
end

return M
