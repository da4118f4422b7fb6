# The debug flag is kept.
loop.set_debug(True)
log(loop.get_debug())
loop.set_debug(False)
log(loop.get_debug())
