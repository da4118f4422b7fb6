# A closed loop accepts nothing; closing it again is allowed.
loop.close()
loop.close()
log(loop.is_closed(), loop.is_running())
for call in loop.call_soon, lambda f: loop.call_later(1, f), lambda f: loop.call_at(1, f):
    try:
        call(log)
    except RuntimeError as err:
        log(kind(err))
try:
    loop.run_forever()
except RuntimeError as err:
    log(kind(err))
