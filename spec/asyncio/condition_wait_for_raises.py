# An error of the predicate leaves wait_for with the lock held.
cond = Condition()
def bad():
    raise Error("predicate")
async with cond:
    try:
        await cond.wait_for(bad)
    except Error as err:
        log(err, cond.locked())
log(cond.locked())
