--- Checking the options of neap.net's functions.

local M = {}

local function is_integer(from, to)
  return function(v) return math.type(v) == "integer" and v >= from and v <= to end
end

local function is_seconds(v) return type(v) == "number" and v >= 0 end -- NaN is not

-- Kinds of values: what is expected, in words, and whether a value is it.
local KINDS = {
  boolean = { "boolean", function(v) return type(v) == "boolean" end },
  string = { "string", function(v) return type(v) == "string" end },
  host = { "non-empty string", function(v) return type(v) == "string" and v ~= "" end },
  port = { "integer from 0 to 65535", is_integer(0, 65535) },
  positive = { "positive integer", is_integer(1, math.maxinteger) },
  backlog = { "integer from 0 to 65535", is_integer(0, 65535) },
  mode = { "integer from 0 to 0x1ff", is_integer(0, 511) },
  seconds = { "seconds", is_seconds },
  family = { '"inet" or "inet6"', function(v) return v == "inet" or v == "inet6" end },
  keepalive = { "boolean or seconds, at least 1", function(v)
    return type(v) == "boolean" or type(v) == "number" and v >= 1 and v <= 32767
  end },
  tls = { "boolean, table or TLS context", function(v)
    return type(v) == "boolean" or type(v) == "table" or type(v) == "userdata"
  end },
  table = { "table", function(v) return type(v) == "table" end },
  listener = { "Listener", function(v) return type(v) == "userdata" end },
  any = { "anything", function() return true end },
}

--- A value as an error tells it.
function M.tell(value)
  if type(value) == "number" then return value ~= value and "NaN" or tostring(value) end
  if type(value) == "string" then return ("%q"):format(value) end
  return type(value)
end

--- Raises unless `opts` is a table (or nil) with nothing but what `spec` names, a kind for
--- each; gives it, or an empty one. The error is that of the caller `level` levels up.
function M.check(opts, spec, arg, name, level)
  level = level + 1
  if opts == nil then return {} end
  if type(opts) ~= "table" then
    error(("bad argument #%d to '%s' (table expected, got %s)"):format(arg, name, type(opts)),
      level)
  end
  for key, value in pairs(opts) do
    local kind = KINDS[spec[key]]
    if not kind then
      error(("unknown option %s to '%s'"):format(
        type(key) == "string" and "'" .. key .. "'" or M.tell(key), name), level)
    elseif not kind[2](value) then
      error(("bad option '%s' to '%s' (%s expected, got %s)"):format(key, name, kind[1],
        M.tell(value)), level)
    end
  end
  return opts
end

--- Raises unless argument `n` is of the kind.
function M.argument(value, kind, n, name, level)
  if not KINDS[kind][2](value) then
    error(("bad argument #%d to '%s' (%s expected, got %s)"):format(n, name, KINDS[kind][1],
      M.tell(value)), level + 1)
  end
end

--- The seconds of option keepalive, 0: off.
function M.keepalive(value)
  if value == true then return 60 end
  return value and math.ceil(value) or 0
end

return M
