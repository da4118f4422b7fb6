# put into a queue with room, and get of what is there, let nobody else run.
queue = Queue()
loop.call_soon(log, "callback")
for n in range(3):
    await queue.put(n)
log([await queue.get() for _ in range(3)])
log("before the callback")
await sleep(0)
