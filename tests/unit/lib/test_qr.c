/* SPDX-License-Identifier: MIT */
/* QR codes (N97). tests/target/test_qr.py has zbarimg read symbols of all versions; here is what a
 * reader that corrects errors does not notice. Numbers in comments are those of ISO/IEC 18004:2015.
 */
#include "tests/unit/support.h"

#include "lib/qr.h"

#include <stdlib.h>
#include <string.h>

static struct qr qr;

/* Table 7, level L, bytes. */
static void capacities(void **state)
{
    static const struct {
        unsigned version, bytes;
    } known[] = {{1, 17},   {2, 32},   {5, 106},   {6, 134},   {7, 154},   {9, 230},  {10, 271},
                 {14, 458}, {20, 858}, {25, 1273}, {27, 1465}, {32, 1952}, {40, 2953}};
    (void)state;
    for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        assert_int_equal(qr_capacity(known[i].version), known[i].bytes);
}

static unsigned format_of(const struct qr *symbol)
{
    unsigned bits = 0;
    for (unsigned i = 0; i < 15; i++) { /* figure 25: left of and above the upper left corner */
        unsigned x = i < 8 ? 8 : i == 8 ? 7 : 14 - i;
        unsigned y = i < 6 ? i : i < 8 ? i + 1 : 8;
        bits |= (unsigned)qr_dark(symbol, x, y) << i;
    }
    return bits;
}

static unsigned other_format_of(const struct qr *symbol)
{
    unsigned bits = 0;
    for (unsigned i = 0; i < 15; i++)
        bits |= (unsigned)(i < 8 ? qr_dark(symbol, symbol->size - 1 - i, 8)
                                 : qr_dark(symbol, 8, symbol->size - 15 + i))
                << i;
    return bits;
}

/* Table C.1, the rows of level L. */
static const unsigned formats[8] = {0x77c4, 0x72f3, 0x7daa, 0x789d, 0x662f, 0x6318, 0x6c41, 0x6976};

static unsigned mask_of(const struct qr *symbol)
{
    for (unsigned mask = 0; mask < 8; mask++)
        if (formats[mask] == format_of(symbol))
            return mask;
    fail_msg("format %#x is not in table C.1", format_of(symbol));
    return 8;
}

static void make(unsigned version, unsigned seed)
{
    char data[2953];
    srandom(seed);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (char)random();
    qr_encode(&qr, version, data, qr_capacity(version) - seed % 4);
}

static void format_information(void **state)
{
    unsigned met = 0;
    (void)state;
    for (unsigned seed = 0; seed < 40; seed++) {
        make(1 + seed % 9, seed);
        met |= 1u << mask_of(&qr);
        assert_int_equal(other_format_of(&qr), format_of(&qr));
        assert_true(qr_dark(&qr, 8, qr.size - 8));
    }
    assert_int_equal(met, 0xff);
}

/* Table D.1. */
static void version_information(void **state)
{
    static const unsigned known[][2] = {{7, 0x07c94}, {10, 0x0a4d3}, {25, 0x191e1}, {40, 0x28c69}};
    (void)state;
    for (unsigned n = 0; n < 4; n++) {
        make(known[n][0], n);
        for (unsigned i = 0; i < 18; i++) {
            assert_int_equal(qr_dark(&qr, qr.size - 11 + i % 3, i / 3), known[n][1] >> i & 1);
            assert_int_equal(qr_dark(&qr, i / 3, qr.size - 11 + i % 3), known[n][1] >> i & 1);
        }
    }
}

