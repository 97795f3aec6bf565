/* SPDX-License-Identifier: MIT */
/* SHA-384; see the header. Pure, and also compiled into guest programs. */
#include "lib/sha384.h"

#include "lib/assert.h"
#include "lib/bits.h"
#include "lib/compiler.h"
#include "lib/string.h"

#define ROUNDS 80
#define WORDS  16 /* of a block */

/* The first 64 bits of the fractional parts of the cube roots of the first 80 primes. */
static const uint64_t round_constants[ROUNDS] = {
    0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc,
    0x3956c25bf348b538, 0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118,
    0xd807aa98a3030242, 0x12835b0145706fbe, 0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2,
    0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235, 0xc19bf174cf692694,
    0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
    0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5,
    0x983e5152ee66dfab, 0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4,
    0xc6e00bf33da88fc2, 0xd5a79147930aa725, 0x06ca6351e003826f, 0x142929670a0e6e70,
    0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed, 0x53380d139d95b3df,
    0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
    0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30,
    0xd192e819d6ef5218, 0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8,
    0x19a4c116b8d2d0c8, 0x1e376c085141ab53, 0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8,
    0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373, 0x682e6ff3d6b2b8a3,
    0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
    0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b,
    0xca273eceea26619c, 0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178,
    0x06f067aa72176fba, 0x0a637dc5a2c898a6, 0x113f9804bef90dae, 0x1b710b35131c471b,
    0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc, 0x431d67c49c100d4c,
    0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817,
};

/* The first 64 bits of the fractional parts of the square roots of the 9th to the 16th prime. */
static const uint64_t initial_state[8] = {
    0xcbbb9d5dc1059ed8, 0x629a292a367cd507, 0x9159015a3070dd17, 0x152fecd8f70e5939,
    0x67332667ffc00b31, 0x8eb44a8768581511, 0xdb0c2e0d64f98fa7, 0x47b5481dbefa4fa4,
};

static inline uint64_t ror(uint64_t x, unsigned bits)
{
    return x >> bits | x << (64 - bits);
}

/* The sum of x rotated right by three numbers, i < j < k, in three rotations and one register. */
static inline uint64_t sum(uint64_t x, unsigned i, unsigned j, unsigned k)
{
    return ror(ror(ror(x, k - j) ^ x, j - i) ^ x, i);
}

/* Word `i` of the block. */
static ALWAYS_INLINE uint64_t sha384_first_word(uint64_t w[WORDS], const uint8_t *block, unsigned i)
{
    __builtin_memcpy(&w[i], block + 8 * i, sizeof(w[i]));
    w[i] = __builtin_bswap64(w[i]);
    return w[i];
}

/* The word of 16 rounds later, in the place of word `i`. IN_REGISTER() has each term added as soon
 * as it is known; the compiler would otherwise keep more terms than there are registers. */
static ALWAYS_INLINE uint64_t sha384_next_word(uint64_t w[WORDS], const uint8_t *block, unsigned i)
{
    uint64_t x = w[(i + 1) % WORDS], y = w[(i + 14) % WORDS];
    uint64_t word = ror(ror(x, 7) ^ x, 1) ^ x >> 7;

    (void)block;
    IN_REGISTER(word);
    word += w[(i + 9) % WORDS];
    IN_REGISTER(word);
    word += ror(ror(y, 42) ^ y, 19) ^ y >> 6;
    IN_REGISTER(word);
    word += w[i];
    w[i] = word;
    return word;
}

/* A round. *h becomes what the next round calls `a`, and *d what it calls `e`: the variables keep
 * their values and change their names. *bc is b ^ c, and becomes that of the next round. */
static ALWAYS_INLINE void sha384_round(uint64_t a, uint64_t b, uint64_t *d, uint64_t e, uint64_t f,
                                       uint64_t g, uint64_t *h, uint64_t *bc, uint64_t word,
                                       uint64_t constant)
{
    uint64_t ab = a ^ b, x = *h + word;

    IN_REGISTER(x);
    x += constant;
    IN_REGISTER(x);
    x += ((f ^ g) & e) ^ g; /* "choose" */
    IN_REGISTER(x);
    x += sum(e, 14, 18, 41);
    IN_REGISTER(x);
    *d += x;
    x += (*bc & ab) ^ b; /* "majority" */
    IN_REGISTER(x);
    *h = x + sum(a, 28, 34, 39);
    *bc = ab;
}

#define ROUND(word, i, a, b, d, e, f, g, h) \
    sha384_round(a, b, &(d), e, f, g, &(h), &bc, word(w, block, i), k[i])

