/* SHA-256 (FIPS 180-4) of 512 KiB, byte i being i * 7 + (i >> 8) & 255; the first word of the digest. */
#include "bench.h"

enum { LENGTH = 524288 };
static uint32_t digest[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};
static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};
static uint8_t message[LENGTH + 64];
static uint32_t w[64];

static uint32_t rotated(uint32_t x, int n) { return x >> n | x << (32 - n); }

static uint32_t run(void) {
    for (uint32_t i = 0; i < LENGTH; i++) message[i] = i * 7 + (i >> 8);
    message[LENGTH] = 0x80;
    message[LENGTH + 61] = LENGTH * 8 >> 16;
    for (uint32_t block = 0; block <= LENGTH; block += 64) {
        for (uint32_t i = 0; i < 16; i++) {
            const uint8_t *at = message + block + 4 * i;
            w[i] = (uint32_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
        }
        for (uint32_t i = 16; i < 64; i++) {
            uint32_t v = w[i - 15], u = w[i - 2];
            uint32_t one = rotated(v, 7) ^ rotated(v, 18) ^ v >> 3;
            uint32_t two = rotated(u, 17) ^ rotated(u, 19) ^ u >> 10;
            w[i] = w[i - 16] + one + w[i - 7] + two;
        }
        uint32_t a = digest[0], b = digest[1], c = digest[2], d = digest[3];
        uint32_t e = digest[4], f = digest[5], g = digest[6], h = digest[7];
        for (uint32_t i = 0; i < 64; i++) {
            uint32_t one = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25);
            uint32_t first = h + one + (e & f ^ ~e & g) + constants[i] + w[i];
            uint32_t two = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22);
            uint32_t second = two + (a & b ^ a & c ^ b & c);
            h = g, g = f, f = e, e = d + first, d = c, c = b, b = a, a = first + second;
        }
        digest[0] += a, digest[1] += b, digest[2] += c, digest[3] += d;
        digest[4] += e, digest[5] += f, digest[6] += g, digest[7] += h;
    }
    return digest[0];
}
