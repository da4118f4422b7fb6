-- A time-out for each try: what expires once has no effect on the next.
for n = 1, 3 do
  local ok = pcall(function()
    local _t <close> = neap.timeout(2)
    neap.sleep(4 - n)
    log("try", n, "ends", now())
  end)
  if not ok then log("try", n, "times out", now()) end
end
