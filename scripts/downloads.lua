--- A pool of 4 workers fetches 20 files. The downloads are simulated: a sleep that is as
--- long as the file is large. The line that shows the progress is on stderr.

local neap = require "neap"

local FILES, WORKERS = 20, 4

local function download(number)
  local kilobytes = 10 + number * 7 % 11 * 10
  neap.sleep(kilobytes / 1000)
  return kilobytes
end

local sizes, finished = {}, 0
local active, most = 0, 0

local function show_progress()
  local width = 30
  local filled = finished * width // FILES
  io.stderr:write(("\r[%s%s] %d/%d"):format(("#"):rep(filled), (" "):rep(width - filled),
    finished, FILES))
end

local last = 0

local function next_file()
  last = last + 1
  return last <= FILES and last or nil
end

--- Takes the next file as soon as it is through with one.
local function worker()
  for number in next_file do
    active = active + 1
    most = math.max(most, active)
    sizes[number] = download(number)
    active = active - 1
    finished = finished + 1
    show_progress()
  end
end

local workers = {}
for i = 1, WORKERS do workers[i] = neap.create_task(worker) end
neap.gather(workers)
io.stderr:write "\n"

local total = 0
for number = 1, FILES do total = total + sizes[number] end
print(("%d files, %d kB, at most %d downloads at a time"):format(finished, total, most))
