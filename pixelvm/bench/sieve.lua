-- How many primes there are below 500,000, by the sieve of Eratosthenes, four times over.
local LIMIT, TIMES = 500000, 4

return function()
  local flags = bytes(LIMIT)
  local count = 0
  for _ = 1, TIMES do
    for i = 0, LIMIT - 1 do flags[i] = 0 end
    local i = 2
    while i * i < LIMIT do
      if flags[i] == 0 then
        local j = i * i
        while j < LIMIT do
          flags[j] = 1
          j = j + i
        end
      end
      i = i + 1
    end
    for i = 2, LIMIT - 1 do
      if flags[i] == 0 then count = count + 1 end
    end
  end
  return count
end
