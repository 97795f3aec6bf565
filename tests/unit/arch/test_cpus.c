/* SPDX-License-Identifier: MIT */
/* CPUs that are to work together: where they can start, and whether they are alike. */
#include "tests/unit/support.h"

#include "boot/boot_info_internal.h"
#include "vmx/alike.h"

#include <stdio.h>
#include <string.h>

static int setup(void **state)
{
    (void)state;
    support_reset();
    return 0;
}

/* ---- A page below 1 MiB ---------------------------------------------------------------------- */

static struct boot_info with_ranges(unsigned count, const struct boot_range *ranges)
{
    struct boot_info info = {0};
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(boot_add_range(&info, ranges[i].base.v, ranges[i].size, ranges[i].kind),
                         0);
    return info;
}

static void the_highest_free_page_is_taken(void **state)
{
    (void)state;
    const struct boot_range ranges[] = {{HPA(0), 0x9fc00, BOOT_RAM},
                                        {HPA(0x9fc00), 0x400, BOOT_RESERVED},
                                        {HPA(0x100000), 0x1000000, BOOT_RAM}};
    struct boot_info info = with_ranges(3, ranges);
    assert_int_equal(boot_low_page(&info).v, 0x9e000);
    info.modules[0] = (struct boot_module){.base = HPA(0x9d800), .size = 0x900};
    info.module_count = 1;
    assert_int_equal(boot_low_page(&info).v, 0x9c000);
}

static void what_is_reserved_twice_is_reserved(void **state)
{
    (void)state;
    const struct boot_range ranges[] = {{HPA(0), 0xa0000, BOOT_RAM},
                                        {HPA(0x2000), 0x9e000, BOOT_NVS}};
    struct boot_info info = with_ranges(2, ranges);
    assert_int_equal(boot_low_page(&info).v, 0x1000);
    assert_int_equal(boot_add_range(&info, 0x1fff, 1, BOOT_RESERVED), 0);
    assert_true(page_is_none(boot_low_page(&info))); /* page 0 is the BIOS' */
}

static void ranges_of_any_size_do_no_harm(void **state)
{
    (void)state;
    const struct boot_range ranges[] = {{HPA(0), 0x3000, BOOT_RAM},
                                        {HPA(0x1000), 0, BOOT_BAD},
                                        {HPA(0x5000), ~0ull - 0x5000, BOOT_RESERVED}};
    struct boot_info info = with_ranges(3, ranges);
    assert_int_equal(boot_low_page(&info).v, 0x2000);
    assert_true(page_is_none(boot_low_page(&(struct boot_info){0})));
}

/* ---- Alike ----------------------------------------------------------------------------------- */

static struct vmx_identity boot, other;
static char text[128];

static int setup_identities(void **state)
{
    uint64_t *msrs = (uint64_t *)&boot.msrs;
    for (unsigned i = 0; i < sizeof(boot.msrs) / 8; i++)
        msrs[i] = 0x1234567800000000 + i;
    for (unsigned i = 0; i < CPUID_REGISTERS; i++)
        boot.cpuid[i] = i * 0x1010101;
    other = boot;
    return setup(state);
}

static void equals_are_alike(void **state)
{
    (void)state;
    assert_true(vmx_alike(&boot, &other, text, sizeof(text)));
}

/* Each bit of each MSR and CPUID register counts, except those that show a state, and the highest
 * index of a VMCS field, on which nothing depends. */
static void every_difference_is_seen(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof(boot.msrs) * 8; i++) {
        uint64_t *msr = (uint64_t *)&other.msrs + i / 64;
        bool ignored = msr == &other.msrs.vmcs_enum;
        *msr ^= BIT(i % 64);
        assert_int_equal(vmx_alike(&boot, &other, text, sizeof(text)), ignored);
        assert_true(ignored || strstr(text, "its IA32_VMX_"));
        *msr ^= BIT(i % 64);
    }
    for (unsigned i = 0; i < CPUID_REGISTERS * 32; i++) {
        const struct cpuid_register *row = &cpuid_registers[i / 32];
        other.cpuid[i / 32] ^= (uint32_t)BIT(i % 32);
        bool state_bit = row->but >> i % 32 & 1;
        assert_int_equal(vmx_alike(&boot, &other, text, sizeof(text)), state_bit);
        assert_true(state_bit || strstr(text, row->name));
        other.cpuid[i / 32] ^= (uint32_t)BIT(i % 32);
    }
}

/* As an old firmware leaves them: the second CPU's ranges are not set. */
static void mtrrs_that_the_firmware_has_forgotten(void **state)
{
    (void)state;
    for (unsigned i = 0; i < MTRRS; i++) {
        other.mtrrs[i] = 0xffffff800;
        assert_false(vmx_alike(&boot, &other, text, sizeof(text)));
        char message[128];
        snprintf(message, sizeof(message),
                 "its MTRR (MSR %#x, set by the firmware) is 0xffffff800, the boot CPU's is 0",
                 mtrr_msrs[i]);
        assert_string_equal(text, message);
        for (unsigned j = 0; j < i; j++)
            assert_int_not_equal(mtrr_msrs[i], mtrr_msrs[j]);
        other.mtrrs[i] = 0;
    }
    assert_int_equal(mtrr_msrs[MTRRS_VARIABLE], 0x200);
    assert_int_equal(mtrr_msrs[MTRRS - 1], 0x213);
}

static void a_difference_is_named_with_both_values(void **state)
{
    (void)state;
    boot.msrs.secondary = 0xff00000000;
    other.msrs.secondary = 0x7f00000000;
    assert_false(vmx_alike(&boot, &other, text, sizeof(text)));
    assert_string_equal(text, "its IA32_VMX_PROCBASED_CTLS2 is 0x7f00000000, the boot CPU's is "
                              "0xff00000000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_highest_free_page_is_taken, setup),
        cmocka_unit_test_setup(what_is_reserved_twice_is_reserved, setup),
        cmocka_unit_test_setup(ranges_of_any_size_do_no_harm, setup),
        cmocka_unit_test_setup(equals_are_alike, setup_identities),
        cmocka_unit_test_setup(every_difference_is_seen, setup_identities),
        cmocka_unit_test_setup(mtrrs_that_the_firmware_has_forgotten, setup_identities),
        cmocka_unit_test_setup(a_difference_is_named_with_both_values, setup_identities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
