/* SPDX-License-Identifier: MIT */
/* Makes QR codes; see the header. Pure. Numbers in comments are those of ISO/IEC 18004:2015. */
#include "lib/qr.h"

#include "lib/assert.h"
#include "lib/string.h"

#define LEVEL_L     1u
#define BYTE_MODE   4u
#define FIRST_PAD   0xec
#define SECOND_PAD  0x11
#define BLOCKS_MAX  25u
#define CHECKS_MAX  30u
#define MASKS       8u
#define FINDER      7u  /* size of a finder pattern */
#define CORNER      9u  /* that with its separator and the format information */
#define TIMING      6u  /* the row and the column of the timing patterns */
#define BIG_VERSION 7u  /* from this one on, a symbol holds its version */
#define LONG_COUNT  10u /* from this one on, the number of bytes has 16 bits */

/* Table 9, level L: the blocks of each version, and the check codewords of a block. */
static const struct {
    uint8_t blocks, checks;
} correction[QR_VERSION_MAX] = {
    {1, 7},   {1, 10},  {1, 15},  {1, 20},  {1, 26},  {2, 18},  {2, 20},  {2, 24},
    {2, 30},  {4, 18},  {4, 20},  {4, 24},  {4, 26},  {4, 30},  {6, 22},  {6, 24},
    {6, 28},  {6, 30},  {7, 28},  {8, 28},  {8, 28},  {9, 28},  {9, 30},  {10, 30},
    {12, 26}, {12, 28}, {12, 30}, {13, 30}, {14, 30}, {15, 30}, {16, 30}, {17, 30},
    {18, 30}, {19, 30}, {19, 30}, {20, 30}, {21, 30}, {22, 30}, {24, 30}, {25, 30},
};

/* ---- Modules --------------------------------------------------------------------------------- */

static bool module_get(const struct qr_modules *modules, unsigned x, unsigned y)
{
    return modules->row[y][x / 64] >> x % 64 & 1;
}

static void module_set(struct qr_modules *modules, unsigned x, unsigned y, bool value)
{
    uint64_t bit = 1ull << x % 64, *word = &modules->row[y][x / 64];
    *word = value ? *word | bit : *word & ~bit;
}

static void module_fix(struct qr *qr, unsigned x, unsigned y, bool dark)
{
    module_set(&qr->fixed, x, y, true);
    module_set(&qr->dark, x, y, dark);
}

bool qr_dark(const struct qr *qr, unsigned x, unsigned y)
{
    return module_get(&qr->dark, x, y);
}

/* ---- The function patterns (6.3), and the information about the symbol (7.9, 7.10) ----------- */

static unsigned distance(unsigned a, unsigned b)
{
    return a > b ? a - b : b - a;
}

/* Squares around a centre, as far as the symbol goes: dark, but for the rings at two distances. */
static void fix_squares(struct qr *qr, unsigned x, unsigned y, unsigned reach, unsigned light,
                        unsigned light_too)
{
    for (unsigned row = y > reach ? y - reach : 0; row <= y + reach && row < qr->size; row++)
        for (unsigned at = x > reach ? x - reach : 0; at <= x + reach && at < qr->size; at++) {
            unsigned dx = distance(at, x), dy = distance(row, y), ring = dx > dy ? dx : dy;
            module_fix(qr, at, row, ring != light && ring != light_too);
        }
}

/* Annex E: the number of alignment patterns in a row, and the place of each. They are at even
 * distances from the last one on, but for the first. */
static unsigned alignment_count(unsigned version)
{
    return version == 1 ? 0 : version / 7 + 2;
}

static unsigned alignment_place(unsigned version, unsigned i)
{
    unsigned count = alignment_count(version), last = QR_SIZE(version) - FINDER;
    unsigned step = (last - TIMING + count - 2) / (count - 1);
    step = version == 32 ? 26 : (step + 1) / 2 * 2;
    return i ? last - (count - 1 - i) * step : TIMING;
}

