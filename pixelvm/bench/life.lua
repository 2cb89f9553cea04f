-- Conway's Life, 128 generations on a torus of 128x128 cells; how many are alive. For Lua 5.3 and later.
local SIDE, GENERATIONS = 128, 128

return function()
  local now, next = bytes(SIDE * SIDE), bytes(SIDE * SIDE)
  for i = 0, SIDE * SIDE - 1 do
    now[i] = (i * i * 31 + i * 7 >> 4 & 0xfffffff) % 3 == 0 and 1 or 0
  end
  for _ = 1, GENERATIONS do
    for y = 0, SIDE - 1 do
      local up, row, down = (y - 1 & SIDE - 1) * SIDE, y * SIDE, (y + 1 & SIDE - 1) * SIDE
      for x = 0, SIDE - 1 do
        local left, right = x - 1 & SIDE - 1, x + 1 & SIDE - 1
        local alive = now[up + left] + now[up + x] + now[up + right] + now[row + left] + now[row + right]
          + now[down + left] + now[down + x] + now[down + right]
        next[row + x] = alive | now[row + x] == 3 and 1 or 0
      end
    end
    now, next = next, now
  end
  local sum = 0
  for i = 0, SIDE * SIDE - 1 do sum = sum + now[i] end
  return sum
end
