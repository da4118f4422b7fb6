# An error of the block leaves as it is, before and after the deadline.
for delay in 1, 3:
    try:
        async with timeout(2) as cm:
            try:
                await sleep(delay)
            finally:
                raise Error("own")
    except Error as err:
        log(err, cm.expired(), current_task().cancelling())
await sleep(1)
log("end")
