-- sleep(0) lets every ready task run once: tasks take turns.
local function child(name)
  return function()
    for i = 0, 2 do
      log(name, i)
      neap.sleep(0)
    end
  end
end
neap.gather(child "a", child "b", child "c")
log(neap.sleep(0, "value"), neap.sleep(1, "later"), neap.sleep(-1, "negative"), now())