/* Annex E: rows of the table. Each place is the centre of a light ring in a dark one. */
static void alignment_patterns(void **state)
{
    static const unsigned known[][8] = {
        {2, 6, 18},
        {7, 6, 22, 38},
        {15, 6, 26, 48, 70},
        {25, 6, 32, 58, 84, 110},
        {32, 6, 34, 60, 86, 112, 138},
        {36, 6, 24, 50, 76, 102, 128, 154},
        {40, 6, 30, 58, 86, 114, 142, 170},
    };
    (void)state;
    for (unsigned n = 0; n < sizeof(known) / sizeof(known[0]); n++) {
        const unsigned *at = &known[n][1];
        unsigned count = known[n][0] / 7 + 2;
        make(known[n][0], n);
        for (unsigned i = 0; i < count; i++)
            for (unsigned j = 0; j < count; j++)
                for (unsigned dx = 0;
                     dx < 5 && (i || j) && (i || j < count - 1) && (j || i < count - 1); dx++)
                    for (unsigned dy = 0; dy < 5; dy++) {
                        bool ring = dx % 4 == 0 || dy % 4 == 0, centre = dx == 2 && dy == 2;
                        assert_int_equal(qr_dark(&qr, at[i] + dx - 2, at[j] + dy - 2),
                                         ring || centre);
                    }
    }
}

/* ---- The masks --------------------------------------------------------------------------------*/

/* Table 10, with i for the row and j for the column as there. */
static bool inverts(unsigned mask, unsigned i, unsigned j)
{
    const bool all[] = {(i + j) % 2 == 0,
                        i % 2 == 0,
                        j % 3 == 0,
                        (i + j) % 3 == 0,
                        (i / 2 + j / 3) % 2 == 0,
                        i * j % 2 + i * j % 3 == 0,
                        (i * j % 2 + i * j % 3) % 2 == 0,
                        ((i + j) % 2 + i * j % 3) % 2 == 0};
    return all[mask];
}

static bool is_fixed(const struct qr *symbol, unsigned x, unsigned y)
{
    return symbol->fixed.row[y][x / 64] >> x % 64 & 1;
}

#define SIDE 177
#define ROOM 4 /* light modules around, where a finder pattern may begin */

/* The modules with another mask than the symbol has, in the middle of light ones. */
static char picture[SIDE + 2 * ROOM][SIDE + 2 * ROOM];

static void draw_with(unsigned mask)
{
    unsigned now = mask_of(&qr);
    memset(picture, '0', sizeof(picture));
    for (unsigned y = 0; y < qr.size; y++)
        for (unsigned x = 0; x < qr.size; x++) {
            bool dark = qr_dark(&qr, x, y);
            if (!is_fixed(&qr, x, y))
                dark ^= inverts(now, y, x) ^ inverts(mask, y, x);
            picture[y + ROOM][x + ROOM] = (char)('0' + dark);
        }
    for (unsigned i = 0; i < 15; i++) {
        unsigned x = i < 8 ? 8 : i == 8 ? 7 : 14 - i, y = i < 6 ? i : i < 8 ? i + 1 : 8;
        char bit = (char)('0' + (formats[mask] >> i & 1));
        picture[y + ROOM][x + ROOM] = bit;
        if (i < 8)
            picture[8 + ROOM][qr.size - 1 - i + ROOM] = bit;
        else
            picture[qr.size - 15 + i + ROOM][8 + ROOM] = bit;
    }
}

static unsigned penalty_of_text(const char *line, unsigned size)
{
    unsigned penalty = 0;
    for (unsigned i = 0; i < size;) {
        unsigned run = 1;
        while (i + run < size && line[ROOM + i + run] == line[ROOM + i])
            run++;
        penalty += run >= 5 ? 3 + run - 5 : 0;
        i += run;
    }
    for (unsigned i = 0; i + 11 <= size + 2 * ROOM; i++)
        if (!strncmp(line + i, "10111010000", 11) || !strncmp(line + i, "00001011101", 11))
            penalty += 40;
    return penalty;
}

