# The middle one of three expires: the inner passes it on, the outer does not notice.
async def work():
    async with timeout(10) as outer:
        try:
            async with timeout(1) as middle:
                async with timeout(5) as inner:
                    await sleep(20)
        except TimeoutError:
            log(now(), outer.expired(), middle.expired(), inner.expired())
        await sleep(1)
    log(now(), current_task().cancelling())
await create_task(work())
