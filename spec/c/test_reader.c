/* SPDX-License-Identifier: MIT
 *
 * test_reader.c - the buffer that streams and files read into. What it gives is compared
 * with what Lua's own file:read gives for the same bytes, however they arrive.
 */
#include "test.h"

#include "reader.h"

/* ---- a reader for Lua ------------------------------------------------------------------ */

static neap__reader *reader_at(lua_State *L) {
  return luaL_checkudata(L, 1, "reader");
}

static int l_gc(lua_State *L) {
  neap__reader_free(lua_touserdata(L, 1));
  return 0;
}

/* reader() */
static int l_reader(lua_State *L) {
  neap__reader *reader = lua_newuserdatauv(L, sizeof *reader, 0);
  neap__reader_init(reader, neap_of(L));
  luaL_setmetatable(L, "reader");
  return 1;
}

/* r:add(bytes) */
static int l_add(lua_State *L) {
  size_t n;
  const char *data = luaL_checklstring(L, 2, &n);
  if (!neap__reader_add(reader_at(L), data, n))
    return luaL_error(L, "not enough memory");
  return 0;
}

/* r:finish(error) */
static int l_finish(lua_State *L) {
  reader_at(L)->eof = true;
  reader_at(L)->error = (int)luaL_optinteger(L, 2, 0);
  return 0;
}

/* r:want(format, ...) */
static int l_want(lua_State *L) {
  neap__reader_want_formats(L, reader_at(L), 2);
  return 0;
}

/* r:ask(what, count) */
static int l_ask(lua_State *L) {
  neap__reader_want(reader_at(L), *luaL_checkstring(L, 2),
                    (size_t)luaL_checkinteger(L, 3));
  return 0;
}

/* r:until_(separator, limit): a literal, or kept by the caller. */
static int l_until(lua_State *L) {
  size_t n;
  const char *separator = luaL_checklstring(L, 2, &n);
  neap__reader_want_until(reader_at(L), separator, n,
                          (size_t)luaL_optinteger(L, 3, NEAP__READ_LIMIT));
  return 0;
}

static int l_ready(lua_State *L) {
  lua_pushboolean(L, neap__reader_ready(reader_at(L)));
  return 1;
}

static int l_missing(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)neap__reader_missing(reader_at(L)));
  return 1;
}

static int l_push(lua_State *L) {
  return neap__reader_push(L, reader_at(L), "read");
}

/* r:state() -> bytes in it, bytes of memory */
static int l_state(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)reader_at(L)->len);
  lua_pushinteger(L, (lua_Integer)reader_at(L)->cap);
  return 2;
}

/* r:limit(n) */
static int l_limit(lua_State *L) {
  reader_at(L)->limit = (size_t)luaL_checkinteger(L, 2);
  return 0;
}

static bool setup(fixture *f) {
  static const luaL_Reg methods[] = {
      {"__gc", l_gc},     {"add", l_add},         {"finish", l_finish},
      {"want", l_want},   {"ask", l_ask},         {"until_", l_until},
      {"ready", l_ready}, {"missing", l_missing}, {"push", l_push},
      {"state", l_state}, {"limit", l_limit},     {NULL, NULL},
  };
  if (!fixture_start(f)) return false;
  luaL_newmetatable(f->L, "reader");
  luaL_setfuncs(f->L, methods, 0);
  lua_pushvalue(f->L, -1);
  lua_setfield(f->L, -2, "__index");
  lua_pop(f->L, 1);
  lua_register(f->L, "reader", l_reader);
  return DO(
      f,
      "function same(a, b, what)\n"
      "  local x, y = table.concat(a, '|', 1, a.n), table.concat(b, '|', 1, "
      "b.n)\n"
      "  if x ~= y or a.n ~= b.n then\n"
      "    error(('%s: got [%s] (%d), not [%s] (%d)'):format(what, x, a.n, y, "
      "b.n), 2)\n"
      "  end\n"
      "end\n"
      "local function shown(v)\n"
      "  return v == nil and 'nil' or math.type(v) and math.type(v) .. v or "
      "'<' .. v .. '>'\n"
      "end\n"
      "function list(...)\n"
      "  local t = table.pack(...)\n"
      "  for i = 1, t.n do t[i] = shown(t[i]) end\n"
      "  return t\n"
      "end\n"
      "-- Reads by formats; `pieces()` is what arrives next, nil at the end.\n"
      "function read(r, pieces, ...)\n"
      "  r:want(...)\n"
      "  while not r:ready() do\n"
      "    local piece = pieces()\n"
      "    if piece then r:add(piece) else r:finish() end\n"
      "  end\n"
      "  return r:push()\n"
      "end\n"
      "function real(data)\n"
      "  local file = io.tmpfile()\n"
      "  file:write(data)\n"
      "  file:seek('set')\n"
      "  return file\n"
      "end\n");
}