static void fix_alignment(struct qr *qr)
{
    unsigned last = alignment_count(qr->version) - 1;
    for (unsigned i = 0; qr->version > 1 && i <= last; i++)
        for (unsigned j = 0; j <= last; j++) {
            bool in_finder = (i == 0 && j == 0) || (i == 0 && j == last) || (i == last && j == 0);
            if (!in_finder)
                fix_squares(qr, alignment_place(qr->version, i), alignment_place(qr->version, j), 2,
                            1, 1);
        }
}

/* Appends the remainder of the division by the generator polynomial (annexes C and D). */
static uint32_t with_remainder(uint32_t value, unsigned bits, uint32_t generator)
{
    uint32_t rest = value;
    for (unsigned i = 0; i < bits; i++)
        rest = rest << 1 ^ (rest >> (bits - 1) & 1 ? generator : 0);
    return value << bits | (rest & ((1u << bits) - 1));
}

static void fix_format(struct qr *qr, unsigned mask)
{
    uint32_t bits = with_remainder(LEVEL_L << 3 | mask, 10, 0x537) ^ 0x5412;
    unsigned size = qr->size;
    for (unsigned i = 0; i < 15; i++) {
        bool dark = bits >> i & 1;
        unsigned down = i < 6 ? i : i < 8 ? i + 1 : size - 15 + i;
        unsigned left = i < 8 ? size - 1 - i : i == 8 ? 7 : 14 - i;
        module_fix(qr, CORNER - 1, down, dark);
        module_fix(qr, left, CORNER - 1, dark);
    }
    module_fix(qr, CORNER - 1, size - 8, true);
}

static void fix_version(struct qr *qr)
{
    uint32_t bits = with_remainder(qr->version, 12, 0x1f25);
    for (unsigned i = 0; qr->version >= BIG_VERSION && i < 18; i++) {
        module_fix(qr, qr->size - 11 + i % 3, i / 3, bits >> i & 1);
        module_fix(qr, i / 3, qr->size - 11 + i % 3, bits >> i & 1);
    }
}

static void fix_patterns(struct qr *qr)
{
    for (unsigned i = 0; i < qr->size; i++) {
        module_fix(qr, TIMING, i, i % 2 == 0);
        module_fix(qr, i, TIMING, i % 2 == 0);
    }
    fix_squares(qr, FINDER / 2, FINDER / 2, 4, 2, 4);
    fix_squares(qr, qr->size - 1 - FINDER / 2, FINDER / 2, 4, 2, 4);
    fix_squares(qr, FINDER / 2, qr->size - 1 - FINDER / 2, 4, 2, 4);
    fix_alignment(qr);
    fix_format(qr, 0);
    fix_version(qr);
}

/* ---- Codewords (7.4 to 7.6) ------------------------------------------------------------------ */

static unsigned codewords_of(unsigned version)
{
    unsigned size = QR_SIZE(version), count = alignment_count(version);
    unsigned bits = size * size - 3 * 8 * 8 - 2 * (size - 16) - 31;
    if (count)
        bits -= (count * count - 3) * 25 - (count - 2) * 2 * 5;
    if (version >= BIG_VERSION)
        bits -= 2 * 18;
    return bits / 8;
}

static unsigned data_codewords(unsigned version)
{
    return codewords_of(version) -
           (unsigned)correction[version - 1].blocks * correction[version - 1].checks;
}

static unsigned count_digits(unsigned version)
{
    return version < LONG_COUNT ? 2 : 4;
}

size_t qr_capacity(unsigned version)
{
    /* mode, count, and the half of a byte that remains */
    return data_codewords(version) - (1 + count_digits(version) + 1) / 2;
}

struct message {
    const uint8_t *data;
    unsigned version, length;
};

/* The half bytes of the data: mode, number of bytes, bytes, terminator, and padding. As the number
 * of the digits is even, the padding begins with a whole byte. */
static unsigned message_digit(const struct message *m, unsigned i)
{
    unsigned digits = count_digits(m->version);
    if (i == 0)
        return BYTE_MODE;
    if (i <= digits)
        return m->length >> 4 * (digits - i) & 15;
    i -= 1 + digits;
    if (i < 2 * m->length)
        return m->data[i / 2] >> (i % 2 ? 0 : 4) & 15;
    if (i == 2 * m->length)
        return 0;
    i -= 2 * m->length + 1;
    return (i / 2 % 2 ? SECOND_PAD : FIRST_PAD) >> (i % 2 ? 0 : 4) & 15;
}

