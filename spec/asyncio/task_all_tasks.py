# all_tasks has what is not done, the running task included.
async def child(delay):
    await sleep(delay)
current_task().set_name("main")
for n in range(1, 4):
    create_task(child(n), name=f"child {n}")
log(all_tasks())
await sleep(1.5)
log(all_tasks())
await sleep(2)
log(all_tasks())
