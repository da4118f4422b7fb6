--- Names to addresses: `net.resolve(host, opts)`.

local function resolve(host)
  return { { address = host, family = host:find(":", 1, true) and "inet6" or "inet" } }
end

return resolve
