# A future's error that nobody looked at is reported, too.
seen, unseen = loop.create_future(), loop.create_future()
seen.set_exception(Error("seen"))
unseen.set_exception(Error("unseen"))
log(seen.exception())
