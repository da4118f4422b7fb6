/* Included first by `make lint`: Lua's headers do not say which functions never
 * return, and without it clang-tidy follows paths that do not exist. */
#include <lua.h>

#include <lauxlib.h>

__attribute__((noreturn)) int(lua_error)(lua_State *L);
__attribute__((noreturn)) int(luaL_error)(lua_State *L, const char *fmt, ...);
__attribute__((noreturn)) int(luaL_argerror)(lua_State *L, int arg,
                                             const char *extramsg);
__attribute__((noreturn)) int(luaL_typeerror)(lua_State *L, int arg,
                                              const char *tname);
