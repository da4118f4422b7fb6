# run cancels what is left when its function has ended, and waits for the cleanup.
async def left():
    try:
        await sleep(10)
    finally:
        await sleep(1)
        log("cleaned up")
async def main():
    create_task(left())
    await sleep(1)
    log("main ends")
    return "result"
with asyncio.Runner(loop_factory=Loop) as runner:
    result = runner.run(main())
log(result)
log("closed")
