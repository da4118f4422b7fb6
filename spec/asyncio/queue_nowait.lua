-- put_nowait and get_nowait raise instead of waiting.
local queue = neap.Queue(1)
local _, err = pcall(queue.get_nowait, queue)
log(kind(err))
queue:put_nowait "item"
_, err = pcall(queue.put_nowait, queue, "too much")
log(kind(err))
log(queue:get_nowait(), queue:empty())
