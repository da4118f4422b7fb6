# As long as something is ready, no deadline is skipped to.
loop.call_later(0.001, log, "timer")
await turns(50)
log("50 turns", now())
await sleep(0.001)
log("slept", now())
