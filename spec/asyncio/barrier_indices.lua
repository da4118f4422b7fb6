-- Each of those that pass gets an index of its own.
local barrier = neap.Barrier(3)
local function child() return barrier:wait() end
log(sorted { neap.gather(child, child, child) })
local one = neap.Barrier(1)
log(one:wait(), one:wait())