/* Table 11, as it is written. */
static unsigned penalty(void)
{
    unsigned sum = 0, dark = 0, all = qr.size * qr.size;
    char column[SIDE + 2 * ROOM + 1] = "";
    for (unsigned at = ROOM; at < ROOM + qr.size; at++) {
        for (unsigned y = 0; y < qr.size + 2 * ROOM; y++)
            column[y] = picture[y][at];
        sum += penalty_of_text(column, qr.size) + penalty_of_text(picture[at], qr.size);
        for (unsigned x = ROOM; x < ROOM + qr.size; x++) {
            const char *here = &picture[at][x], *below = &picture[at + 1][x];
            dark += here[0] == '1';
            if (at + 1 < ROOM + qr.size && x + 1 < ROOM + qr.size && here[0] == here[1] &&
                here[0] == below[0] && here[0] == below[1])
                sum += 3;
        }
    }
    double percent = 100.0 * dark / all;
    return sum + 10 * (unsigned)((percent > 50 ? percent - 50 : 50 - percent) / 5);
}

static void the_best_mask(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 40; seed++) {
        make(1 + seed % 12, seed);
        draw_with(mask_of(&qr));
        unsigned chosen = penalty();
        for (unsigned mask = 0; mask < 8; mask++) {
            draw_with(mask);
            assert_true(mask < mask_of(&qr) ? penalty() > chosen : penalty() >= chosen);
        }
    }
}

/* ---- The codewords ----------------------------------------------------------------------------*/

/* Reads the codewords of a symbol of one block. */
static unsigned read_codewords(uint8_t *to)
{
    unsigned bit = 0, mask = mask_of(&qr), y = qr.size - 1;
    bool up = true;
    for (unsigned right = qr.size - 1; right < qr.size; right -= right == 8 ? 3 : 2, up = !up) {
        for (; y < qr.size; y += up ? -1u : 1u)
            for (unsigned x = right; x + 2 > right && x < qr.size; x--)
                if (!is_fixed(&qr, x, y)) {
                    to[bit / 8] =
                        (uint8_t)(to[bit / 8] << 1 | (qr_dark(&qr, x, y) ^ inverts(mask, y, x)));
                    bit++;
                }
        y += up ? 1u : -1u;
    }
    return bit / 8;
}

static uint8_t power[255], logarithm[256];

static uint8_t times(uint8_t a, uint8_t b)
{
    return a && b ? power[(logarithm[a] + logarithm[b]) % 255] : 0;
}

/* Annex A: the code polynomial of a block is 0 at the first powers of 2, as many as there are check
 * codewords. */
static void checks(void **state)
{
    static const unsigned count[] = {7, 10, 15, 20, 26};
    (void)state;
    for (unsigned i = 0, value = 1; i < 255; i++) {
        power[i] = (uint8_t)value;
        logarithm[value] = (uint8_t)i;
        value = value << 1 ^ (value & 0x80 ? 0x11d : 0);
    }
    for (unsigned version = 1; version <= 5; version++) {
        uint8_t words[200] = {0};
        make(version, version);
        unsigned all = read_codewords(words);
        for (unsigned root = 0; root < count[version - 1]; root++) {
            uint8_t sum = 0;
            for (unsigned i = 0; i < all; i++)
                sum = times(sum, power[root]) ^ words[i];
            assert_int_equal(sum, 0);
        }
    }
}

/* 7.4: mode, number of bytes, bytes, terminator, padding. */
static void the_message(void **state)
{
    static const uint8_t expected[19] = {0x40, 0x34, 0x16, 0x26, 0x30, 0xec, 0x11, 0xec, 0x11, 0xec,
                                         0x11, 0xec, 0x11, 0xec, 0x11, 0xec, 0x11, 0xec, 0x11};
    uint8_t words[200] = {0};
    (void)state;
    qr_encode(&qr, 1, "Abc", 3);
    assert_int_equal(read_codewords(words), 26);
    assert_memory_equal(words, expected, sizeof(expected));
}

static void what_does_not_fit(void **state)
{
    (void)state;
    expect_assert_failure(qr_encode(&qr, 1, "", 18));
    expect_assert_failure(qr_encode(&qr, 0, "", 0));
    expect_assert_failure(qr_encode(&qr, 41, "", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(capacities),          cmocka_unit_test(format_information),
        cmocka_unit_test(version_information), cmocka_unit_test(alignment_patterns),
        cmocka_unit_test(the_best_mask),       cmocka_unit_test(checks),
        cmocka_unit_test(the_message),         cmocka_unit_test(what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
