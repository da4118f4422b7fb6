--- Functions on their way to the workers of a process pool: each is sent to a worker once,
--- under a number, until it has changed here.

local packet = require "neap.core.packet"

local M = {}

local MOST = 64 -- functions that workers keep

--- What a pool has sent.
local Shipping = {}
Shipping.__index = Shipping

function M.new()
  return setmetatable({
    _cache = setmetatable({}, { __mode = "k" }),
    _recent = {}, -- by their numbers, those that workers may know
    _count = 0,
    _uses = 0,
    _last = 0,
    _known = setmetatable({}, { __mode = "k" }), -- worker -> number -> true
    _drop = setmetatable({}, { __mode = "k" }),  -- worker -> packed numbers
  }, Shipping)
end

--- Workers need not know it any more.
local function evict(self, shipped)
  shipped.evicted = true
  self._recent[shipped.number] = nil
  self._count = self._count - 1
  for worker, known in pairs(self._known) do
    if known[shipped.number] then
      known[shipped.number] = nil
      table.insert(self._drop[worker], string.pack("<I8", shipped.number))
    end
  end
end

local function evict_oldest(self)
  local oldest
  for _, shipped in pairs(self._recent) do
    if not oldest or shipped.used < oldest.used then oldest = shipped end
  end
  evict(self, oldest)
end

--- The function as it is now: its number and its bytes. Raises where it cannot cross.
function Shipping:ship(fn)
  local code = packet.pack_as("function:", fn)
  local shipped = self._cache[fn]
  self._uses = self._uses + 1
  if shipped and not shipped.evicted then
    if shipped.code == code then
      shipped.used = self._uses
      return shipped
    end
    evict(self, shipped)
  end
  if self._count >= MOST then evict_oldest(self) end
  self._last = self._last + 1
  shipped = { number = self._last, code = code, used = self._uses }
  self._cache[fn], self._recent[shipped.number] = shipped, shipped
  self._count = self._count + 1
  return shipped
end

function Shipping:add_worker(worker)
  self._known[worker], self._drop[worker] = {}, {}
end

--- What the worker has to be told before it is sent a job with this function: the packed
--- numbers of those to be dropped, or nil; and the bytes of this one, "" where it has it.
function Shipping:for_worker(worker, shipped)
  local known, drop = self._known[worker], self._drop[worker]
  local dropped, code = drop[1] and table.concat(drop), ""
  if dropped then
    drop = {}
    self._drop[worker] = drop
  end
  if not known[shipped.number] then
    code = shipped.code
    if shipped.evicted then
      drop[1] = string.pack("<I8", shipped.number)
    else
      known[shipped.number] = true
    end
  end
  return dropped, code
end

return M
