# wait and notify without the lock are errors.
cond = Condition()
try:
    await cond.wait()
except RuntimeError as err:
    log(kind(err))
for call in cond.notify, cond.notify_all, cond.release:
    try:
        call()
    except RuntimeError as err:
        log(kind(err))
