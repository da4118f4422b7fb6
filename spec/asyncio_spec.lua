--- neap beside CPython's asyncio: for each pair of programs in spec/asyncio, NAME.py and
--- NAME.lua, the trace of the Lua side is the recorded one, NAME.out; where the Python that
--- it was recorded with is installed, that one still prints it.

local neap = require "neap"
local prelude = require "spec.asyncio.prelude"

local DIR = "spec/asyncio/"
local PYTHON = "/usr/bin/python3"

local function content(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

local function read(command)
  local pipe <close> = assert(io.popen(command))
  return pipe:read "a"
end

local function names()
  local list = {}
  for path in read("ls " .. DIR .. "*.lua"):gmatch "[^\n]+" do
    local name = path:match "([^/]+)%.lua$"
    if name ~= "prelude" then list[#list + 1] = name end
  end
  return list
end

--- What Python prints now, by name; nil where there is no Python 3.11.
local function live()
  if not read(PYTHON .. " --version 2>&1"):find "^Python 3%.11" then return nil end
  local traces, name = {}, nil
  for line in read(PYTHON .. " -B " .. DIR .. "run.py 2>&1"):gmatch "[^\n]*\n" do
    name = line:match "^=== (%S+)" or name
    if line:find "^=== " then
      traces[name] = ""
    elseif name then
      traces[name] = traces[name] .. line
    end
  end
  return traces
end

-- The subject is the order of asyncio, so it is #ordered.
describe("as asyncio #ordered:", function()
  local python = live()
  local loop

  before_each(function() loop = neap.get_event_loop() end)
  after_each(function() neap.set_event_loop(loop) end)

  for _, name in ipairs(names()) do
    local path, own_loop = DIR .. name, name:find "^loop_" ~= nil

    it(name, function()
      local recorded = content(path .. ".out")
      assert.is_nil(recorded:find "main raised") -- a mistake in the program
      if python then assert.equal(recorded, python[name], "Python does not print this now") end
      assert.equal(recorded, prelude.run(path .. ".lua", own_loop))
    end)

    -- The root is no task, so there is no current_task.
    if not own_loop and not content(path .. ".lua"):find "current_task" then
      it(name .. ", at top level", function()
        assert.equal(content(path .. ".out"), prelude.run(path .. ".lua", true))
      end)
    end
  end
end)
