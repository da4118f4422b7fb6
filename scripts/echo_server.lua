--- A server that says again what it is told, and three clients that talk to it at the same
--- time. Server and clients are in one program here; nothing would change if they were not.

local neap = require "neap"
local net = require "neap.net"

-- Each connection has a task of its own, which runs this function. When it returns the
-- connection is closed.
local function echo(stream)
  for line in stream:lines() do
    stream:write("you said: ", line, "\n")
  end
end

local server = assert(net.serve(echo, { host = "127.0.0.1" })) -- the system picks the port
local host, port = server:address()
print("listening on " .. host)

local function client(name)
  local stream <close> = assert(net.connect(host, port))
  local answers = {}
  for _, word in ipairs { "hello", "from", name } do
    stream:write(word, "\n")
    answers[#answers + 1] = stream:read() -- other tasks run while this one waits
  end
  return answers
end

local talks = neap.gather {
  neap.create_task(client, "Ann"),
  neap.create_task(client, "Bob"),
  neap.create_task(client, "Cleo"),
}
for _, answers in ipairs(talks) do
  for _, answer in ipairs(answers) do print(answer) end
end

server:close()       -- nobody else can connect from now on
server:wait_closed() -- and the connections have ended
print "closed"
