# A task that awaits itself gets an error.
async def child():
    try:
        await current_task()
    except RuntimeError as err:
        log(kind(err))
await create_task(child())