#define EIGHT_ROUNDS(word, i)                      \
    do {                                           \
        ROUND(word, (i) + 0, a, b, d, e, f, g, h); \
        ROUND(word, (i) + 1, h, a, c, d, e, f, g); \
        ROUND(word, (i) + 2, g, h, b, c, d, e, f); \
        ROUND(word, (i) + 3, f, g, a, b, c, d, e); \
        ROUND(word, (i) + 4, e, f, h, a, b, c, d); \
        ROUND(word, (i) + 5, d, e, g, h, a, b, c); \
        ROUND(word, (i) + 6, c, d, f, g, h, a, b); \
        ROUND(word, (i) + 7, b, c, e, f, g, h, a); \
    } while (0)

/* Adds a block to the digest. */
static NOINLINE void sha384_compress(uint64_t digest[8], const uint8_t *block)
{
    uint64_t w[WORDS];
    uint64_t a = digest[0], b = digest[1], c = digest[2], d = digest[3];
    uint64_t e = digest[4], f = digest[5], g = digest[6], h = digest[7], bc = b ^ c;
    const uint64_t *k = round_constants;

    IN_REGISTER(k);
    EIGHT_ROUNDS(sha384_first_word, 0);
    EIGHT_ROUNDS(sha384_first_word, 8);
    while ((k += WORDS) != round_constants + ROUNDS) {
        EIGHT_ROUNDS(sha384_next_word, 0);
        EIGHT_ROUNDS(sha384_next_word, 8);
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

void sha384_init(struct sha384 *sha)
{
    memcpy(sha->state, initial_state, sizeof(sha->state));
    sha->length = 0;
}

void sha384_update(struct sha384 *sha, const void *message, size_t size)
{
    const uint8_t *from = message;

    while (size) {
        size_t held = sha->length % SHA384_BLOCK;
        size_t part = size < SHA384_BLOCK - held ? size : SHA384_BLOCK - held;
        if (part < SHA384_BLOCK)
            memcpy(sha->block + held, from, part);
        if (held + part == SHA384_BLOCK)
            sha384_compress(sha->state, part < SHA384_BLOCK ? sha->block : from);
        sha->length += part;
        from += part;
        size -= part;
    }
}

void sha384_final(struct sha384 *sha, uint8_t digest[SHA384_SIZE])
{
    /* A bit that is 1, zeros, and the length in bits, which is below 2^67, in 16 bytes. */
    static const uint8_t padding[SHA384_BLOCK] = {0x80};
    uint64_t bits[2] = {__builtin_bswap64(sha->length >> 61), __builtin_bswap64(sha->length << 3)};
    size_t held = sha->length % SHA384_BLOCK, end = SHA384_BLOCK - sizeof(bits);

    sha384_update(sha, padding, held < end ? end - held : SHA384_BLOCK + end - held);
    sha384_update(sha, bits, sizeof(bits));
    for (unsigned i = 0; i < SHA384_SIZE / 8; i++) {
        uint64_t word = __builtin_bswap64(sha->state[i]);
        memcpy(digest + 8 * i, &word, sizeof(word));
    }
}

void sha384(const void *message, size_t size, uint8_t digest[SHA384_SIZE])
{
    struct sha384 sha;

    sha384_init(&sha);
    sha384_update(&sha, message, size);
    sha384_final(&sha, digest);
}

static void sha384_hmac_pad(struct sha384 *sha, const uint8_t *key, size_t size, uint8_t with)
{
    uint8_t block[SHA384_BLOCK];

    for (size_t i = 0; i < SHA384_BLOCK; i++)
        block[i] = (uint8_t)((i < size ? key[i] : 0) ^ with);
    sha384_init(sha);
    sha384_update(sha, block, sizeof(block));
}

void sha384_hmac_init(struct sha384_hmac *key, const void *bytes, size_t size)
{
    BUG_ON(size > SHA384_BLOCK);
    sha384_hmac_pad(&key->inner, bytes, size, 0x36);
    sha384_hmac_pad(&key->outer, bytes, size, 0x5c);
}

void sha384_hmac(const struct sha384_hmac *key, const void *message, size_t size,
                 uint8_t digest[SHA384_SIZE])
{
    struct sha384 sha = key->inner;

    sha384_update(&sha, message, size);
    sha384_final(&sha, digest);
    sha = key->outer;
    sha384_update(&sha, digest, SHA384_SIZE);
    sha384_final(&sha, digest);
}
