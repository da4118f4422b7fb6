--- A class whose objects cross to other threads and processes: for specs.

local thread = require "neap.thread"

local M = {}

local Point = {}
Point.__index = Point

function Point:double() return self.x * 2 end

M.Point = Point

function M.new(x) return setmetatable({ x = x }, Point) end

thread.register("spec.support.Point", Point)

return M
