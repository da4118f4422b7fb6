# The inner one expires first: the outer block goes on until its own deadline.
try:
    async with timeout(3) as outer:
        try:
            async with timeout(1) as inner:
                await sleep(10)
        except TimeoutError as err:
            log("inner", kind(err), now(), inner.expired(), outer.expired())
        await sleep(10)
except TimeoutError as err:
    log("outer", kind(err), now(), outer.expired())