/* ---- cases ----------------------------------------------------------------------------- */

/* Each of these texts, read by each of these formats, in two pieces cut at each place. */
static void test_every_cut(void) {
  fixture f;
  REQUIRE(setup(&f));
  DO(&f, "local texts = { '', '\\n', 'one\\ntwo\\n\\nthree', '12 0x1F 1e3 "
         "-7.5\\n', '0x', '1e+',\n"
         "  '  +.5e-3x', '0x.8p1 99', 'abc', '-', '1.2.3', '0xg', "
         "'a\\0b\\n\\0\\n', '1e5e5', '00012',\n"
         "  ('7'):rep(200) .. ' ', ('7'):rep(201) .. ' 5', (' '):rep(50) .. "
         "'3', '9223372036854775808',\n"
         "  '0xp1', '.', '.e1', 'nan inf', '\\t\\v\\f\\r 8' }\n"
         "local formats = { { 'l' }, { 'L' }, { 'a' }, { 'n' }, { 0 }, { 1 }, "
         "{ 3 }, { 1000 }, {},\n"
         "  { 'n', 'n' }, { 'l', 'n', 'L' }, { 2, 'l', 'a' }, { 'a', 'a', 'l' "
         "}, { 0, 'n', 0 },\n"
         "  { '*l', '*n', '*a' }, { 'n', 'l', 'n', 'n' }, { 0, 0, 'l' } }\n"
         "for _, text in ipairs(texts) do\n"
         "  for _, format in ipairs(formats) do\n"
         "    for cut = 0, #text do\n"
         "      local file, r = real(text), reader()\n"
         "      local left = { text:sub(1, cut), text:sub(cut + 1) }\n"
         "      local function pieces() return table.remove(left, 1) end\n"
         "      for _ = 1, 4 do\n"
         "        same(list(read(r, pieces, table.unpack(format))), "
         "list(file:read(table.unpack(format))),\n"
         "          ('%q by %s cut at %d'):format(text, table.concat(format, "
         "','), cut))\n"
         "      end\n"
         "      file:close()\n"
         "    end\n"
         "  end\n"
         "end\n");
  fixture_close(&f);
}

static void test_random(void) {
  fixture f;
  REQUIRE(setup(&f));
  DO(&f, "math.randomseed(4)\n"
         "local letters = '0123456789abxXeEpP.+-   \\n\\n\\n'\n"
         "local kinds = { 'l', 'L', 'n', 'l', 'n', 'a' }\n"
         "for round = 1, 3000 do\n"
         "  local t = {}\n"
         "  for i = 1, math.random(0, 60) do\n"
         "    local n = math.random(#letters)\n"
         "    t[i] = letters:sub(n, n)\n"
         "  end\n"
         "  local text, at = table.concat(t), 1\n"
         "  local function pieces()\n"
         "    if at > #text then return nil end\n"
         "    local n = math.random(0, 9)\n"
         "    at = at + n\n"
         "    return text:sub(at - n, at - 1)\n"
         "  end\n"
         "  local file, r = real(text), reader()\n"
         "  for _ = 1, 12 do\n"
         "    local format = {}\n"
         "    for i = 1, math.random(0, 4) do\n"
         "      format[i] = math.random(3) == 1 and math.random(0, 12) or "
         "kinds[math.random(#kinds)]\n"
         "    end\n"
         "    same(list(read(r, pieces, table.unpack(format))), "
         "list(file:read(table.unpack(format))),\n"
         "      ('round %d: %q by %s'):format(round, text, "
         "table.concat(format, ',')))\n"
         "  end\n"
         "  file:close()\n"
         "end\n");
  fixture_close(&f);
}

static void test_separators(void) {
  fixture f;
  REQUIRE(setup(&f));
  DO(&f,
     "for _, separator in ipairs { ';', '\\r\\n', 'aab', 'xyxyz' } do\n"
     "  local text = 'aa' .. separator .. 'aaaab'  .. separator .. separator "
     ".. 'xyxyxy'\n"
     "  for cut = 0, #text do\n"
     "    local left = { text:sub(1, cut), text:sub(cut + 1) }\n"
     "    local r, from = reader(), 1\n"
     "    while true do\n"
     "      r:until_(separator)\n"
     "      while not r:ready() do\n"
     "        local piece = table.remove(left, 1)\n"
     "        if piece then r:add(piece) else r:finish() end\n"
     "      end\n"
     "      local got, err = r:push()\n"
     "      local _, to = text:find(separator, from, true)\n"
     "      if not to then\n"
     "        assert(got == nil and neap.IncompleteReadError:is(err))\n"
     "        assert(err.partial == text:sub(from) and err.expected == nil)\n"
     "        break\n"
     "      end\n"
     "      assert(got == text:sub(from, to), got)\n"
     "      from = to + 1\n"
     "    end\n"
     "    r:until_(separator)\n"
     "    assert(r:ready() and select('#', r:push()) == 1 and r:push() == "
     "nil)\n"
     "  end\n"
     "end\n");
  fixture_close(&f);
}

