--- What the fuzzers share.

--- A generator of numbers from 1 to n that are the same everywhere.
return function(seed)
  local state = seed * 2654435761 + 1
  return function(n)
    state = state * 6364136223846793005 + 1442695040888963407
    return (state >> 33) % n + 1
  end
end
