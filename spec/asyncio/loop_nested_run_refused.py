# A loop that runs cannot be run again, nor closed; another one cannot be run inside.
other = Loop()
def inside():
    for call in loop.run_forever, loop.close, other.run_forever:
        try:
            call()
        except RuntimeError as err:
            log(kind(err))
    loop.stop()
loop.call_soon(inside)
loop.run_forever()
log(loop.is_closed())
other.close()
log(other.is_closed(), other.is_running())
