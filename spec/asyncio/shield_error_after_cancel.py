# An error of what is shielded, after its caller was cancelled, is reported.
async def child():
    await sleep(2)
    raise Error("nobody sees this")
async def parent():
    await shield(inner)
inner = create_task(child())
task = create_task(parent())
await sleep(1)
task.cancel()
await wait([task])
await sleep(2)
log("end")
