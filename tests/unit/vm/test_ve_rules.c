/* SPDX-License-Identifier: MIT */
/*
 * The rules of #VE when we deliver it (rules X8 and X9): every combination of what an access was
 * and what stands in the area, and what the guest finds there. What the CPU itself does is seen on
 * the machine, by guest/programs/ve.c.
 */
#include "tests/unit/support.h"

#include "vm/ve_rules.h"
#include "lib/bits.h"

#include <string.h>

/* The first rule that fits decides; `busy` is whatever the guest left there. */
static void outcomes(void **state)
{
    static const uint32_t words[] = {0, 1, 0x80000000, 0xffffffff};
    (void)state;
    for (unsigned i = 0; i < 8 * ARRAY_SIZE(words); i++) {
        struct ve_area area = {.busy = words[i / 8]}, before = area;
        struct ve_access access = {.delivering = i & 1, .protected_mode = i & 2, .by_cpu = i & 4};
        enum ve_outcome right = i & 1      ? VE_END_DELIVERY
                                : !(i & 2) ? VE_END_REAL_MODE
                                : i >= 8   ? VE_DOUBLE_FAULT
                                : i & 4    ? VE_BY_CPU
                                           : VE_BY_US;
        assert_int_equal(ve_decide(&area, &access), right);
        assert_memory_equal(&area, &before, sizeof(area)); /* nothing is written by asking */
    }
}

/* The numbers of SDM 3, table 26-1, said again; nothing beyond them is touched. */
static void area_as_the_cpu_writes_it(void **state)
{
    (void)state;
    static const struct {
        uint64_t qualification, linear, expected;
    } rows[] = {
        {0x181, 0xffff800000001234, 0xffff800000001234}, /* a load, its linear address valid */
        {0x182, 0x1000, 0x1000},
        {0x001, 0x1234, 0}, /* not valid: what the VMCS holds is nobody's business */
        {0x104, 0xdead, 0},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        _Alignas(16) uint8_t page[64];
        uint8_t right[64];
        memset(page, 0xcc, sizeof(page));
        memset(right, 0xcc, sizeof(right));
        const uint32_t reason = 48, busy = 0xffffffff;
        const uint64_t gpa = 0x80fee00f80;
        memcpy(right + 0, &reason, 4);
        memcpy(right + 4, &busy, 4);
        memcpy(right + 8, &rows[i].qualification, 8);
        memcpy(right + 16, &rows[i].expected, 8);
        memcpy(right + 24, &gpa, 8);
        memset(right + 32, 0, 2);
        ve_fill((struct ve_area *)(void *)page, rows[i].qualification, rows[i].linear, GPA(gpa));
        assert_memory_equal(page, right, sizeof(page));
    }
}

/* From the delivery to the guest's store of 0 every further one is a double fault, also where the
 * CPU could convert: it looks at the same word. */
static void a_second_one_is_a_double_fault(void **state)
{
    (void)state;
    struct ve_area area = {0};
    for (unsigned by_cpu = 0; by_cpu < 2; by_cpu++) {
        const struct ve_access access = {.protected_mode = true, .by_cpu = by_cpu};
        assert_int_equal(ve_decide(&area, &access), by_cpu ? VE_BY_CPU : VE_BY_US);
        ve_fill(&area, 0x181, 0x5000, GPA(0x8000001000));
        assert_int_equal(ve_decide(&area, &access), VE_DOUBLE_FAULT);
        assert_int_equal(area.physical_address, 0x8000001000); /* the first one's stays readable */
        area.busy = 0;
        assert_int_equal(ve_decide(&area, &access), by_cpu ? VE_BY_CPU : VE_BY_US);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outcomes),
        cmocka_unit_test(area_as_the_cpu_writes_it),
        cmocka_unit_test(a_second_one_is_a_double_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
