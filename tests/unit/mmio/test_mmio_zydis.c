/* SPDX-License-Identifier: MIT */
/*
 * The decoder against Zydis, an independent one: random bytes, biased to the opcodes of the table,
 * in 16, 32 and 64-bit code. `make fuzz` and `make brute` go on where this ends.
 */
#include "tests/unit/mmio/mmio_world.h"
#include "tests/unit/mmio/mmio_zydis.h"

#include <stdio.h>
#include <string.h>

#define INPUTS support_rounds(1500000)

/* Some prefixes, and the opcode of a row with what it needs. */
static void random_bytes(uint8_t bytes[24])
{
    static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67,
                                       0xf2, 0xf3, 0x48, 0x41, 0x44, 0x4f, 0x66, 0xf0};
    static const uint8_t mandatory[] = {
        [PREFIX_66] = 0x66, [PREFIX_F3] = 0xf3, [PREFIX_F2] = 0xf2, [PREFIX_NO_REP] = 0};
    uint64_t r[3] = {world_random(), world_random(), world_random()};
    memcpy(bytes, r, sizeof(r));
    uint64_t choice = world_random();
    if (!(choice & 15))
        return; /* whatever it is */
    unsigned at = 0, count = choice & 0xf0 ? choice >> 8 & 1 : choice >> 8 & 15;
    for (; at < count && at < 11; at++)
        bytes[at] = prefixes[bytes[at] & 15];
    const struct insn_row *row = &insn_rows[(choice >> 16 & 0xffff) % insn_row_count];
    unsigned map = row->opcode >> 8 & 3;
    if (row->opcode & INSN_OPCODE_VEX) {
        bytes[at++] = 0xc4;
        bytes[at] = (uint8_t)((bytes[at] & 0xe0) | map);
        at++;
        bytes[at] = (uint8_t)((bytes[at] & 0x84) | 0x78 | ((row->prefix - 1) & 3));
        if (choice >> 60 == 1)
            bytes[at] = (uint8_t)(choice >> 52);
        at++;
    } else {
        if (mandatory[row->prefix])
            bytes[at++] = mandatory[row->prefix];
        if (choice >> 60 == 1)
            bytes[at++] = 0x40 | (choice >> 56 & 15);
        if (map)
            bytes[at++] = 0x0f;
        if (map == 2)
            bytes[at++] = 0x38;
    }
    bytes[at++] = (uint8_t)row->opcode;
    if (row->extension != INSN_NO_EXTENSION)
        bytes[at] = (uint8_t)((bytes[at] & 0xc7) | row->extension << 3);
}

static void show(const char *what, const uint8_t *bytes, unsigned count, unsigned code)
{
    fprintf(stderr, "%s, %u-bit code:", what, 16u << code);
    for (unsigned i = 0; i < count; i++)
        fprintf(stderr, " %02x", bytes[i]);
    fprintf(stderr, "\n");
    fail();
}

static void against_zydis(void **state)
{
    (void)state;
    world_seed();
    for (unsigned n = 0; n < INPUTS; n++) {
        uint8_t bytes[24];
        unsigned code = n % 3, count = n % 5 ? INSN_MAX : 1 + (unsigned)(world_random() % INSN_MAX);
        random_bytes(bytes);
        const char *what = zydis_compare(bytes, count, (enum code_size)code);
        if (what)
            show(what, bytes, count, code);
    }
    const struct zydis_counts *c = &zydis_counts;
    printf("%lu inputs: %lu emulated, %lu between registers, %lu undefined, %lu not in the table, "
           "%lu cut off\n",
           c->inputs, c->emulated, c->registers, c->undefined, c->other, c->truncated);
    assert_true(c->emulated > INPUTS / 4);
    assert_true(c->truncated > 1000);
    for (unsigned i = 0; i < insn_row_count; i++)
        if (!c->rows[i] && insn_rows[i].flags & (INSN_READS | INSN_WRITES))
            fail_msg("row %u (%s) was never met", i, insn_rows[i].mnemonic);
}

/* The search needs them sorted; a row after one that takes all of its inputs is never used. */
static void rows_are_sorted(void **state)
{
    (void)state;
    for (unsigned i = 1; i < insn_row_count; i++) {
        const struct insn_row *a = &insn_rows[i - 1], *b = &insn_rows[i];
        assert_true(a->opcode <= b->opcode);
        if (a->opcode == b->opcode && !(a->flags & INSN_OTHER_64 && b->flags & INSN_ONLY_64))
            assert_true(a->extension != b->extension || a->prefix != b->prefix);
        assert_true(!(b->opcode & INSN_OPCODE_VEX) == !(b->flags & INSN_VEX));
        assert_true(strlen(b->mnemonic) < sizeof(b->mnemonic));
    }
    assert_true(insn_row_count < 512);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_sorted),
        cmocka_unit_test(against_zydis),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
