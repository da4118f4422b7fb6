--- A pipeline of processes, as `printf ... | sort | uniq -c | sort -rn` in a shell: first
--- with the output of each given to the next, then with a step in Lua between two.

local neap = require "neap"
local process = require "neap.process"

local WORDS = "pear\nfig\npear\napple\nfig\npear\n"

--- Starts the commands, each reading what the one before writes. Gives the list of
--- processes; closing it ends them all.
local function pipeline(...)
  local list = setmetatable({}, { __close = function(self)
    for _, child in ipairs(self) do child:close() end
  end })
  local input = "pipe"
  for i, command in ipairs { ... } do
    command.stdin, command.stdout = input, "pipe"
    list[i] = assert(process.spawn(command))
    input = list[i].stdout -- it is the next one's from then on
  end
  return list
end

local function counted()
  local list <close> = pipeline({ "sort" }, { "uniq", "-c" }, { "sort", "-rn" })
  local first, last = list[1].stdin, list[#list].stdout
  first:write(WORDS)
  first:shutdown() -- the end of its input
  for line in last:lines() do print((line:gsub("^%s+", ""))) end
  for i, child in ipairs(list) do print(i, child:wait()) end
end

--- Lines of the one process go to the other, but for those that the filter drops.
local function filtered(keep)
  local source <close> = assert(process.spawn { "printf", "%s", WORDS, stdout = "pipe" })
  local sort <close> = assert(process.spawn { "sort", "-u", stdin = "pipe", stdout = "pipe" })
  local group <close> = neap.TaskGroup()
  group:create_task(function()
    for line in source.stdout:lines() do
      if keep(line) then sort.stdin:write(line, "\n") end
    end
    sort.stdin:close()
  end)
  for line in sort.stdout:lines() do print(line) end
end

neap.run(function()
  print "counted:"
  counted()
  print "with a p:"
  filtered(function(line) return line:find "p" end)

  print "the same by run:"
  local result = assert(process.run { "sort", "-u", input = WORDS, check = true, timeout = 10 })
  io.write(result.stdout)

  local _, err = process.run { "sort", "--no-such-option", env_extra = { LC_ALL = "C" },
    check = true }
  print(("sort fails with %d"):format(err.result.code))
  print(select(2, process.spawn { "neap-no-such-program" }))
end)