static void test_exactly(void) {
  fixture f;
  REQUIRE(setup(&f));
  DO(&f,
     "local r = reader()\n"
     "r:ask('x', 0) assert(r:ready() and r:push() == '')\n"
     "r:ask('x', 5) assert(not r:ready() and r:missing() == 5)\n"
     "r:add('abc') assert(not r:ready() and r:missing() == 2)\n"
     "r:add('defg') assert(r:ready() and r:push() == 'abcde')\n"
     "r:ask('+', 1) assert(r:ready() and r:push() == 'f')\n"
     "r:ask('+', 10) assert(r:ready() and r:push() == 'g')\n"
     "r:ask('+', 10) assert(not r:ready())\n"
     "r:add('xyz') r:finish()\n"
     "r:ask('x', 4) assert(r:ready())\n"
     "local got, err = r:push()\n"
     "assert(got == nil and neap.IncompleteReadError:is(err))\n"
     "assert(err.partial == 'xyz' and err.expected == 4 and r:state() == 0)\n"
     "r:ask('x', 4) assert(r:ready() and r:push() == nil and select('#', "
     "r:push()) == 1)\n"
     "r:ask('+', 4) assert(r:ready() and r:push() == nil)\n"
     "r:ask('x', 0) assert(r:ready() and r:push() == '')\n");
  fixture_close(&f);
}

static void test_limits(void) {
  fixture f;
  REQUIRE(setup(&f));
  DO(&f,
     "local r = reader()\n"
     "r:limit(5)\n"
     "r:add('12345\\n123456')\n"
     "r:want 'l' assert(r:ready() and r:push() == '12345')\n"
     "for _, format in ipairs { 'l', 'L' } do\n"
     "  r:want(format) assert(r:ready())\n"
     "  local got, err = r:push()\n"
     "  assert(got == nil and neap.LimitOverrunError:is(err) and err.consumed "
     "== 6)\n"
     "  assert(r:state() == 6)\n"
     "end\n"
     "r:add '\\n'\n"
     "r:want 'l' assert(r:ready() and neap.LimitOverrunError:is(select(2, "
     "r:push())))\n"
     "r:ask('x', 7) assert(r:ready() and r:push() == '123456\\n')\n"
     "-- what asyncio says of each\n"
     "for _, case in ipairs { { 'abc--', 3 }, { 'abcd--', 3, 4 }, { 'abcd', 3 "
     "},\n"
     "    { 'abcde', 3, 4 }, { 'abc-', 3 }, { 'a--', 1 }, { 'ab--', 1, 2 } } "
     "do\n"
     "  local text, limit, consumed = table.unpack(case, 1, 3)\n"
     "  local q = reader()\n"
     "  q:add(text) q:until_('--', limit)\n"
     "  local found = text:sub(-2) == '--'\n"
     "  assert(q:ready() == (found or consumed ~= nil), text)\n"
     "  if consumed then\n"
     "    local got, err = q:push()\n"
     "    assert(got == nil and neap.LimitOverrunError:is(err) and "
     "err.consumed == consumed, text)\n"
     "    assert(q:state() == #text)\n"
     "  end\n"
     "end\n"
     "local q = reader() q:limit(10) q:add((' '):rep(20)) q:want 'n'\n"
     "assert(q:ready() and neap.LimitOverrunError:is(select(2, q:push())))\n");
  fixture_close(&f);
}

