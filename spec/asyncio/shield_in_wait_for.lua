-- wait_for of a shield: it times out, and what is shielded goes on.
local inner = neap.create_task(neap.sleep, 3, "value")
local _, err = pcall(neap.wait_for, neap.shield, 1, inner)
log(kind(err), now(), inner:done())
log(inner:await(), now())
