# The exception handler gets the loop and a context; it may call the handler by hand, too.
def handler(a_loop, context):
    log(a_loop is loop, context["message"], context.get("exception"), context.get("extra"))
loop.set_exception_handler(handler)
loop.call_exception_handler({"message": "by hand", "exception": Error("e"), "extra": 5})
loop.call_exception_handler({"message": "alone"})
log("end")
