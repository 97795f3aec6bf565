/* SPDX-License-Identifier: MIT */
/* The table of guarded instructions, and the rules of XSETBV, by which none of ours should fault.
 */
#include "tests/unit/support.h"

#include "arch/x86/guarded.h"
#include "vmx/xcr0.h"

static void table(void **state)
{
    (void)state;
    static const struct guard guards[] = {{100, 110}, {200, 205}, {50, 60}};
    const struct guard *end = guards + ARRAY_SIZE(guards);
    for (unsigned i = 0; i < ARRAY_SIZE(guards); i++) {
        assert_int_equal(guard_find(guards, end, guards[i].instruction), guards[i].resume);
        assert_int_equal(guard_find(guards, end, guards[i].instruction + 1), 0);
        assert_int_equal(guard_find(guards, end, guards[i].resume), 0);
    }
    assert_int_equal(guard_find(guards, guards, 100), 0);
    assert_int_equal(guard_find(guards, guards + 1, 50), 0);
}

/* What may come at any instruction is not that instruction's refusal. */
static void vectors(void **state)
{
    (void)state;
    static const char taken[] = "......++....+++..+..............";
    for (unsigned vector = 0; vector < 256; vector++)
        assert_int_equal(guard_takes(vector), vector < 32 && taken[vector] == '+');
}

/* SDM 1, 13.3, in the words that it has. */
static bool oracle(uint64_t v, uint64_t supported)
{
    bool x87 = v & 1, sse = v & 2, avx = v & 4, bndregs = v & 8, bndcsr = v & 16, opmask = v & 32;
    bool zmm_hi256 = v & 64, hi16_zmm = v & 128, tilecfg = v & BIT(17), tiledata = v & BIT(18);
    bool apx = v & BIT(19);
    if (v & ~supported || !x87)
        return false;
    if (avx && !sse)
        return false;
    if (bndregs != bndcsr || (apx && bndregs))
        return false;
    if (opmask != zmm_hi256 || opmask != hi16_zmm || (opmask && !avx))
        return false;
    return tilecfg == tiledata;
}

static void every_set(void **state)
{
    (void)state;
    static const uint64_t supported[] = {0x3, 0x7, 0x1f, 0xe7, 0x2ff, 0x602e7, 0xe02e7, 0xe02ff};
    for (unsigned i = 0; i < ARRAY_SIZE(supported); i++) {
        unsigned long allowed = 0;
        for (uint64_t value = 0; value < BIT(21); value++) {
            bool valid = xcr0_is_valid(value, supported[i]);
            if (valid != oracle(value, supported[i]))
                fail_msg("0x%lx of 0x%lx", (unsigned long)value, (unsigned long)supported[i]);
            allowed += valid;
        }
        assert_true(allowed >= 2);
        for (unsigned bit = 0; bit < 64; bit++)
            assert_int_equal(xcr0_is_valid(XCR0_X87 | BIT(bit), supported[i]),
                             oracle(XCR0_X87 | BIT(bit), supported[i]));
        assert_true(xcr0_is_valid(xcr0_largest(supported[i]), supported[i]));
    }
    assert_int_equal(xcr0_largest(0x602e7), 0x602e7);
    assert_int_equal(xcr0_largest(0xe02ff), 0xe02e7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table),
        cmocka_unit_test(vectors),
        cmocka_unit_test(every_set),
    };
    return cmocka_run_group_tests_name("guarded instructions", tests, NULL, NULL);
}
