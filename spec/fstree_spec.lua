--- neap.fs: folders with what is in them.

local neap = require "neap"
local fs = require "neap.fs"
local helper = require "spec.helper"
local folder = require "spec.support.folder"

local catch, many = helper.catch, helper.many

describe("folders", function()
  local at = folder(before_each, after_each)

  --- Makes files ("a/b"), folders ("a/") and links ("a->target").
  local function make(...)
    for _, name in ipairs { ... } do
      local link, target = name:match "^(.*)%->(.*)$"
      local dir = (link or name):match "^(.*)/"
      if dir then assert(fs.mkdir(at(dir), { parents = true })) end
      if link then
        assert(fs.symlink(target, at(link)))
      elseif name:sub(-1) ~= "/" then
        assert(fs.write_file(at(name), name))
      end
    end
  end

  local function walked(path, opts)
    local list = {}
    for dir, dirs, files in fs.walk(path or at(), opts) do
      list[#list + 1] = dir:sub(#at() + 1) .. ": " .. table.concat(dirs, " ") .. "; "
        .. table.concat(files, " ")
    end
    return list
  end

  it("are made with those above them", function()
    assert.is_true(fs.mkdir(at "a/b/c", { parents = true, mode = 448 }))
    assert.equal(448, fs.stat(at "a/b/c").mode)
    assert.is_true(fs.mkdir(at "a/b/c", { parents = true }))
    assert.is_true(fs.mkdir(at "a//x/./y/", { parents = true }))
    assert.equal("directory", fs.stat(at "a/x/y").type)
    assert.is_true(fs.mkdir("/", { parents = true }))
    assert.equal("ENOENT", select(2, fs.mkdir("", { parents = true })).code)
    assert.is_true(fs.mkdir(at "plain", { mode = 493 }))
  end)

  it("are walked from the top, and links are not followed", function()
    make("b/x", "b/c/y", "a/", "z", "b/up->..", "loop->.")
    assert.same({ ": a b; loop z", "/a: ; ", "/b: c; up x", "/b/c: ; y" }, walked())
    assert.same({ "/: a b; loop z", "/a: ; ", "/b: c; up x", "/b/c: ; y" }, walked(at ""))
  end)

  it("are left out of a walk when they are taken out of the list", function()
    make("a/b/c/", "a/d/e/", "f/g/")
    local list = {}
    for dir, dirs in fs.walk(at()) do
      list[#list + 1] = dir:sub(#at() + 1)
      for i = #dirs, 1, -1 do
        if dirs[i] == "b" or dirs[i] == "g" then table.remove(dirs, i) end
      end
    end
    assert.same({ "", "/a", "/a/d", "/a/d/e", "/f" }, list)
  end)

  it("may vanish, or become links, while they are walked", function()
    make("a/b/", "c/d/", "e/")
    local list = {}
    for dir, dirs in fs.walk(at()) do
      list[#list + 1] = dir:sub(#at() + 1)
      if #dirs == 3 then
        assert(fs.remove(at "a", { recursive = true }))
        assert(fs.remove(at "c", { recursive = true }))
        assert(fs.symlink("/", at "c"))
      end
    end
    assert.same({ "", "/e" }, list)
  end)

  it("that cannot be walked raise, or are told", function()
    assert.equal("ENOENT", catch(function() for _ in fs.walk(at "none") do end end).code)
    local told = {}
    assert.same({}, walked(at "none", { on_error = function(err) told[#told + 1] = err end }))
    assert.equal(1, #told)
    assert.equal(at "none", told[1].path)
    assert.matches("bad option 'on_error'", catch(fs.walk, "x", { on_error = 1 }))
  end)

  it("are not entered where that is forbidden", function()
    make("a/b", "c/d")
    assert(fs.chmod(at "a", 0))
    local forbidden = fs.scandir(at "a") == nil -- root may do everything
    local told = {}
    walked(at(), { on_error = function(err) told[#told + 1] = err.code end })
    local ok, err = fs.remove(at "a", { recursive = true })
    if forbidden then
      assert.same({ "EACCES" }, told)
      assert.is_nil(ok)
      assert.equal("EACCES", err.code)
    end
    fs.chmod(at "a", 448)
  end)

  it("are removed with all that is in them", function()
    make("t/a/b/c/d", "t/a/e", "t/f/", "keep/x", "t/link->../keep",
      "t/file->../keep/x", "t/none->zz")
    assert.equal("ENOTEMPTY", select(2, fs.remove(at "t")).code)
    assert.is_true(fs.remove(at "t", { recursive = true }))
    assert.is_false(fs.exists(at "t"))
    assert.equal("keep/x", fs.read_file(at "keep/x"))
  end)

  it("are removed as what they are: files, links, empty ones", function()
    make("file", "dir/", "target/x", "link->target", "link2->target", "slash/")
    for _, name in ipairs { "file", "dir", "link" } do
      assert.is_true(fs.remove(at(name)))
      assert.is_nil(fs.lstat(at(name)))
    end
    make("file")
    assert.is_true(fs.remove(at "file", { recursive = true }))
    assert.is_true(fs.remove(at "link2/", { recursive = true }))
    assert.is_true(fs.remove(at "slash//", { recursive = true }))
    assert.is_nil(fs.lstat(at "link2"))
    assert.equal("target/x", fs.read_file(at "target/x"))
  end)

  it("are not emptied by a name that the system will not remove", function()
    make("a/b/file")
    for _, name in ipairs { "a/b/.", "a/b/..", "a/b/./" } do
      local ok, err = fs.remove(at(name), { recursive = true })
      assert.is_nil(ok)
      assert.equal("EINVAL", err.code)
    end
    assert.is_true(fs.exists(at "a/b/file"))
  end)

  it("are removed however many there are, and however deep", function()
    local wide = many(1000)
    for i = 1, wide, 10 do make(("wide/%d/x"):format(i)) end
    for i = 1, wide do assert(fs.write_file(at("wide/f" .. i), "")) end
    assert.is_true(fs.remove(at "wide", { recursive = true }))
    -- deeper than a path can name
    local deep = ("/ddd"):rep(900)
    assert(fs.mkdir(at "a" .. deep, { parents = true }))
    assert(fs.mkdir(at "b" .. deep, { parents = true }))
    assert(fs.write_file(at "b/ddd/file", ""))
    assert(fs.mkdir(at "b/ddd/other"))
    assert(fs.rename(at "b", at "a" .. deep .. "/b"))
    local before = helper.descriptors()
    assert.is_true(fs.remove(at "a", { recursive = true }))
    assert.equal(before, helper.descriptors())
    assert.same({}, fs.scandir(at()))
  end)

  it("are removed by several at once", function()
    for round = 1, 3 do
      for i = 1, 40 do make(("t/%d/%d/x"):format(i % 7, i)) end
      local tasks = {}
      for i = 1, 4 do
        tasks[i] = neap.create_task(fs.remove, at "t", { recursive = true })
      end
      for _, task in ipairs(tasks) do
        local ok, err = task:await()
        assert.is_true(ok or err.code == "ENOENT", round .. tostring(err))
      end
      assert.is_false(fs.exists(at "t"))
    end
  end)

  it("that are exchanged for links meanwhile lead nowhere else", function()
    make "keep/x"
    for i = 1, 50 do make(("keep/y%d"):format(i)) end
    local count = #fs.scandir(at "keep")
    for _ = 1, 8 do
      for i = 1, 30 do make(("t/%d/x"):format(i)) end
      local removal = neap.create_task(fs.remove, at "t", { recursive = true })
      for i = 30, 1, -1 do
        if removal:done() then break end
        local name = at("t/" .. i)
        if os.rename(name, at "moved") then
          fs.symlink("../keep", name)
          fs.remove(at "moved", { recursive = true })
        end
      end
      removal:await()
      fs.remove(at "t", { recursive = true })
      assert.equal(count, #fs.scandir(at "keep"))
    end
  end)

  it("can be left half removed by a cancellation, and no descriptor open", function()
    local before = helper.descriptors()
    for i = 1, many(200) do make(("t/%d/x"):format(i)) end
    local task = neap.create_task(fs.remove, at "t", { recursive = true })
    neap.sleep(0)
    task:cancel()
    assert.is_true(helper.is_cancelled(catch(task.await, task)))
    assert.equal(before, helper.descriptors())
    local ok, err = fs.remove(at "t", { recursive = true })
    assert.is_true(ok or err.code == "ENOENT")
  end)
end)
