--- A spinner turns while a slow function works, and is cancelled when the answer is
--- there. It draws on stderr, so that the output of the program is the answer alone.

local neap = require "neap"

local function spin(text)
  local _erase <close> = setmetatable({}, {
    __close = function() io.stderr:write "\r\27[K" end, -- also when it is cancelled
  })
  while true do
    for frame in ("|/-\\"):gmatch "." do
      io.stderr:write("\r", frame, " ", text)
      neap.sleep(0.1)
    end
  end
end

local function ask_the_oracle()
  neap.sleep(1) -- a slow server, say
  return 42
end

local spinner = neap.create_task(spin, "thinking")
local answer = ask_the_oracle()

spinner:cancel()
local ok, err = pcall(spinner.await, spinner)
print("The answer is " .. answer)
print("The spinner was " .. (not ok and neap.CancelledError:is(err) and "cancelled" or "lost"))
