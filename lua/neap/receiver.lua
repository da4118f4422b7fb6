--- The check of every method written in Lua: raises, for whoever called it, unless `self`
--- is an object of `class`, a metatable with __name.
return function(self, class, method)
  if getmetatable(self) ~= class then
    error(("bad argument #1 to '%s' (%s expected, got %s)"):format(method, class.__name,
      type(self)), 3)
  end
end
