# What is done already counts; a done error is raised although others are pending.
a, b = loop.create_future(), loop.create_future()
a.set_result(1)
b.set_result(2)
log(await gather(a, b))
bad = loop.create_future()
bad.set_exception(Error("done already"))
pending = loop.create_future()
try:
    await gather(pending, bad)
except Error as err:
    log(err, pending.done(), now())
