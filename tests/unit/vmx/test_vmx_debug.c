/* SPDX-License-Identifier: MIT */
/* The values of the debug registers after a #DB, computed from the exit qualification (SDM 3,
 * 18.2.3 and 28.1). */
#include "tests/unit/support.h"

#include "lib/bits.h"
#include "arch/x86/reg_bits.h"
#include "vmx/debug.h"

#define DR6_RESET 0xffff0ff0ull
#define DR7_RESET 0x400ull

static void registers(void **state)
{
    (void)state;
    static const struct {
        uint64_t dr6, qualification;
        uint64_t after;
    } rows[] = {
        {DR6_RESET, 0, DR6_RESET},
        {DR6_RESET, 1, DR6_RESET | 1},
        {DR6_RESET, 8, DR6_RESET | 8},
        {DR6_RESET, 0xf, DR6_RESET | 0xf},
        {DR6_RESET, BIT(13), DR6_RESET | BIT(13)},
        {DR6_RESET, BIT(14), DR6_RESET | BIT(14)},
        {DR6_RESET, BIT(14) | 2, DR6_RESET | BIT(14) | 2},
        /* B0 to B3 describe this exception. The other bits stay until software clears them. */
        {DR6_RESET | 0xf, BIT(14), DR6_RESET | BIT(14)},
        {DR6_RESET | 0xf, 4, DR6_RESET | 4},
        {DR6_RESET | BIT(13) | BIT(14) | BIT(15), 1, DR6_RESET | BIT(13) | BIT(14) | BIT(15) | 1},
        /* A bus lock clears bit 11, which no other exception sets again. */
        {DR6_RESET, BIT(11), DR6_RESET & ~BIT(11)},
        {DR6_RESET & ~BIT(11), 1, (DR6_RESET & ~BIT(11)) | 1},
        /* Bit 16 is 0 inside a transaction, 1 for any other exception. */
        {DR6_RESET, BIT(16) | 1, (DR6_RESET & ~BIT(16)) | 1},
        {DR6_RESET & ~BIT(16), 1, DR6_RESET | 1},
        /* Bit 12 of the pending debug exceptions and the reserved bits are not bits of DR6. */
        {DR6_RESET, BIT(12) | 1, DR6_RESET | 1},
        {DR6_RESET, ~0xeull & ~BIT(11) & ~BIT(15) & ~BIT(16), DR6_RESET | BIT(13) | BIT(14) | 1},
        {DR6_RESET, DEBUG_TASK_SWITCH, DR6_RESET | BIT(15)},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        for (unsigned gd = 0; gd < 2; gd++)
            for (uint64_t debugctl = 0; debugctl < 16; debugctl++) {
                uint64_t dr7 = DR7_RESET | 0x3303 | (gd ? DR7_GD : 0);
                struct debug_state s = {rows[i].dr6, dr7, debugctl};
                debug_exception(&s, rows[i].qualification, false);
                if (s.dr6 != rows[i].after)
                    fail_msg("row %u: 0x%lx", i, (unsigned long)s.dr6);
                assert_int_equal(s.dr7, dr7 & ~DR7_GD);
                assert_int_equal(s.debugctl, debugctl & ~3ull);

                s = (struct debug_state){rows[i].dr6, dr7, debugctl}; /* INT1 */
                debug_exception(&s, rows[i].qualification, true);
                assert_int_equal(s.dr6, rows[i].dr6);
                assert_int_equal(s.dr7, dr7 & ~DR7_GD);
                assert_int_equal(s.debugctl, debugctl & ~3ull);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers),
    };
    return cmocka_run_group_tests_name("debug exceptions", tests, NULL, NULL);
}
