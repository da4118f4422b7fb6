# With return_exceptions a cancelled child is a value.
child = create_task(sleep(10))
loop.call_later(1, child.cancel)
list = await gather(child, sleep(2, "slept"), return_exceptions=True)
log(kind(list[0]), list[1], now())
