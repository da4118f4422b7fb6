# wait_for of a shield: it times out, and what is shielded goes on.
inner = create_task(sleep(3, "value"))
try:
    await wait_for(shield(inner), 1)
except TimeoutError as err:
    log(kind(err), now(), inner.done())
log(await inner, now())
