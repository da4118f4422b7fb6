# The running loop is the current one in callbacks and tasks; outside none runs.
async def child():
    log("task", get_running_loop() is loop, get_event_loop() is loop)
try:
    get_running_loop()
except RuntimeError as err:
    log(kind(err))
loop.call_soon(lambda: log("callback", get_running_loop() is loop))
loop.run_until_complete(child())
log(get_event_loop() is loop)
