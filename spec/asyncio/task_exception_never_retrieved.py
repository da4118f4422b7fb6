# An error that nobody looked at is reported; one that was looked at is not.
async def child(name):
    raise Error(name)
tasks = [create_task(child("unseen")), create_task(child("seen")), create_task(child("by callback"))]
tasks[2].add_done_callback(lambda t: log("callback", t.exception()))
await sleep(0)
log(tasks[1].exception())
await sleep(1)
log("end")
