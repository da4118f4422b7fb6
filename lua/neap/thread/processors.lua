--- How many processors this process may use.

require "neap"

return require "neap.core.worker".processors
