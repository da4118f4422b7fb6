/* SPDX-License-Identifier: MIT
 *
 * oom_packet.c - packets when memory is short: an error, nothing lost, and the next one
 * is as always.
 */
#include "oom_shared.h"

static const char values[] =
    "local core = require 'neap.core.packet'\n"
    "local copy = core.copy\n"
    "local t = {1, 2, x = {y = {}}, s = ('long'):rep(100)}\n"
    "t.self, t[t] = t, t\n"
    "for i = 1, 40 do t[i] = {i, name = 'name' .. i} end\n"
    "local u = copy(t)\n"
    "assert(u.self == u and u[u] == u and u[40].name == 'name40')\n"
    "assert(copy('a', 1, ('b'):rep(1000)) == 'a')\n"
    "local deep = {} for i = 1, 300 do deep = {deep} end\n"
    "assert(copy(deep)[1][1])\n"
    "local bytes = core.pack(t)\n"
    "assert(core.unpack(bytes).x.y)\n";

static const char functions[] =
    "local neap = require 'neap'\n"
    "local core = require 'neap.core.packet'\n"
    "local copy = core.copy\n"
    "local n, list = 0, {}\n"
    "local function add(x) n = n + x list[#list + 1] = neap.sleep return n "
    "end\n"
    "local function get() return n, print, string end\n"
    "local a, b = copy(add, get)\n"
    "assert(a(5) == 5 and b() == 5)\n"
    "core.key()\n"
    "assert(core.unpack(core.pack(add))(1) == 1)\n"
    "local Class = {} Class.__index = Class\n"
    "core.register('Class', Class)\n"
    "assert(getmetatable(copy(setmetatable({}, Class))) == Class)\n"
    "assert(copy(neap.OSError 'x').message == 'x')\n";

static const char refusals[] =
    "local neap = require 'neap'\n"
    "local core = require 'neap.core.packet'\n"
    "local loop = neap.get_event_loop()\n"
    "assert(core.copy({loop, loop})[1] == loop)\n"
    "local co = coroutine.create(print)\n"
    "local ok, e = pcall(core.copy, {loop, x = {y = {co}}})\n"
    "assert(not ok)\n"
    "local ok, e = pcall(core.copy, setmetatable({}, {}))\n"
    "assert(not ok)\n"
    "local e = core.copy_error({co}, 'traceback')\n"
    "assert(type(e) == 'string')\n"
    "local ok, e = pcall(core.unpack, 'NP\\1\\1\\1\\9\\100\\100\\2\\3')\n"
    "assert(not ok)\n";

static bool run_values(fixture *f) {
  return run_booked(f, values);
}
static bool run_functions(fixture *f) {
  return run_booked(f, functions);
}
static bool run_refusals(fixture *f) {
  return run_booked(f, refusals);
}

int main(void) {
  static const scenario list[] = {{"values", run_values},
                                  {"functions", run_functions},
                                  {"values that cannot cross", run_refusals}};
  return sweep_all(list, sizeof list / sizeof *list);
}
