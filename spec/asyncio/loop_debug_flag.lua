-- The debug flag is kept.
loop:set_debug(true)
log(loop:get_debug())
loop:set_debug(false)
log(loop:get_debug())