static uint8_t message_codeword(const struct message *m, unsigned i)
{
    return (uint8_t)(message_digit(m, 2 * i) << 4 | message_digit(m, 2 * i + 1));
}

/* Multiplies in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1. */
static uint8_t gf_multiply(unsigned a, unsigned b)
{
    unsigned product = 0;
    for (unsigned bit = 0x80; bit; bit >>= 1) {
        product = product << 1 ^ (product & 0x80 ? 0x11d : 0);
        product ^= b & bit ? a : 0;
    }
    return (uint8_t)product;
}

/* The generator polynomial of annex A, (x - 1)(x - 2)(x - 4)..., without its leading term. */
static void make_generator(uint8_t *generator, unsigned degree)
{
    memset(generator, 0, degree);
    generator[degree - 1] = 1;
    for (unsigned i = 0, root = 1; i < degree; i++, root = gf_multiply(root, 2))
        for (unsigned at = 0; at < degree; at++) {
            uint8_t next = at + 1 < degree ? generator[at + 1] : 0;
            generator[at] = gf_multiply(generator[at], root) ^ next;
        }
}

/* The codewords of a symbol: the data in `blocks`, of which the last `longer` have one codeword
 * more than `shortest`, and the checks of each. */
struct blocks {
    unsigned blocks, shortest, longer, checks;
    uint8_t check[BLOCKS_MAX][CHECKS_MAX];
};

static unsigned block_start(const struct blocks *b, unsigned block)
{
    unsigned first_long = b->blocks - b->longer;
    return block * b->shortest + (block > first_long ? block - first_long : 0);
}

static void make_blocks(struct blocks *b, const struct message *m)
{
    uint8_t generator[CHECKS_MAX];
    unsigned data = data_codewords(m->version);
    memset(b, 0, sizeof(*b));
    b->blocks = correction[m->version - 1].blocks;
    b->checks = correction[m->version - 1].checks;
    b->shortest = data / b->blocks;
    b->longer = data % b->blocks;
    make_generator(generator, b->checks);
    for (unsigned block = 0; block < b->blocks; block++) {
        uint8_t *check = b->check[block];
        for (unsigned i = block_start(b, block); i < block_start(b, block + 1); i++) {
            uint8_t factor = message_codeword(m, i) ^ check[0];
            memmove(check, check + 1, b->checks - 1);
            check[b->checks - 1] = 0;
            for (unsigned at = 0; at < b->checks; at++)
                check[at] ^= gf_multiply(generator[at], factor);
        }
    }
}

/* The codeword at a place of the final sequence, in which the blocks take turns. */
static uint8_t codeword_at(const struct blocks *b, const struct message *m, unsigned place)
{
    unsigned turns = b->shortest * b->blocks;
    if (place < turns)
        return message_codeword(m, block_start(b, place % b->blocks) + place / b->blocks);
    place -= turns;
    if (place < b->longer)
        return message_codeword(m, block_start(b, b->blocks - b->longer + place) + b->shortest);
    place -= b->longer;
    return b->check[place % b->blocks][place / b->blocks];
}

/* 7.7.3: two columns at a time, upwards and downwards in turns, from the right. */
static void place_codewords(struct qr *qr, const struct message *m)
{
    struct blocks blocks;
    unsigned bit = 0, bits = 8 * codewords_of(qr->version);
    make_blocks(&blocks, m);
    for (unsigned pair = 0; pair < qr->size / 2; pair++) {
        unsigned right = qr->size - 1 - 2 * pair;
        right -= right <= TIMING;
        for (unsigned i = 0; i < 2 * qr->size; i++) {
            unsigned x = right - i % 2, y = pair % 2 ? i / 2 : qr->size - 1 - i / 2;
            if (module_get(&qr->fixed, x, y) || bit >= bits)
                continue;
            module_set(&qr->dark, x, y, codeword_at(&blocks, m, bit / 8) >> (7 - bit % 8) & 1);
            bit++;
        }
    }
}

