-- A future's error that nobody looked at is reported, too.
local seen, unseen = neap.Future(), neap.Future()
seen:set_exception(neap.Error "seen")
unseen:set_exception(neap.Error "unseen")
log(seen:exception())
