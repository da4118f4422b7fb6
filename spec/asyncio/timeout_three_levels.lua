-- The middle one of three expires: the inner passes it on, the outer does not notice.
neap.create_task(function()
  do
    local outer <close> = neap.timeout(10)
    local middle, inner
    local ok = pcall(function()
      middle = neap.timeout(1)
      local _m <close> = middle
      inner = neap.timeout(5)
      local _i <close> = inner
      neap.sleep(20)
    end)
    if not ok then log(now(), outer:expired(), middle:expired(), inner:expired()) end
    neap.sleep(1)
  end
  log(now(), neap.current_task():cancelling())
end):await()
