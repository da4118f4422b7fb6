# stop ends the run after the present pass: what was ready then still runs.
def first():
    log("first")
    loop.stop()
    loop.call_soon(log, "in the next run")
    log("stop is not at once", loop.is_running())
loop.call_soon(first)
loop.call_soon(log, "second")
loop.run_forever()
log("stopped", loop.is_running())
loop.call_soon(loop.stop)
loop.run_forever()