static void test_errors(void) {
  fixture f;
  REQUIRE(setup(&f));
  lua_pushinteger(f.L, UV_ECONNRESET);
  lua_setglobal(f.L, "RESET");
  DO(&f, "local r = reader()\n"
         "r:add 'one\\ntwo'\n"
         "r:finish(RESET)\n"
         "r:want('l') assert(r:ready() and r:push() == 'one')\n"
         "for _, format in ipairs { 'l', 'a', 'n', 9 } do\n"
         "  r:want(format) assert(r:ready())\n"
         "  if format ~= 'n' then\n"
         "    local got, err = r:push()\n"
         "    assert(got == nil and err.code == 'ECONNRESET' and err.op == "
         "'read')\n"
         "    assert(r:state() == 3)\n"
         "  end\n"
         "end\n"
         "r:want(2, 'l') assert(r:ready())\n"
         "assert(r:push() == nil and r:state() == 3)\n"
         "r:ask('+', 9) assert(r:ready() and r:push() == 'two')\n"
         "r:ask('+', 9) assert(r:ready() and select(2, r:push()).code == "
         "'ECONNRESET')\n");
  DO_FAIL(&f, "reader():want('l', 'z')", "invalid format");
  DO_FAIL(&f, "reader():want('')", "invalid format");
  DO_FAIL(&f, "reader():want(-1)", "0 or more");
  DO_FAIL(&f, "reader():want(1.5)", "no integer representation");
  DO_FAIL(&f, "reader():want({})", "string expected");
  DO_FAIL(&f, "reader():want(1, 1, 1, 1, 1, 1, 1, 1, 1)", "too many formats");
  fixture_close(&f);
}

/* A queue that is never empty does not grow; an empty one gives memory back. */
static void test_memory(void) {
  fixture f;
  REQUIRE(setup(&f));
  DO(&f, "local r, n = reader(), 0\n"
         "local block = ('x'):rep(999) .. '\\n'\n"
         "for _ = 1, 10 do r:add(block) end\n"
         "local _, cap = r:state()\n"
         "for _ = 1, 10000 do\n"
         "  r:add(block)\n"
         "  r:want 'l' assert(r:ready() and #r:push() == 999)\n"
         "end\n"
         "local len, now = r:state()\n"
         "assert(len == 10000 and now <= 4 * len, now)\n"
         "r:ask('x', 10000) assert(r:ready()) r:push()\n"
         "len, now = r:state()\n"
         "assert(len == 0 and now == 0)\n"
         "r:add 'small' r:ask('+', 9) r:ready() r:push()\n"
         "len, now = r:state()\n"
         "assert(len == 0 and now > 0 and now <= 1024)\n");
  fixture_close(&f);
}

/* The Nth allocation of a read fails: it raises, or all is as it should be; and then
 * the same read gives the same again. */
static void test_no_memory(void) {
  fixture f;
  REQUIRE(setup(&f));
  DO(&f, "text = ('line\\n'):rep(3) .. ('y'):rep(3000) .. '\\n17 rest'\n"
         "function attempt()\n"
         "  if not r:ready() then return false end\n"
         "  local a, b, c = r:push()\n"
         "  return a == 'line' and #b == 3011 and c == 17\n"
         "end\n"
         "function again()\n"
         "  r = reader() r:add(text) r:want('l', 3011, 'n')\n"
         "end\n");
  bool done = false;
  for (int n = 1; n < 100 && !done; n++) {
    DO(&f, "again()");
    lua_getglobal(f.L, "attempt");
    f.memory.fail_at = f.memory.calls + (size_t)n;
    int status = lua_pcall(f.L, 0, 1, 0);
    f.memory.fail_at = 0;
    if (status == LUA_OK) {
      CHECK(lua_toboolean(f.L, -1));
      done = true;
    } else {
      DO(&f,
         "assert(r:state() == #text) r:want('l', 3011, 'n') assert(attempt())");
    }
    lua_pop(f.L, 1);
  }
  CHECK(done);
  DO(&f, "r = reader() r:add 'abc' big = ('z'):rep(5000)");
  lua_getglobal(f.L, "r");
  lua_getfield(f.L, -1, "add");
  lua_insert(f.L, -2);
  lua_getglobal(f.L, "big");
  f.memory.fail_at = f.memory.calls + 1;
  CHECK(lua_pcall(f.L, 2, 0, 0) != LUA_OK);
  f.memory.fail_at = 0;
  lua_pop(f.L, 1);
  DO(&f,
     "assert(r:state() == 3) r:add(big) r:ask('x', 5003) assert(r:ready())\n"
     "assert(r:push() == 'abc' .. big) r = nil");
  fixture_close(&f);
}

int main(void) {
  static const test_case tests[] = {
      {"formats, the text cut anywhere, as file:read", test_every_cut},
      {"random texts, pieces and formats, as file:read", test_random},
      {"separators that arrive in pieces", test_separators},
      {"exact counts, and what there is", test_exactly},
      {"limits", test_limits},
      {"errors", test_errors},
      {"memory of a queue", test_memory},
      {"allocations that fail", test_no_memory},
  };
  return run_tests(tests, COUNT(tests));
}
