--- A server for names on the loopback, for tests: answers as it is told, late or never.

local neap = require "neap"
local net = require "neap.net"

local M = {}

local TYPES = { [1] = "A", [28] = "AAAA" }
local CODES = { nxdomain = 3, servfail = 2, refused = 5 }

--- The name, the type and the text of the question.
local function parse(packet)
  local labels, at = {}, 13
  while packet:byte(at) ~= 0 do
    local label = string.unpack("s1", packet, at)
    labels[#labels + 1] = label
    at = at + 1 + #label
  end
  local kind = string.unpack(">I2", packet, at + 1)
  return table.concat(labels, "."), TYPES[kind] or kind, packet:sub(13, at + 4)
end

local function bytes_of(address)
  local out = {}
  if address:find ":" then -- all eight groups are written out
    for group in address:gmatch "%x+" do out[#out + 1] = (">I2"):pack(tonumber(group, 16)) end
  else
    for part in address:gmatch "%d+" do out[#out + 1] = string.char(tonumber(part)) end
  end
  return table.concat(out)
end

local function reply(packet, kind, question, answer)
  local code = CODES[answer] or 0
  local flags = answer == "truncated" and 0x8380 or 0x8180
  local list = {}
  for _, one in ipairs(type(answer) == "table" and answer or {}) do
    if (one:find ":" ~= nil) == (kind == "AAAA") then list[#list + 1] = one end
  end
  local header = (">I2I2I2I2I2"):pack(flags | code, 1, #list, 0, 0)
  local out = { packet:sub(1, 2), header, question }
  for _, address in ipairs(list) do
    local data = bytes_of(address)
    out[#out + 1] = (">I2I2I2I4s2"):pack(0xC00C, #data == 4 and 1 or 28, 1, 60, data)
  end
  return table.concat(out)
end

---@class dns.Server
local Server = {}
Server.__index = Server

--- A server. `answers`: name -> what is answered: a list of addresses, "nxdomain",
--- "servfail", "refused", "truncated"; false: nothing; a function of the type ("A", "AAAA")
--- that gives
--- one of these and may wait.
function M.start(answers)
  local self = setmetatable({ answers = answers, asked = {}, tasks = {} }, Server)
  self.socket = assert(net.udp { host = "127.0.0.1" })
  self.port = select(2, self.socket:address())
  self.servers = { "127.0.0.1:" .. self.port }
  self.main = neap.create_task(function()
    for packet, host, port in self.socket:packets() do
      local name, kind, question = parse(packet)
      self.asked[#self.asked + 1] = name .. " " .. kind
      self.tasks[neap.create_task(function()
        local answer = self.answers[name]
        if type(answer) == "function" then answer = answer(kind) end
        if answer == nil then answer = "nxdomain" end
        if answer then
          self.socket:send(reply(packet, kind, question, answer), host, port)
        end
      end)] = true
    end
  end)
  return self
end

--- The same over TCP, at the same port, for answers that are "truncated" otherwise; nil
--- where the port is taken.
function M.start_tcp(port, answers)
  return (net.serve(function(stream)
    while true do
      local length = stream:read_exactly(2)
      if not length then return end
      local packet = stream:read_exactly((">I2"):unpack(length))
      local name, kind, question = parse(packet)
      stream:write((">s2"):pack(reply(packet, kind, question, answers[name])))
    end
  end, { host = "127.0.0.1", port = port }))
end

function Server:close()
  for task in pairs(self.tasks) do task:cancel() end
  self.main:cancel()
  self.socket:close()
end

Server.__close = Server.close

return M
