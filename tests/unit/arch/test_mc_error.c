/* SPDX-License-Identifier: MIT */
/*
 * What the registers of a machine-check bank mean, in words (arch/x86/mc_error.c, rule N127): error
 * codes, flags, addresses, what to do, and which of several errors matters most.
 */
#include "tests/unit/support.h"

#include "arch/x86/mc_error.h"

#include <string.h>

/* ---- Words ----------------------------------------------------------------------------------- */

/* SDM 3, tables 16-9 and 16-10, one row for each kind, and for the limits of each pattern. */
static void error_codes(void **state)
{
    (void)state;
    static const struct {
        uint16_t code;
        const char *text;
    } rows[] = {
        {0x0000, "no error"},
        {0x0001, "unclassified"},
        {0x0002, "parity error in the microcode ROM"},
        {0x0003, "external error: another processor signalled BINIT#"},
        {0x0004, "functional redundancy check (FRC)"},
        {0x0005, "internal parity error"},
        {0x0006, "SMM executed code outside of its range"},
        {0x0007, "a code that is not known"},
        {0x000b, "a code that is not known"},
        {0x000c, "cache hierarchy, level 0"},
        {0x100f, "cache hierarchy, any level"},
        {0x0010, "TLB, instruction, level 0"},
        {0x0015, "TLB, data, level 1"},
        {0x101b, "TLB, any type, any level"},
        {0x0020, "a code that is not known"},
        {0x0080, "memory controller, any request, channel 0"},
        {0x0091, "memory controller, read, channel 1"},
        {0x10a2, "memory controller, write, channel 2"},
        {0x00bf, "memory controller, address or command"},
        {0x00ce, "memory controller, scrubbing, channel 14"},
        {0x0100, "cache, any request, instruction, level 0"},
        {0x0134, "cache, data read, data, level 0"},
        {0x0146, "cache, data write, data, level 2"},
        {0x1151, "cache, instruction fetch, instruction, level 1"},
        {0x0179, "cache, eviction, any type, level 1"},
        {0x018f, "cache, snoop, reserved type, any level"},
        {0x01f0, "cache, reserved request, instruction, level 0"},
        {0x0200, "a code that is not known"},
        {0x0291, "memory used as a cache, read, channel 1"},
        {0x0400, "internal timer error"},
        {0x0401, "internal, unclassified"},
        {0x07ff, "internal, unclassified"},
        {0x0800, "bus or interconnect, request of this CPU, any request, memory, level 0"},
        {0x0a1b, "bus or interconnect, response of this CPU, read, I/O, any level"},
        {0x1d2b, "bus or interconnect, observed by this CPU, timed out, write, I/O, any level"},
        {0x0e0b, "I/O error"},
        {0x0e0f, "bus or interconnect, any participant, any request, other transaction, any level"},
        {0x2000, "a code that is not known"},
        {0xffff, "a code that is not known"},
    };
    char text[112];
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        mc_code_text(rows[i].code, text, sizeof(text));
        assert_string_equal(text, rows[i].text);
    }
}

