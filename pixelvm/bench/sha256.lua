-- SHA-256 (FIPS 180-4) of 512 KiB; the first word of the digest. For Lua 5.3 and later.
local LENGTH = 524288
local WORD = 0xffffffff
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
  for i = 0, LENGTH - 1 do message[i] = i * 7 + (i >> 8) & 255 end
  message[LENGTH] = 0x80
  message[LENGTH + 61] = LENGTH * 8 >> 16
  local digest, w = DIGEST, words(64)
  for block = 0, LENGTH, 64 do
    for i = 0, 15 do
      local at = block + 4 * i
      w[i] = message[at] << 24 | message[at + 1] << 16 | message[at + 2] << 8 | message[at + 3]
    end
    for i = 16, 63 do
      local v, u = w[i - 15], w[i - 2]
      local one = (v >> 7 | v << 25 & WORD) ~ (v >> 18 | v << 14 & WORD) ~ v >> 3
      local two = (u >> 17 | u << 15 & WORD) ~ (u >> 19 | u << 13 & WORD) ~ u >> 10
      w[i] = w[i - 16] + one + w[i - 7] + two & WORD
    end
    local a, b, c, d, e, f, g, h = table.unpack(digest)
    for i = 0, 63 do
      local one = (e >> 6 | e << 26 & WORD) ~ (e >> 11 | e << 21 & WORD) ~ (e >> 25 | e << 7 & WORD)
      local first = h + one + (e & f ~ ~e & g) + CONSTANTS[i] + w[i]
      local two = (a >> 2 | a << 30 & WORD) ~ (a >> 13 | a << 19 & WORD) ~ (a >> 22 | a << 10 & WORD)
      local second = two + (a & b ~ a & c ~ b & c)
      h, g, f, e, d, c, b, a = g, f, e, d + first & WORD, c, b, a, first + second & WORD
    end
    for i, value in ipairs({ a, b, c, d, e, f, g, h }) do digest[i] = digest[i] + value & WORD end
  end
  return digest[1]
end
