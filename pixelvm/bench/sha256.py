"""SHA-256 (FIPS 180-4) of 128 KiB, byte i being i * 7 + (i >> 8) & 255; the first word of the digest."""

LENGTH = 131072
WORD = 0xFFFFFFFF
DIGEST = (
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
)
CONSTANTS = (
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
)


def rotated(x: int, n: int) -> int:
    """To the right."""
    return x >> n | x << 32 - n & WORD


def run() -> int:
    """The result."""
    message = bytearray(i * 7 + (i >> 8) & 255 for i in range(LENGTH))
    message += b"\x80" + bytes(55) + (8 * LENGTH).to_bytes(8, "big")
    digest = list(DIGEST)
    w = [0] * 64
    for block in range(0, len(message), 64):
        for i in range(16):
            at = block + 4 * i
            w[i] = message[at] << 24 | message[at + 1] << 16 | message[at + 2] << 8 | message[at + 3]
        for i in range(16, 64):
            v, u = w[i - 15], w[i - 2]
            one = rotated(v, 7) ^ rotated(v, 18) ^ v >> 3
            two = rotated(u, 17) ^ rotated(u, 19) ^ u >> 10
            w[i] = w[i - 16] + one + w[i - 7] + two & WORD
        a, b, c, d, e, f, g, h = digest
        for i in range(64):
            one = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)
            first = h + one + (e & f ^ ~e & g) + CONSTANTS[i] + w[i] & WORD
            two = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)
            second = two + (a & b ^ a & c ^ b & c)
            h, g, f, e, d, c, b, a = g, f, e, d + first & WORD, c, b, a, first + second & WORD
        for i, value in enumerate((a, b, c, d, e, f, g, h)):
            digest[i] = digest[i] + value & WORD
    return digest[0]