static void flags_and_addresses(void **state)
{
    (void)state;
    static const struct {
        struct mc_error e;
        const char *text, *detail;
    } rows[] = {
        {{.bank = 3, .cap = BIT(24), .status = 0xbe00000000800400, .address = 0x1234, .misc = 0x86},
         "IA32_MC3_STATUS 0xbe00000000800400: PCC, ADDRV, MISCV, EN, UC, VAL; code 0x400, 0x80: "
         "internal timer error",
         "not corrected, and the CPU's state may be wrong; address 0x1234 (physical); "
         "IA32_MC3_MISC "
         "0x86"},
        {{.bank = 1, .cap = BIT(24), .status = 0xbd80000000100134, .address = 0x5000, .misc = 0x4c},
         "IA32_MC1_STATUS 0xbd80000000100134: AR, S, ADDRV, MISCV, EN, UC, VAL; code 0x134, 0x10: "
         "cache, data read, data, level 0",
         "not corrected, and the instruction at RIP needs what is lost; address 0x5000 (linear); "
         "IA32_MC1_MISC 0x4c"},
        {{.bank = 1, .cap = BIT(24), .status = 0xb100000000000134},
         "IA32_MC1_STATUS 0xb100000000000134: S, EN, UC, VAL; code 0x134, 0: cache, data read, "
         "data, level 0",
         "not corrected, but nothing has used what is lost"},
        {{.bank = 1, .cap = BIT(24), .status = 0xb000000000000134},
         "IA32_MC1_STATUS 0xb000000000000134: EN, UC, VAL; code 0x134, 0: cache, data read, data, "
         "level 0",
         "not corrected, and no action is required"},
        /* Without the recovery bits of the capability, S, AR and the mode are something else. */
        {{.bank = 0, .status = 0xbd80000000000015, .address = 0x77, .misc = 0x86},
         "IA32_MC0_STATUS 0xbd80000000000015: ADDRV, MISCV, EN, UC, VAL; code 0x15, 0: TLB, data, "
         "level 1",
         "not corrected, but the CPU's state is right; address 0x77; IA32_MC0_MISC 0x86"},
        {{.bank = 31, .cap = BIT(10), .status = 0xd400014000010091, .address = ~0ull},
         "IA32_MC31_STATUS 0xd400014000010091: ADDRV, EN, OVER, VAL; code 0x91, 0x1: memory "
         "controller, read, channel 1",
         "corrected, 5 of them; address 0xffffffffffffffff"},
        {{.bank = 31, .status = 0x9000014000010091},
         "IA32_MC31_STATUS 0x9000014000010091: EN, VAL; code 0x91, 0x1: memory controller, read, "
         "channel 1",
         "corrected"},
    };
    char text[MC_TEXT_SIZE];
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        mc_error_text(&rows[i].e, text, sizeof(text));
        assert_string_equal(text, rows[i].text);
        mc_detail_text(&rows[i].e, text, sizeof(text));
        assert_string_equal(text, rows[i].detail);
    }
}

/* No text is cut, whatever a bank says. */
static void every_text_has_room(void **state)
{
    (void)state;
    for (unsigned code = 0; code < 0x10000; code += support_step()) {
        for (unsigned kind = 0; kind < 3; kind++) {
            const struct mc_error e = {.bank = 31,
                                       .cap = ~0ull,
                                       .status = (~0ull << 16 | code) & ~(kind ? BIT(61) : 0) &
                                                 ~(kind == 2 ? BIT(57) : 0),
                                       .address = ~0ull,
                                       .misc = kind ? ~0ull : ~BITS(8, 6)};
            char text[2 * MC_TEXT_SIZE];
            mc_error_text(&e, text, sizeof(text));
            assert_true(strlen(text) < MC_TEXT_SIZE);
            mc_detail_text(&e, text, sizeof(text));
            assert_true(strlen(text) < MC_TEXT_SIZE);
            assert_true(strlen(mc_advice(&e)) < 200);
        }
    }
}

static void advice_fits_the_part(void **state)
{
    (void)state;
    static const struct {
        uint16_t code;
        const char *begins;
    } rows[] = {{0x0091, "the memory: test it"},   {0x0134, "the CPU itself: "},
                {0x0015, "the CPU itself: "},      {0x0402, "the CPU itself: "},
                {0x0400, "an instruction got no"}, {0x0e0b, "a device, its slot, "},
                {0x0800, "a device, its slot, "},  {0x0001, "the firmware's event log may name"}};
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct mc_error e = {.status = BIT(63) | rows[i].code};
        assert_non_null(strstr(mc_advice(&e), rows[i].begins));
    }
    assert_non_null(strstr(mc_advice(NULL), "no bank has an error"));
}

static void the_worst_is_named(void **state)
{
    (void)state;
    static const uint64_t worse[] = {BIT(63), BIT(63) | BIT(61), BIT(63) | BIT(61) | BIT(55),
                                     BIT(63) | BIT(61) | BIT(57)};
    for (unsigned i = 0; i < 4; i++)
        for (unsigned j = 0; j < 4; j++) {
            struct mc_errors errors = {.count = 0};
            assert_null(mc_errors_worst(&errors));
            mc_errors_add(&errors, &(struct mc_error){.cap = BIT(24), .status = worse[i]});
            mc_errors_add(&errors, &(struct mc_error){.cap = BIT(24), .status = worse[j]});
            assert_int_equal(errors.count, i == j ? 1 : 2);
            assert_int_equal(mc_errors_worst(&errors)->status, worse[i > j ? i : j]);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_codes),         cmocka_unit_test(flags_and_addresses),
        cmocka_unit_test(every_text_has_room), cmocka_unit_test(advice_fits_the_part),
        cmocka_unit_test(the_worst_is_named),
    };
    return cmocka_run_group_tests_name("machine-check errors", tests, NULL, NULL);
}
