-- The product of two 64x64 matrices, added up 32 times over; the sum of its elements.
local SIDE, TIMES = 64, 32

return function()
  local a, b, c = words(SIDE * SIDE), words(SIDE * SIDE), words(SIDE * SIDE)
  for i = 0, SIDE * SIDE - 1 do
    a[i] = i * 7 % 256
    b[i] = i * 13 % 256
  end
  for _ = 1, TIMES do
    for i = 0, SIDE - 1 do
      local row = i * SIDE
      for j = 0, SIDE - 1 do
        local total = 0
        for k = 0, SIDE - 1 do
          total = total + a[row + k] * b[k * SIDE + j]
        end
        c[row + j] = c[row + j] + total
      end
    end
  end
  local sum = 0
  for i = 0, SIDE * SIDE - 1 do sum = sum + c[i] end
  return sum % 2^32
end
