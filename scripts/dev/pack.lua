--- pack.lua OUT FILE...: writes a C file that holds Lua modules, for src/embed.c.
--- lua/neap/x/y.lua becomes the module neap.x.y with the chunk name =neap/x/y.lua.

local out_path = assert(arg[1], "usage: pack.lua OUT FILE...")
local out = {}
local function emit(fmt, ...) out[#out + 1] = fmt:format(...) end

emit "/* Made by scripts/dev/pack.lua; edit the files in lua/ instead. */\n"
emit "#include \"embed.h\"\n\n"

local entries = {}
for i = 2, #arg do
  local path = arg[i]
  local file <close> = assert(io.open(path, "rb"))
  local text = file:read "a"
  local short = path:gsub("^lua/", "")
  local name = short:gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
  -- An array and not a string literal: C limits the length of those.
  emit("static const unsigned char code_%d[] = {", i - 1)
  for at = 1, #text, 20 do
    local bytes = { text:byte(at, at + 19) }
    emit("\n  %s,", table.concat(bytes, ","))
  end
  emit(#text == 0 and "0};\n" or "\n};\n")
  entries[#entries + 1] = { name = name, short = short, n = i - 1, size = #text }
end
table.sort(entries, function(a, b) return a.name < b.name end)

emit "\nconst neap__packed_module neap__packed[] = {\n"
for _, e in ipairs(entries) do
  emit("  {%q, %q, code_%d, %d},\n", e.name, "=" .. e.short, e.n, e.size)
end
-- C has no empty arrays.
emit "  {0, 0, 0, 0}\n};\n"
emit("const size_t neap__packed_count = %d;\n", #entries)

local file <close> = assert(io.open(out_path, "wb"))
assert(file:write(table.concat(out)))