/* ---- Masks (7.8) ----------------------------------------------------------------------------- */

static bool mask_inverts(unsigned mask, unsigned x, unsigned y)
{
    switch (mask) {
    case 0:
        return (x + y) % 2 == 0;
    case 1:
        return y % 2 == 0;
    case 2:
        return x % 3 == 0;
    case 3:
        return (x + y) % 3 == 0;
    case 4:
        return (y / 2 + x / 3) % 2 == 0;
    case 5:
        return x * y % 2 + x * y % 3 == 0;
    case 6:
        return (x * y % 2 + x * y % 3) % 2 == 0;
    default:
        return ((x + y) % 2 + x * y % 3) % 2 == 0;
    }
}

/* Applies a mask, or removes it again. */
static void apply_mask(struct qr *qr, unsigned mask)
{
    for (unsigned y = 0; y < qr->size; y++)
        for (unsigned x = 0; x < qr->size; x++)
            if (!module_get(&qr->fixed, x, y) && mask_inverts(mask, x, y))
                module_set(&qr->dark, x, y, !module_get(&qr->dark, x, y));
    fix_format(qr, mask);
}

#define WINDOW       0x7ffu
#define FINDER_LEFT  0x05du /* four light modules and 1:1:3:1:1 */
#define FINDER_RIGHT 0x5d0u

/* Table 11 for one row or column: runs of five and more, and what looks like a finder pattern.
 * Outside of the symbol everything is light. */
static unsigned penalty_of_line(const struct qr *qr, unsigned line, bool column)
{
    unsigned penalty = 0, run = 0, window = 0;
    bool last = false;
    for (unsigned i = 0; i < qr->size + QR_QUIET; i++) {
        bool inside = i < qr->size;
        bool dark = inside && (column ? qr_dark(qr, line, i) : qr_dark(qr, i, line));
        run = i && dark == last ? run + 1 : 1;
        if (inside && run >= 5)
            penalty += run == 5 ? 3 : 1;
        last = dark;
        window = (window << 1 | dark) & WINDOW;
        if (window == FINDER_LEFT || window == FINDER_RIGHT)
            penalty += 40;
    }
    return penalty;
}

/* The rest of table 11: blocks of 2 x 2, and the share of dark modules. */
static unsigned penalty_of_area(const struct qr *qr)
{
    unsigned penalty = 0, dark = 0, all = qr->size * qr->size;
    for (unsigned y = 0; y < qr->size; y++)
        for (unsigned x = 0; x < qr->size; x++) {
            dark += qr_dark(qr, x, y);
            if (x && y && qr_dark(qr, x, y) == qr_dark(qr, x - 1, y) &&
                qr_dark(qr, x, y) == qr_dark(qr, x, y - 1) &&
                qr_dark(qr, x, y) == qr_dark(qr, x - 1, y - 1))
                penalty += 3;
        }
    return penalty + distance(20 * dark, 10 * all) / all * 10;
}

static unsigned penalty_of(const struct qr *qr)
{
    unsigned penalty = penalty_of_area(qr);
    for (unsigned line = 0; line < qr->size; line++)
        penalty += penalty_of_line(qr, line, false) + penalty_of_line(qr, line, true);
    return penalty;
}

void qr_encode(struct qr *qr, unsigned version, const void *data, size_t length)
{
    const struct message message = {data, version, (unsigned)length};
    BUG_ON(version - 1 >= QR_VERSION_MAX || length > qr_capacity(version));
    memset(qr, 0, sizeof(*qr));
    qr->version = version;
    qr->size = QR_SIZE(version);
    fix_patterns(qr);
    place_codewords(qr, &message);
    unsigned best = 0, least = ~0u;
    for (unsigned mask = 0; mask < MASKS; mask++) {
        apply_mask(qr, mask);
        unsigned penalty = penalty_of(qr);
        if (penalty < least) {
            least = penalty;
            best = mask;
        }
        apply_mask(qr, mask);
    }
    apply_mask(qr, best);
}
