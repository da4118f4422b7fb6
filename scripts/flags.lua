--- Many items, a few at a time: downloads the flags of 20 countries, five at once, counts
--- what went well, what was not found and what failed, and shows a bar meanwhile. The
--- server it talks to is part of the script: a bit of HTTP/1.0, slow and not reliable.

local neap = require "neap"
local net = require "neap.net"

local COUNTRIES = { "BD", "BR", "CD", "CN", "DE", "EG", "ET", "FR", "ID", "IN", "IR", "JP",
  "MX", "NG", "PH", "PK", "RU", "TR", "US", "VN" }
local AT_ONCE = 5

-- ---- the server ------------------------------------------------------------------------

local function answer(stream, status, body)
  stream:write("HTTP/1.0 ", status, "\r\n", "Content-Length: ", #body, "\r\n\r\n", body)
end

local serving, most = 0, 0

local function serve(stream)
  local path = (stream:read() or ""):match "^GET /flags/(%a+)"
  repeat local header = stream:read() until not header or header == "\r"
  serving = serving + 1
  most = math.max(most, serving)
  neap.sleep(0.1) -- it takes its time
  serving = serving - 1
  if path == "ET" then
    answer(stream, "404 Not Found", "")
  elseif path == "RU" then
    stream:write "HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\nonly this" -- breaks off
  else
    answer(stream, "200 OK", ("flag of %s "):format(path):rep(10))
  end
end

local server = assert(net.serve(serve, { host = "127.0.0.1" }))

-- ---- the client -----------------------------------------------------------------------

--- The body of a page, or nil and what went wrong.
local function get(path)
  local stream, err = net.connect(server:address())
  if not stream then return nil, err.message end
  local _close <close> = stream
  stream:write("GET ", path, " HTTP/1.0\r\n\r\n")
  local status = (stream:read() or ""):match "^HTTP/%S+ (%d+)"
  local length = 0
  while true do
    local header = stream:read()
    if not header then return nil, "no answer" end
    if header == "\r" then break end
    length = tonumber(header:match "^[Cc]ontent%-[Ll]ength: (%d+)") or length
  end
  if status ~= "200" then return nil, "status " .. tostring(status) end
  local body
  body, err = stream:read_exactly(length)
  if not body then return nil, neap.IncompleteReadError:is(err) and "broke off" or err.message end
  return body
end

local slots = neap.Semaphore(AT_ONCE)

--- One item: never fails, so that one that goes wrong does not end the others.
local function download(country)
  local _slot <close> = slots:acquire()
  local body, err = get("/flags/" .. country)
  return country, body, err
end

local tasks = {}
for i, country in ipairs(COUNTRIES) do tasks[i] = neap.create_task(download, country) end

local counts, bytes, errors = { ok = 0, failed = 0 }, 0, {}
local done = 0
for task in neap.as_completed(tasks) do
  local country, body, err = task:await()
  if body then
    counts.ok, bytes = counts.ok + 1, bytes + #body
  else
    counts.failed = counts.failed + 1
    errors[#errors + 1] = country .. ": " .. err
  end
  done = done + 1
  if done % 5 == 0 then -- in a terminal this would be io.write("\r...")
    print(("[%-20s] %d/%d"):format(("#"):rep(done * 20 // #tasks), done, #tasks))
  end
end

table.sort(errors)
print(("%d flags, %d bytes; %d failed"):format(counts.ok, bytes, counts.failed))
for _, line in ipairs(errors) do print("  " .. line) end
print("never more than " .. most .. " at the same time")
server:close()
