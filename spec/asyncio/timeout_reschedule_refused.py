# After it has expired, and after its block, it cannot be rescheduled.
async with timeout(5) as left:
    pass
def refused(cm):
    try:
        cm.reschedule(start + 100)
    except (AssertionError, RuntimeError):
        log("refused", cm.expired())
refused(left)
try:
    async with timeout(1) as cm:
        try:
            await sleep(10)
        finally:
            refused(cm)
except TimeoutError:
    refused(cm)
