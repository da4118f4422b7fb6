--- Random programs (spec/fuzz/program.lua), the same ones every time. When one fails,
--- `build/debug/neap spec/fuzz/program.lua SEED` runs it alone; `make fuzz-smoke` runs
--- many more.

local neap = require "neap"
local test = require "neap.test"
local program = require "spec.fuzz.program"

local PROGRAMS = (os.getenv "NEAP_GC_STRESS" or os.getenv "SEED") and 40 or 100

--- The program from a state of its own of the order, where that is shuffled.
local function run(seed)
  local _order <close> = test.shuffle(os.getenv "SEED" and seed)
  return program.run(seed)
end

describe("random programs", function()
  after_each(function()
    for _, task in ipairs(neap.all_tasks()) do task:cancel() end
    neap.sleep(0)
  end)

  for first = 1, PROGRAMS, 20 do
    it(("end well: seeds %d to %d"):format(first, first + 19), function()
      for seed = first, first + 19 do program.run(seed) end
    end)
  end

  it("do the same when run again", function()
    for seed = 1, 20 do
      local one, two = run(seed), run(seed)
      assert.equal(table.concat(one, "\n"), table.concat(two, "\n"))
    end
  end)
end)
