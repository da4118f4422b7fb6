# An empty gather gives an empty list.
log(await gather())
log(await gather(*[], return_exceptions=True))
