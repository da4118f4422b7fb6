# A time-out for each try: what expires once has no effect on the next.
for n in range(1, 4):
    try:
        async with timeout(2):
            await sleep(4 - n)
            log("try", n, "ends", now())
    except TimeoutError:
        log("try", n, "times out", now())
