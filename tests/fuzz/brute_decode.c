/* SPDX-License-Identifier: MIT */
/*
 * Compares the decoder with Zydis on as many inputs as there is time for:
 *
 *   brute_decode exhaust    every opcode of every map, with every ModRM, with sets of prefixes
 *   brute_decode random N   N random inputs, most of them near a row of the table
 *   brute_decode corpus D   an input for each row into the folder D, for tests/fuzz/corpus
 *
 * Each input is decoded as 16, 32 and 64-bit code. The program prints the first difference of each
 * opcode, and the number of differences.
 */
#include "tests/unit/mmio/mmio_zydis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long differences;

static uint64_t random64(void)
{
    static uint64_t state;
    if (!state) {
        const char *seed = getenv("SEED");
        state = seed ? strtoull(seed, NULL, 0) : 1;
        printf("SEED=%lu\n", state);
    }
    uint64_t z = state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static void compare(const uint8_t *bytes, unsigned count, enum code_size code)
{
    const char *what = zydis_compare(bytes, count, code);
    if (!what)
        return;
    static const char *last;
    static unsigned repeated;
    differences++;
    repeated = what == last ? repeated + 1 : 0;
    last = what;
    if (repeated < 3) {
        printf("%s, %u-bit code, %u bytes:", what, 16u << code, count);
        for (unsigned i = 0; i < count; i++)
            printf(" %02x", bytes[i]);
        printf("\n");
    }
}

/* ---- Every opcode and ModRM ------------------------------------------------------------------ */

struct prefix {
    unsigned size;
    uint8_t bytes[4];
    bool only_64;
};

static const struct prefix prefixes[] = {
    {0, {0}, false},          {1, {0x66}, false},       {1, {0xf3}, false},
    {1, {0xf2}, false},       {1, {0xf0}, false},       {1, {0x67}, false},
    {1, {0x2e}, false},       {1, {0x36}, false},       {1, {0x65}, false},
    {2, {0x66, 0xf3}, false}, {2, {0xf2, 0x66}, false}, {2, {0xf2, 0xf3}, false},
    {2, {0xf3, 0xf2}, false}, {2, {0x66, 0xf0}, false}, {2, {0xf0, 0xf3}, false},
    {2, {0xf0, 0xf2}, false}, {2, {0x66, 0x67}, false}, {2, {0x67, 0x64}, false},
    {1, {0x48}, true},        {1, {0x44}, true},        {1, {0x42}, true},
    {1, {0x41}, true},        {1, {0x4f}, true},        {1, {0x40}, true},
    {2, {0x66, 0x48}, true},  {2, {0xf3, 0x4f}, true},  {2, {0xf2, 0x48}, true},
    {2, {0x67, 0x4d}, true},  {2, {0x48, 0x66}, true},  {3, {0xf0, 0x66, 0x48}, true},
};

static void every_modrm(uint8_t *bytes, unsigned at, enum code_size code)
{
    for (unsigned modrm = 0; modrm < 256; modrm++) {
        bytes[at] = (uint8_t)modrm;
        for (unsigned tail = 0; tail < 3; tail++) {
            uint64_t r = random64();
            memcpy(&bytes[at + 1], &r, 8);
            if (tail == 0)
                bytes[at + 1] = 0x25; /* SIB without base and index */
            unsigned count = tail == 2 ? 1 + (unsigned)(r >> 32) % 15 : 15;
            compare(bytes, count, code);
        }
    }
}

static void legacy_maps(enum code_size code)
{
    static const struct prefix maps[] = {
        {0, {0}, false}, {1, {0x0f}, false}, {2, {0x0f, 0x38}, false}, {2, {0x0f, 0x3a}, false}};
    uint8_t bytes[32] = {0};
    for (unsigned p = 0; p < sizeof(prefixes) / sizeof(prefixes[0]); p++) {
        if (prefixes[p].only_64 && code != CODE_64)
            continue;
        for (unsigned m = 0; m < 4; m++)
            for (unsigned opcode = 0; opcode < 256; opcode++) {
                unsigned at = prefixes[p].size;
                memcpy(bytes, prefixes[p].bytes, at);
                memcpy(bytes + at, maps[m].bytes, maps[m].size);
                at += maps[m].size;
                bytes[at] = (uint8_t)opcode;
                every_modrm(bytes, at + 1, code);
            }
    }
}

/* Every VEX with two or three bytes, in all of its fields but B and X. */
static void vex_maps(enum code_size code)
{
    uint8_t bytes[32] = {0};
    for (unsigned opcode = 0; opcode < 256; opcode++)
        for (unsigned low = 0; low < 256; low++) {
            if ((low >> 3 & 15) != 15 && (low >> 3 & 15) != 7 && low % 5)
                continue;
            bytes[0] = 0xc5;
            bytes[1] = (uint8_t)low;
            bytes[2] = (uint8_t)opcode;
            uint64_t r = random64();
            for (unsigned n = 0; n < 16; n++) {
                bytes[3] = (uint8_t)(r >> n * 4);
                memcpy(&bytes[4], &r, 8);
                compare(bytes, 15, code);
            }
            bytes[0] = 0xc4;
            for (unsigned map = 0; map < 4; map++) {
                bytes[1] = (uint8_t)(map | (r >> 10 & 0xe0));
                if (r >> 50 & 1)
                    bytes[1] |= 0xe0;
                bytes[2] = (uint8_t)low;
                bytes[3] = (uint8_t)opcode;
                for (unsigned n = 0; n < 16; n++) {
                    bytes[4] = (uint8_t)(r >> n * 4);
                    memcpy(&bytes[5], &r, 8);
                    compare(bytes, 15, code);
                }
            }
        }
}

/* ---- Random bytes ---------------------------------------------------------------------------- */

static unsigned random_insn(uint8_t bytes[16], enum code_size *code)
{
    static const uint8_t some[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67,
                                   0xf2, 0xf3, 0xf0, 0x48, 0x41, 0x44, 0x4f, 0x66};
    uint64_t r[3] = {random64(), random64(), random64()};
    memcpy(bytes, r, 16);
    unsigned at = 0, count = r[2] & 7 ? r[2] >> 3 & 1 : r[2] >> 3 & 15;
    for (; at < count && at < 11; at++)
        bytes[at] = some[bytes[at] & 15];
    const struct insn_row *row = &insn_rows[(r[2] >> 8 & 0xffff) % insn_row_count];
    if (r[2] >> 24 & 7) {
        unsigned map = row->opcode >> 8;
        static const uint8_t mandatory[] = {0, 0, 0x66, 0xf3, 0xf2, 0};
        if (map & 4) {
            bytes[at++] = 0xc4;
            bytes[at++] = (uint8_t)((r[2] >> 27 & 0xe0) | (map & 3));
            bytes[at] = (uint8_t)((bytes[at] & 0xfc) | ((row->prefix - 1) & 3));
            if (r[2] >> 40 & 3)
                bytes[at] |= 0x78;
            at++;
        } else {
            if (mandatory[row->prefix])
                bytes[at++] = mandatory[row->prefix];
            if (map)
                bytes[at++] = 0x0f;
            if (map == 2)
                bytes[at++] = 0x38;
        }
        bytes[at++] = (uint8_t)row->opcode;
        if (row->extension < 8 && at < 16)
            bytes[at] = (uint8_t)((bytes[at] & 0xc7) | row->extension << 3);
    }
    *code = (enum code_size)((r[2] >> 60) % 3);
    return r[2] >> 44 & 15 ? 15 : 1 + (unsigned)(r[2] >> 48) % 15;
}

static void random_run(unsigned long inputs)
{
    uint8_t bytes[16];
    enum code_size code;
    while (inputs--) {
        unsigned count = random_insn(bytes, &code);
        compare(bytes, count, code);
    }
}

/* Writes files in the format that tests/fuzz/fuzz_decode.c reads. */
static void write_corpus(const char *folder)
{
    static bool met[512];
    uint8_t bytes[17];
    char path[256];
    struct insn insn;
    enum code_size code;
    for (unsigned n = 0; n < 1000000; n++) {
        if (random_insn(bytes + 1, &code) != 15 ||
            decode(bytes + 1, 15, code, &insn) != DECODE_OK || met[insn.row])
            continue;
        met[insn.row] = true;
        bytes[0] = (uint8_t)code;
        snprintf(path, sizeof(path), "%s/%03x-%u", folder, insn_rows[insn.row].opcode, insn.row);
        FILE *file = fopen(path, "wb");
        if (!file || fwrite(bytes, 1, 1u + insn.length, file) != 1u + insn.length) {
            perror(path);
            exit(1);
        }
        fclose(file);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "exhaust")) {
        for (unsigned code = CODE_16; code <= CODE_64; code++) {
            legacy_maps((enum code_size)code);
            vex_maps((enum code_size)code);
        }
    } else if (argc == 3 && !strcmp(argv[1], "random")) {
        random_run(strtoul(argv[2], NULL, 0));
    } else if (argc == 3 && !strcmp(argv[1], "corpus")) {
        write_corpus(argv[2]);
        return 0;
    } else {
        fprintf(stderr, "usage: brute_decode exhaust | random COUNT | corpus FOLDER\n");
        return 2;
    }
    const struct zydis_counts *c = &zydis_counts;
    printf("%lu inputs: %lu emulated, %lu between registers, %lu undefined, %lu not in the table, "
           "%lu cut off; %lu differ\n",
           c->inputs, c->emulated, c->registers, c->undefined, c->other, c->truncated, differences);
    for (unsigned i = 0; i < insn_row_count; i++)
        if (!c->rows[i] && insn_rows[i].flags)
            printf("row %u (%#x %s) was never met\n", i, insn_rows[i].opcode,
                   insn_rows[i].mnemonic);
    return differences != 0;
}
