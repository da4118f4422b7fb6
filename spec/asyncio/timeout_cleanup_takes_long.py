# Cleanup after the deadline takes its time, and the error comes after it.
try:
    async with timeout(1):
        try:
            await sleep(10)
        finally:
            await sleep(5)
            log("cleaned", now())
except TimeoutError:
    log("left", now())
