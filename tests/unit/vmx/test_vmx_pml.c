/* SPDX-License-Identifier: MIT */
/*
 * A vCPU's page-modification log (vmx/pml.c). A CPU fills it by the rules of SDM 3, 29.3.6, with
 * any number of entries up to a full log, and each entry is taken once.
 */
#include "tests/unit/vmx/vmcs_world.h"

#include "vmx/pml.c"

static struct vmx_vcpu vcpu;
static unsigned refreshed;

void vmx_update_extra_work(struct vmx_vcpu *v)
{
    assert_ptr_equal(v, &vcpu);
    refreshed++;
}

/* The CPU sets a dirty flag. False: it exits instead, because the log is full. */
static bool log_write(uint64_t address)
{
    uint16_t index = (uint16_t)vmcs[VMCS_PML_INDEX];
    if (!(vmcs[VMCS_SECONDARY_CONTROLS] & SECONDARY_PML))
        return true;
    if (index > 511)
        return false;
    ((uint64_t *)phys_to_virt(HPA(vmcs[VMCS_PML_ADDRESS])))[index] = address;
    vmcs[VMCS_PML_INDEX] = (uint16_t)(index - 1);
    return true;
}

static int setup(void **state)
{
    (void)state;
    support_reset();
    vcpu = (struct vmx_vcpu){0};
    vmcs[VMCS_SECONDARY_CONTROLS] = SECONDARY_EPT;
    vmcs[VMCS_PML_INDEX] = 7; /* anything */
    refreshed = 0;
    assert_int_equal(vmx_pml_init(&vcpu), 0);
    return 0;
}

static void what_was_written_is_taken(void **state)
{
    (void)state;
    vmx_pml_switch(&vcpu, true);
    for (uint64_t count = 0; count <= 512; count++) {
        const uint64_t *entries;
        for (uint64_t i = 0; i < count; i++)
            assert_true(log_write((count << 32) + i * 4096));
        assert_int_equal(log_write(0xbad000), count < 512);
        uint64_t all = count + (count < 512);
        assert_int_equal(vmx_pml_take(&vcpu, &entries), all);
        if (count < 512)
            assert_int_equal(entries[0], 0xbad000); /* the last one is first */
        for (uint64_t i = 0; i < count; i++)
            assert_int_equal(entries[all - 1 - i], (count << 32) + i * 4096);
        assert_int_equal(vmx_pml_take(&vcpu, &entries), 0);
    }
}

/* The other controls are unchanged, and a log that is switched on is empty. */
static void on_and_off(void **state)
{
    (void)state;
    const uint64_t *entries;
    for (unsigned i = 0; i < 4; i++) {
        bool on = i % 2 == 0;
        vmx_pml_switch(&vcpu, on);
        assert_int_equal(vcpu.pml_on, on);
        assert_int_equal(vmcs[VMCS_SECONDARY_CONTROLS], SECONDARY_EPT | (on ? SECONDARY_PML : 0));
        assert_int_equal(refreshed, i + 1);
        assert_int_equal(vmx_pml_take(&vcpu, &entries), 0);
        assert_true(log_write(0x1000)); /* not taken: the switch empties the log */
    }
}

static void no_page_is_left(void **state)
{
    (void)state;
    support_fail_allocations_after(0);
    assert_int_equal(vmx_pml_init(&vcpu), -ENOMEM);
    assert_string_equal(support_log(), "no page left for a vCPU's page-modification log\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_was_written_is_taken, setup),
        cmocka_unit_test_setup(on_and_off, setup),
        cmocka_unit_test_setup(no_page_is_left, setup),
    };
    return cmocka_run_group_tests_name("PML", tests, NULL, NULL);
}
