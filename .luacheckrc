std = "lua54"
max_line_length = 100
-- A leading underscore marks what nobody reads (guards above all).
ignore = { "21./^_", "23./^_" }
files["spec"] = { std = "lua54+busted" }
files["spec/asyncio"] = { read_globals = { "neap", "loop", "start", "now", "log", "kind", "sorted",
  "turns", "finally" } }
exclude_files = { "build" }
