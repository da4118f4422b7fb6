-- The line that every benchmark program prints, in the form that peers/README.md asks for:
-- workload, peer, operations, seconds, operations per second, peak resident kB [, kB before].

local M = {}

local function status(key)
  local file = io.open("/proc/self/status")
  if not file then return 0 end
  for line in file:lines() do
    local value = line:match("^" .. key .. ":%s*(%d+)")
    if value then
      file:close()
      return tonumber(value)
    end
  end
  file:close()
  return 0
end

--- Resident kB of this process now.
function M.rss()
  return status("VmRSS")
end

--- Prints the result line; `base` is an earlier `rss()`.
function M.report(workload, ops, seconds, base)
  io.write(string.format("%s %s %d %.6f %.0f %d%s\n", workload, os.getenv("PEER") or "neap", ops,
    seconds, ops / seconds, status("VmHWM"), base and (" " .. base) or ""))
end

return M
