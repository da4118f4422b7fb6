# In the order of completion; errors are raised where their result is taken.
async def child(name, delay):
    await sleep(delay)
    if name == "bad":
        raise Error(name)
    return name
for next_one in as_completed([child("a", 3), child("b", 1), child("bad", 2)]):
    try:
        log(await next_one, now())
    except Error as err:
        log("raised", err, now())
