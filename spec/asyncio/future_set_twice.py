# A future gets one outcome; each way to set another is refused.
def refused(set, *values):
    try:
        set(*values)
    except InvalidStateError as err:
        log(kind(err))
fut = loop.create_future()
fut.set_result("first")
refused(fut.set_result, "second")
refused(fut.set_exception, Error("third"))
log(fut.cancel(), fut.result(), fut.exception())
bad = loop.create_future()
bad.set_exception(Error("x"))
refused(bad.set_result, 1)
log(bad.exception(), bad.cancel(), bad.done(), bad.cancelled())
