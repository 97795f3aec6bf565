/* SPDX-License-Identifier: MIT */
/*
 * The rules of #VE when the hypervisor delivers it (rules X8 and X9): every combination of a kind
 * of access and the contents of the area, and the information that the guest finds there.
 * guest/programs/ve.c tests the delivery by the CPU.
 */
#include "tests/unit/support.h"

#include "vm/ve_rules.h"
#include "lib/bits.h"

#include <string.h>

/* The first rule that applies decides. `busy` is any value that the guest has left there. */
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
        assert_memory_equal(&area, &before, sizeof(area)); /* the decision writes nothing */
    }
}

/* The offsets of SDM 3, table 26-1, as numbers. Nothing beyond them is written. */
static void area_as_the_cpu_writes_it(void **state)
{
    (void)state;
    static const struct {
        uint64_t qualification, linear, expected;
    } rows[] = {
        {0x181, 0xffff800000001234, 0xffff800000001234}, /* a load with a valid linear address */
        {0x182, 0x1000, 0x1000},
        {0x001, 0x1234, 0}, /* not valid: the VMCS field is not copied */
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

/* From the delivery until the guest stores 0, each further #VE is a double fault, even if the CPU
 * could deliver it: the CPU tests the same field. */
static void a_second_one_is_a_double_fault(void **state)
{
    (void)state;
    struct ve_area area = {0};
    for (unsigned by_cpu = 0; by_cpu < 2; by_cpu++) {
        const struct ve_access access = {.protected_mode = true, .by_cpu = by_cpu};
        assert_int_equal(ve_decide(&area, &access), by_cpu ? VE_BY_CPU : VE_BY_US);
        ve_fill(&area, 0x181, 0x5000, GPA(0x8000001000));
        assert_int_equal(ve_decide(&area, &access), VE_DOUBLE_FAULT);
        /* the information of the first #VE stays readable */
        assert_int_equal(area.physical_address, 0x8000001000);
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
