/* SPDX-License-Identifier: MIT */
/* The MSRs of a VM with `legacy`: which exist, what they are after power-up, and which values they
 * keep and refuse, bit by bit. */
#include "tests/unit/support.h"

#include "lib/bits.h"
#include "vm/legacy_msr.h"

#define ADDRESS_BITS 40u

static struct legacy_msrs msrs;

static int begin(void **state)
{
    (void)state;
    legacy_msrs_init(&msrs, ADDRESS_BITS);
    return 0;
}

static uint64_t get(uint32_t msr)
{
    uint64_t value = 0;
    assert_true(legacy_msr_read(&msrs, msr, &value));
    return value;
}

static bool put(uint32_t msr, uint64_t value)
{
    uint64_t before = 0;
    bool is_there = legacy_msr_read(&msrs, msr, &before);
    bool kept = legacy_msr_write(&msrs, ADDRESS_BITS, msr, value);
    if (is_there)
        assert_true(get(msr) == (kept ? value : before));
    return kept;
}

static void after_power_up(void **state)
{
    (void)state;
    assert_true(get(0xfe) == 0x508);
    assert_true(get(0x2ff) == 0xc06);
    assert_true(get(0x250) == 0x0606060606060606);
    assert_true(get(0x259) == 0);
    assert_true(get(0x200) == 0xc0000000 && get(0x201) == 0xffc0000800);
    assert_true(get(0x179) == 0 && get(0x17a) == 0);
    assert_true(get(0x1a0) == 0x1801);
}

static void which_exist(void **state)
{
    (void)state;
    unsigned count = 0;
    uint64_t value;
    for (uint32_t msr = 0; msr < 0x1000; msr++)
        count += legacy_msr_read(&msrs, msr, &value);
    assert_int_equal(count, 16 + 11 + 5);
    assert_false(legacy_msr_read(&msrs, 0x210, &value) || put(0x210, 0));
    assert_false(put(0xfe, 0x508) || put(0x179, 0)); /* read-only */
}

static void each_bit(void **state)
{
    (void)state;
    static const struct {
        uint32_t msr;
        uint64_t base, bits;
    } rows[] = {
        {0x204, 0, BITS(39, 12) | BIT(0) | BIT(2)},
        {0x205, 0, BITS(39, 11)},
        {0x2ff, 0, BIT(11) | BIT(10) | BIT(0) | BIT(2)},
        {0x17a, 0, BITS(2, 0)},
        {0x1a0, 0x1800, 0x400c50009},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        for (unsigned bit = 0; bit < 64; bit++)
            if (put(rows[i].msr, rows[i].base ^ BIT(bit)) != !!(rows[i].bits & BIT(bit)))
                fail_msg("MSR %#x, bit %u", rows[i].msr, bit);
}

/* All that a CPU lets software change at once, as kvm-unit-tests do. */
static void misc_enable_as_a_whole(void **state)
{
    (void)state;
    assert_true(put(0x1a0, (0x400c50809 & ~0x1880ull) | (get(0x1a0) & 0x1880)));
    assert_true(get(0x1a0) == 0x400c51809);
    assert_true(put(0x1a0, 0x1801));
}

static void types(void **state)
{
    (void)state;
    for (unsigned type = 0; type < 256; type++) {
        bool legal = type == 0 || type == 1 || (type >= 4 && type <= 6);
        assert_int_equal(put(0x202, 0x100000 | type), legal);
        assert_int_equal(put(0x2ff, 0xc00 | type), legal);
        for (unsigned byte = 0; byte < 8; byte++)
            assert_int_equal(put(0x26f, (uint64_t)type << 8 * byte), legal);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(after_power_up, begin),
        cmocka_unit_test_setup(which_exist, begin),
        cmocka_unit_test_setup(each_bit, begin),
        cmocka_unit_test_setup(misc_enable_as_a_whole, begin),
        cmocka_unit_test_setup(types, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
