--- TLS on a network that splits, stalls, resets, cuts off and changes what it carries: an
--- error or the right bytes, never anything else.

local neap = require "neap"
local net = require "neap.net"
local helper = require "spec.helper"
local certs = require "spec.support.certs"
local proxy = require "spec.support.proxy"

local TEXT = ("The quick brown fox. "):rep(20)

local contexts = {}

--- A context of one version, made once.
local function context(kind, version)
  local name = kind .. version
  if not contexts[name] then
    local more = { min_version = version, max_version = version }
    contexts[name] = assert(net.tls_context(kind == "server" and certs.identity("server", more)
      or certs.trust(more)))
  end
  return contexts[name]
end

--- `fn(...)`, or nil and an error when it takes longer.
local function soon(limit, fn, ...)
  local result = table.pack(pcall(function(...)
    local _ <close> = neap.timeout(limit)
    return fn(...)
  end, ...))
  if result[1] then return table.unpack(result, 2, result.n) end
  if not neap.TimeoutError:is(result[2]) then error(result[2], 0) end
  return nil, result[2]
end

--- A server that answers the text, which it wants whole, and notes what came.
local function serve(version)
  local seen = {}
  local server = assert(net.serve(function(stream)
    local data, err = stream:read "a"
    seen[#seen + 1] = { data = data, err = err }
    if not data then return stream:abort() end
    stream:write(data:reverse())
    stream:shutdown()
  end, { tls = context("server", version) }))
  return server, seen
end

local function connect(p, version)
  contexts["client" .. version] = nil -- it would remember the session
  return net.connect("localhost", p.port,
    { addresses = { "127.0.0.1" }, tls = context("client", version) })
end

--- A whole conversation through the proxy: what the answer was, or nil and an error.
local function talk(p, version)
  local stream, err = connect(p, version)
  if not stream then return nil, err end
  local _stream <close> = stream
  local ok
  ok, err = stream:write(TEXT)
  if not ok then return nil, err end
  ok, err = stream:shutdown()
  if not ok then return nil, err end
  return stream:read "a"
end

--- Has `fn(talk, seen, set)` called, with a server and a proxy in front of it.
local function with_server(version, fn)
  local server, seen = serve(version)
  local _, port = server:address()
  local p = proxy.start("127.0.0.1", port)
  local function ask(limit) return soon(limit or 40, talk, p, version) end
  fn(ask, seen, function(faults) p:set(faults) end, p)
  p:close()
  server:shutdown(0)
end

--- An answer is the right one or an error of the world's; the server got all or nothing.
local function check(answer, err, seen, what)
  if answer then
    assert.is_true(answer == TEXT:reverse(), what .. ": another answer")
  else
    -- Where a length was changed both may wait for more.
    local late = neap.TimeoutError:is(err) and what:find "corrupt" ~= nil
    local fine = neap.OSError:is(err) or late
    assert.is_true(fine, what .. ": " .. tostring(err))
  end
  for _, one in ipairs(seen) do
    if one.data then
      assert.is_true(one.data == TEXT, what .. ": not what was sent")
    end
  end
end

for _, version in ipairs { "TLSv1.2", "TLSv1.3" } do
  describe(version .. " on a bad network", function()
    local before
    lazy_setup(certs.folder)
    before_each(function()
      before = nil
      with_server(version, function(ask) assert(ask()) end) -- libraries have what they keep
      before = helper.descriptors()
    end)
    after_each(function()
      neap.sleep(0)
      helper.await_descriptors(before)
      helper.reports.take()
    end)

    --- How many bytes a conversation has, each way.
    local function sizes()
      local up, down
      with_server(version, function(ask, _, set, p)
        set {}
        assert(ask())
        up, down = p.carried.up, p.carried.down
      end)
      return { up = up, down = down }
    end

    it("does not mind how it is split", function()
      with_server(version, function(ask, _, set)
        for _, n in ipairs { 1, 2, 5, 6, 64, 1000 } do
          set { up = { split = n }, down = { split = n } }
          assert.equal(TEXT:reverse(), ask())
        end
      end)
    end)

    for _, fault in ipairs { "corrupt", "reset_after", "close_after" } do
      it("is right or fails: " .. fault, function()
        local total = sizes()
        with_server(version, function(ask, seen, set)
          for way, size in pairs(total) do
            local step = math.max(size // (os.getenv "NEAP_GC_STRESS" and 10 or 20), 1)
            for at = 1, size, step do
              set { [way] = { [fault] = at } }
              local what = ("%s %s at %d of %d"):format(way, fault, at, size)
              local answer, err = ask(fault == "corrupt" and 0.5)
              check(answer, err, seen, what)
              -- Signatures differ by some bytes from one conversation to the next.
              if at < size - 10 and fault == "reset_after" and way == "down" then
                assert.is_nil(answer, what)
              elseif at < size - 50 and fault == "close_after" and way == "down" then
                assert.is_nil(answer, what)
              end
            end
          end
        end)
      end)
    end

    it("waits for a network that stalls, at any point", function()
      local total = sizes()
      with_server(version, function(ask, seen, set)
        for way, size in pairs(total) do
          for at = 0, size, math.max(size // 8, 1) do
            set { [way] = { stall_after = at } }
            local task = neap.create_task(ask)
            neap.sleep(0.004)
            set {}
            local answer, err = task:await()
            assert.is_true(answer == TEXT:reverse(), tostring(err))
            check(answer, err, seen, "stall")
          end
        end
      end)
    end)

    it("can be cancelled where the network stalls, at any point", function()
      local total = sizes()
      with_server(version, function(ask, _, set)
        for way, size in pairs(total) do
          for at = 0, size - 50, math.max(size // 6, 1) do
            set { [way] = { stall_after = at } }
            local task = neap.create_task(ask)
            neap.sleep(0.003)
            task:cancel()
            local ok, err = pcall(task.await, task)
            assert.is_true(not ok and helper.is_cancelled(err), tostring(err))
          end
        end
      end)
    end)

    it("does not take an end without close_notify for the end", function()
      local server = assert(net.serve(function(stream)
        stream:write "part of it":flush()
        stream:read "l"
        stream:abort() -- no goodbye
      end, { tls = context("server", version) }))
      local _, port = server:address()
      local p = proxy.start("127.0.0.1", port)
      local stream = assert(connect(p, version))
      assert.equal("part of it", soon(40, stream.read, stream, 10))
      stream:write "go\n"
      local data, err = soon(40, stream.read, stream, "a")
      assert.is_nil(data)
      assert.is_true(neap.OSError:is(err))
      stream:close()
      p:close()
      server:shutdown(0)
    end)
  end)
end
