# put_nowait and get_nowait raise instead of waiting.
queue = Queue(1)
try:
    queue.get_nowait()
except QueueEmpty as err:
    log(kind(err))
queue.put_nowait("item")
try:
    queue.put_nowait("too much")
except QueueFull as err:
    log(kind(err))
log(queue.get_nowait(), queue.empty())
