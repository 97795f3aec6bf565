/* SPDX-License-Identifier: MIT */
#include "lib/sha256.h"

#include "lib/string.h"

#define BLOCK  64
#define ROUNDS 64

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t sha256_constants[ROUNDS] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t ror(uint32_t x, unsigned bits)
{
    return x >> bits | x << (32 - bits);
}

static void sha256_expand(uint32_t w[ROUNDS], const uint8_t *block)
{
    for (unsigned i = 0; i < 16; i++) {
        __builtin_memcpy(&w[i], block + 4 * i, sizeof(w[i]));
        w[i] = __builtin_bswap32(w[i]);
    }
    for (unsigned i = 16; i < ROUNDS; i++) {
        uint32_t x = w[i - 15], y = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (ror(x, 7) ^ ror(x, 18) ^ x >> 3) +
               (ror(y, 17) ^ ror(y, 19) ^ y >> 10);
    }
}

static void sha256_compress(uint32_t digest[8], const uint8_t *block)
{
    uint32_t w[ROUNDS];
    uint32_t a = digest[0], b = digest[1], c = digest[2], d = digest[3];
    uint32_t e = digest[4], f = digest[5], g = digest[6], h = digest[7];

    sha256_expand(w, block);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint32_t first = h + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + ((e & f) ^ (~e & g)) +
                         sha256_constants[i] + w[i];
        uint32_t second = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g;
        g = f;
        f = e;
        e = d + first;
        d = c;
        c = b;
        b = a;
        a = first + second;
    }
    digest[0] += a;
    digest[1] += b;
    digest[2] += c;
    digest[3] += d;
    digest[4] += e;
    digest[5] += f;
    digest[6] += g;
    digest[7] += h;
}

void sha256(const void *message, size_t size, uint8_t digest[SHA256_SIZE])
{
    /* The first 32 bits of the fractional parts of the square roots of the first 8 primes. */
    uint32_t state[8] = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
    };
    const size_t rest = size % BLOCK, tail = rest < BLOCK - 8 ? BLOCK : 2 * BLOCK;
    const uint64_t bits = __builtin_bswap64((uint64_t)size << 3);
    uint8_t end[2 * BLOCK] = {0};

    for (size_t i = 0; i < size - rest; i += BLOCK)
        sha256_compress(state, (const uint8_t *)message + i);
    memcpy(end, (const uint8_t *)message + size - rest, rest);
    end[rest] = 0x80;
    memcpy(end + tail - sizeof(bits), &bits, sizeof(bits));
    for (size_t i = 0; i < tail; i += BLOCK)
        sha256_compress(state, end + i);
    for (unsigned i = 0; i < 8; i++) {
        uint32_t word = __builtin_bswap32(state[i]);
        memcpy(digest + 4 * i, &word, sizeof(word));
    }
}
