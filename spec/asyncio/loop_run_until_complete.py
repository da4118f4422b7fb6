# Gives the result or raises the error; what else was scheduled stays for the next run.
async def child():
    loop.call_later(1, log, "left over")
    log("runs")
    return "value"
async def bad():
    raise Error("bad")
log(loop.is_running(), loop.run_until_complete(child()))
try:
    loop.run_until_complete(bad())
except Error as err:
    log(err)
log(loop.run_until_complete(sleep(2, "slept")), now())
