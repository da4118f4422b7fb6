# result and exception of what is pending, returned, raised and cancelled.
def ask(fut):
    for look in fut.result, fut.exception:
        try:
            log("gives", look())
        except (CancelledError, InvalidStateError, Error) as err:
            log("raises", kind(err))
futures = [loop.create_future() for _ in range(4)]
futures[1].set_result("value")
futures[2].set_exception(Error("bad"))
futures[3].cancel()
for fut in futures:
    ask(fut)
