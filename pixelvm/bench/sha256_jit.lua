-- SHA-256 (FIPS 180-4) of 512 KiB; the first word of the digest. For LuaJIT.
local bit = require("bit")
local band, bor, bxor, bnot, lshift, rshift, ror, tobit =
  bit.band, bit.bor, bit.bxor, bit.bnot, bit.lshift, bit.rshift, bit.ror, bit.tobit
local LENGTH = 524288
local DIGEST = {
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
}
local CONSTANTS = { [0] =
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}

return function()
  local message = bytes(LENGTH + 64)
  for i = 0, LENGTH - 1 do message[i] = band(i * 7 + rshift(i, 8), 255) end
  message[LENGTH] = 0x80
  message[LENGTH + 61] = rshift(LENGTH * 8, 16)
  local digest, w, k = words(8), words(64), words(64)
  for i = 0, 7 do digest[i] = tobit(DIGEST[i + 1]) end
  for i = 0, 63 do k[i] = tobit(CONSTANTS[i]) end
  for block = 0, LENGTH, 64 do
    for i = 0, 15 do
      local at = block + 4 * i
      w[i] = bor(lshift(message[at], 24), lshift(message[at + 1], 16), lshift(message[at + 2], 8), message[at + 3])
    end
    for i = 16, 63 do
      local v, u = w[i - 15], w[i - 2]
      local one = bxor(ror(v, 7), ror(v, 18), rshift(v, 3))
      local two = bxor(ror(u, 17), ror(u, 19), rshift(u, 10))
      w[i] = tobit(w[i - 16] + one + w[i - 7] + two)
    end
    local a, b, c, d, e, f, g, h =
      digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7]
    for i = 0, 63 do
      local one = bxor(ror(e, 6), ror(e, 11), ror(e, 25))
      local first = tobit(h + one + bxor(band(e, f), band(bnot(e), g)) + k[i] + w[i])
      local two = bxor(ror(a, 2), ror(a, 13), ror(a, 22))
      local second = tobit(two + bxor(band(a, b), band(a, c), band(b, c)))
      h, g, f, e, d, c, b, a = g, f, e, tobit(d + first), c, b, a, tobit(first + second)
    end
    digest[0] = tobit(digest[0] + a)
    digest[1] = tobit(digest[1] + b)
    digest[2] = tobit(digest[2] + c)
    digest[3] = tobit(digest[3] + d)
    digest[4] = tobit(digest[4] + e)
    digest[5] = tobit(digest[5] + f)
    digest[6] = tobit(digest[6] + g)
    digest[7] = tobit(digest[7] + h)
  end
  return digest[0] % 2^32
end
