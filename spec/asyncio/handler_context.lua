-- The exception handler gets the loop and a context; it may call the handler by hand, too.
loop:set_exception_handler(function(a_loop, context)
  log(a_loop == loop, context.message, context.exception, context.extra)
end)
loop:call_exception_handler { message = "by hand", exception = neap.Error "e", extra = 5 }
loop:call_exception_handler { message = "alone" }
log "end"
