--- A ContextVar: every function that works on a request knows which one, although
--- nobody passes it on. A task starts with the value of whoever starts it.

local neap = require "neap"

local request = neap.ContextVar("request", "-")

local function log(...)
  print("[" .. request:get() .. "]", ...)
end

local function query(name)
  log("query", name)
  neap.sleep(0.01)
  return #name
end

local function handle(id, names)
  request:set(id) -- for this task and for those that it starts
  local list = {}
  for i, name in ipairs(names) do
    list[i] = neap.create_task(query, name)
  end
  local sum = 0
  for _, n in ipairs(neap.gather(list)) do sum = sum + n end
  log("done", sum)
end

log "start"
neap.gather(
  function() handle("A", { "users", "prices" }) end,
  function() handle("B", { "orders" }) end)
log "end"
