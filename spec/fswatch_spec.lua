--- neap.fs.watch: changes of files and folders.

local neap = require "neap"
local fs = require "neap.fs"
local test = require "neap.test"
local helper = require "spec.helper"
local folder = require "spec.support.folder"

local catch, start, in_task = helper.catch, helper.start, helper.in_task

describe("watching", function()
  local at = folder(before_each, after_each)

  --- The next change as text; fails when there is none for a while.
  local function next_of(watcher)
    local change = neap.wait_for(watcher.next, 40, watcher)
    return change and ("%s %s"):format(change.name, change.event)
  end

  --- All changes up to that of the name "stop", which it makes.
  local function until_stop(watcher, dir)
    assert(fs.write_file((dir or at()) .. "/stop", ""))
    local list = {}
    for change in watcher do
      if change.name == "stop" then break end
      list[#list + 1] = ("%s %s"):format(change.name, change.event)
    end
    return list
  end

  it("tells what happens in a folder, at top level and in a task", function()
    for _, run in ipairs { helper.direct, in_task } do
      run(function()
        local dir = assert(fs.mkdtemp(at "d"))
        local watcher <close> = assert(fs.watch(dir))
        assert.equal(dir, watcher:path())
        assert.equal("<Watcher " .. dir .. ">", tostring(watcher))
        fs.write_file(dir .. "/a", "text")
        assert.equal("a rename", next_of(watcher))
        assert.equal("a change", next_of(watcher))
        fs.rename(dir .. "/a", dir .. "/b")
        assert.equal("a rename", next_of(watcher))
        assert.equal("b rename", next_of(watcher))
        fs.remove(dir .. "/b")
        assert.equal("b rename", next_of(watcher))
      end)
    end
  end)

  it("tells of a change that nobody has asked for yet once", function()
    local watcher <close> = fs.watch(at())
    local file <close> = fs.open(at "a", "w")
    for i = 1, 50 do
      file:write(i)
      file:flush()
      neap.sleep(0)
    end
    assert.same({ "a rename", "a change" }, until_stop(watcher))
    file:write "more"
    file:flush()
    assert.equal("a change", next_of(watcher))
  end)

  it("keeps so many changes, and then tells that there were more", function()
    local watcher <close> = fs.watch(at())
    for i = 1, 400 do
      assert(io.open(at("f" .. i), "w")):close()
      -- A look at the system, which a sleep that is over at once would do without.
      if i % 50 == 0 then assert(fs.exists(at "f1")) end
    end
    local n, over = 0, 0
    for change in watcher do
      if change.event == "overflow" then
        assert.is_nil(change.name)
        over = over + 1
        break
      end
      n = n + 1
    end
    assert.equal(1, over)
    assert.equal(256, n)
    assert.same({}, until_stop(watcher))
  end)

  it("tells of one file, and ends when it is removed", function()
    local path = at "file"
    assert(fs.write_file(path, "one"))
    local list, add = helper.log()
    local task = start(function()
      for change in assert(fs.watch(path)) do add(change.name .. " " .. change.event) end
      add "end"
    end)
    local file <close> = fs.open(path, "a")
    file:write "two"
    file:flush()
    while #list == 0 do neap.sleep(0.001) end
    file:close()
    fs.remove(path)
    neap.wait_for(task, 40)
    assert.equal("file change", list[1])
    assert.equal("file rename", list[#list - 1])
    assert.equal("end", list[#list])
  end)

  it("goes on with a file that was put in the place of the first", function()
    local path = at "file"
    assert(fs.write_file(path, "one"))
    local watcher <close> = fs.watch(path)
    for i = 1, 3 do
      assert(fs.write_file(path, "two" .. i, { atomic = true }))
      local seen
      repeat seen = next_of(watcher) until seen == "file rename"
    end
    local file <close> = fs.open(path, "a")
    file:write "three"
    file:flush()
    local seen
    repeat seen = next_of(watcher) until seen == "file change"
  end)

  it("ends with a folder that is removed", function()
    assert(fs.mkdir(at "dir"))
    local watcher <close> = fs.watch(at "dir")
    fs.remove(at "dir")
    local n = 0
    for _ in watcher do n = n + 1 end
    assert.is_true(n >= 1)
    assert.is_nil(watcher:next())
    assert.matches("closed>$", tostring(watcher))
  end)

  it("refuses what is not there", function()
    local watcher, err = fs.watch(at "none")
    assert.is_nil(watcher)
    assert.equal("ENOENT", err.code)
    assert.equal(at "none", err.path)
    assert.equal("watch", err.op)
    assert.matches("#1 to 'neap.fs.watch' %(string expected, got table%)", catch(fs.watch, {}))
    assert.matches("without zero bytes", catch(fs.watch, "a\0"))
  end)

  it("ends by close, for all who wait and for good", function()
    local watcher = fs.watch(at())
    local first, second = start(watcher.next, watcher), start(watcher.next, watcher)
    watcher:close()
    assert.is_nil(first:await())
    assert.is_nil(second:await())
    assert.is_nil(watcher:next())
    watcher:close()
    for _ in watcher do error "nothing was expected" end
    watcher = fs.watch(at())
    fs.write_file(at "a", "")
    neap.sleep(0.01)
    watcher:close()
    assert.is_nil(watcher:next())
  end)

  it("is closed by the for that uses it", function()
    local kept
    fs.write_file(at "b", "")
    local task = neap.create_task(function()
      local watcher, _, _, closing = assert(fs.watch(at()))
      assert.equal(watcher, closing)
      kept = watcher
      for change in watcher, nil, nil, closing do
        if change.name == "a" then break end
      end
    end)
    neap.sleep(0)
    fs.write_file(at "a", "")
    neap.wait_for(task, 40)
    assert.matches("closed", tostring(kept))
    assert.is_nil(kept:next())
  end)

  it("gives each change to one of those who wait", function()
    local watcher <close> = fs.watch(at())
    local list, add = helper.log()
    local tasks = {}
    for i = 1, 3 do
      tasks[i] = start(function() add(next_of(watcher)) end)
    end
    tasks[2]:cancel()
    assert(io.open(at "a", "w")):close()
    assert(io.open(at "b", "w")):close()
    neap.wait(tasks)
    table.sort(list)
    assert.same({ "a rename", "b rename" }, list)
  end)

  it("loses no change by a cancellation or a time-out", function()
    local watcher <close> = fs.watch(at())
    assert.is_true(neap.TimeoutError:is(catch(neap.wait_for, watcher.next, 0.005, watcher)))
    assert(io.open(at "a", "w")):close()
    test.cancel_sweep(function()
      local own <close> = fs.watch(at())
      neap.create_task(function() assert(io.open(at "b", "w")):close() end)
      own:next()
    end, { limit = 5 })
    assert.equal("a rename", next_of(watcher))
  end)

  it("keeps no program running", function()
    local result = helper.run [[
      local fs = require "neap.fs"
      local w = fs.watch "."
      print(pcall(function() require "neap".run(function() w:next() end) end))
      print(w:path())
    ]]
    assert.matches("belongs to another loop", result.out)
    assert.matches("\n%.\n$", result.out)
  end)

  it("ends with its loop", function()
    local before = helper.descriptors()
    local watcher
    neap.run(function()
      watcher = fs.watch(at())
      neap.create_task(watcher.next, watcher)
      neap.sleep(0)
    end)
    assert.is_nil(watcher:next())
    assert.equal(before, helper.descriptors())
    watcher:close()
    assert.matches("Watcher expected, got string", catch(watcher.next, "x"))
  end)
end)
