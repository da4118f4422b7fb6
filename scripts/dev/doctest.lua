--- doctest.lua HOST [FILE...]: runs every ```lua block of the Markdown files.
---
--- Each block is a script of its own, run in an empty folder. Where a line has a
--- comment `--> text`, the texts of the block are, in this order, lines of its
--- output; a block without any only has to end with exit code 0. A fence
--- ```lua no-run excludes a block.

local host = assert(arg[1], "usage: doctest.lua HOST [FILE...]")
local root = os.getenv "PWD"
if host:sub(1, 1) ~= "/" then host = root .. "/" .. host end

local function lines_of(command)
  local pipe <close> = assert(io.popen(command))
  local list = {}
  for line in pipe:lines() do list[#list + 1] = line end
  return list
end

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local files = table.move(arg, 2, #arg, 1, {})
if #files == 0 then
  files = lines_of "ls README.md CONTRIBUTING.md 2>/dev/null; find docs -name '*.md' | sort"
end

local function blocks_of(path)
  local blocks, block = {}, nil
  local number, fence = 0, nil
  for line in io.lines(path) do
    number = number + 1
    local indent, marks, info = line:match "^(%s*)(```+)%s*(.-)%s*$"
    if fence == nil and marks then
      fence = marks
      if info == "lua" then block = { path = path, line = number, indent = #indent } end
    elseif marks == fence and info == "" then
      if block then blocks[#blocks + 1] = block end
      fence, block = nil, nil
    elseif block then
      block[#block + 1] = line:sub(block.indent + 1)
    end
  end
  assert(fence == nil, path .. ": a block has no end")
  return blocks
end

local blocks = {}
for _, path in ipairs(files) do
  for _, block in ipairs(blocks_of(path)) do blocks[#blocks + 1] = block end
end

local work = lines_of("mktemp -d")[1]

-- All at once, as many at a time as there are processors: most of them sleep.
local list = {}
for i, block in ipairs(blocks) do
  os.execute(("mkdir %s/%d"):format(work, i))
  local file <close> = assert(io.open(("%s/%d/block.lua"):format(work, i), "w"))
  file:write(table.concat(block, "\n"), "\n")
  list[i] = i
end
do
  local file <close> = assert(io.open(work .. "/run.sh", "w"))
  file:write(([[
cd %s/"$1" && timeout -k 5 120 %s block.lua >out.txt 2>err.txt </dev/null
echo $? >code.txt
]]):format(work, quote(host)))
end
if #blocks > 0 then
  os.execute(("printf '%%s\\n' %s | xargs -P 4 -n 1 sh %s/run.sh"):format(
    table.concat(list, " "), work))
end

local function content(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

local passed, failed = 0, 0
for i, block in ipairs(blocks) do
  local folder = ("%s/%d/"):format(work, i)
  local code = content(folder .. "code.txt"):match "%d+"
  local problem
  if code ~= "0" then
    problem = "exit code " .. code .. "\n" .. content(folder .. "err.txt")
  else
    local output = {}
    for line in io.lines(folder .. "out.txt") do output[#output + 1] = line end
    local at = 0
    for _, line in ipairs(block) do
      local text = line:match "%-%->%s?(.-)%s*$"
      if text then
        local from = at
        repeat at = at + 1 until at > #output or output[at]:gsub("%s+$", "") == text
        if at > #output then
          problem = ("no line %q in what was printed after line %d:\n%s"):format(
            text, from, table.concat(output, "\n"))
          break
        end
      end
    end
  end
  if problem then
    failed = failed + 1
    print(("FAIL  %s:%d: %s"):format(block.path, block.line, problem))
  else
    passed = passed + 1
    print(("ok    %s:%d"):format(block.path, block.line))
  end
end
os.execute("rm -rf " .. quote(work))
print(("%d passed, %d failed"):format(passed, failed))
os.exit(failed == 0)
