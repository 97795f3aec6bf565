/* SPDX-License-Identifier: MIT */
/*
 * Exits and entries as trace events (vm/dispatch.c, rule N71): an event has the fields that the SDM
 * defines for the exit's reason, and shows no RIP of a TD that may not be inspected.
 */
#include "tests/unit/vm/dispatch_world.h"

/* Reasons with and without each field, and whether an entry follows at once. */
static const struct {
    uint32_t reason;
    bool enters;
} rows[] = {
    {REASON_CPUID, true},   {REASON_VMCALL, true}, {REASON_CR_ACCESS, true},
    {REASON_INVLPG, true},  {REASON_HLT, false},   {REASON_TRIPLE_FAULT, false},
    {REASON_WBINVD, true},  {REASON_MOV_DR, true}, {REASON_PREEMPTION_TIMER, false},
    {REASON_MONITOR, true},
};

/* Returns the newest events of the vCPU: the exit, and the entry if there is one. */
static unsigned traced(struct trace_record records[2])
{
    struct trace_reader reader;
    const struct trace_record *record;
    unsigned count = 0;
    (void)trace_read_begin(&reader, vm.number, UINT64_MAX);
    while ((record = trace_read_next(&reader)) && count < 2)
        records[count++] = *record;
    return count;
}

/* An exit is an event with the fields that its reason defines, and with no others; an entry that
 * follows is one, too. The effects are those of an exit that is not traced. */
static void exits_and_entries_as_events(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
        uint32_t reason = rows[i / 2].reason;
        struct trace_record records[2];
        prepare();
        support_reset();
        assert_int_equal(trace_create_ring(0), 0);
        vm.number = 5;
        vm.words.tdx = i % 2 ? TDX_PROTECTED : i % 4 ? TDX_DEBUG : 0;
        trace_run(5, 3, NULL);
        trace_select(5, TRACE_EXIT_EVENTS);
        follow_trace(vcpu);
        assert_true(vcpu->vmx.extra_work);
        vmcs[VMCS_EXIT_REASON] = reason;
        vmcs[VMCS_GUEST_RIP] = 0x333;
        vmcs[VMCS_EXIT_QUALIFICATION] = 0x111;
        vmcs[VMCS_GUEST_PHYSICAL_ADDRESS] = 0x222;
        bool again = vmx_exited(&vcpu->vmx);
        assert_int_equal(again, rows[i / 2].enters);
        assert_int_equal(traced(records), again ? 2 : 1);
        const uint64_t *values = records[0].values;
        uint8_t defines = vmx_exit_defines[reason];
        assert_int_equal(records[0].event, TRACE_exit);
        assert_int_equal(records[0].vcpu, 3);
        assert_int_equal(values[0], reason);
        assert_int_equal(values[1], i % 2 ? 0 : 0x333);
        assert_int_equal(values[2], defines & DEFINES_QUALIFICATION ? 0x111 : 0);
        assert_int_equal(values[3], defines & DEFINES_GPA ? 0x222 : TRACE_NO_ADDRESS);
        assert_true(!again || records[1].event == TRACE_entry);

        vcpu->vmx.attention.word = 0;
        trace_select(5, TRACE_BIT(mmio));
        follow_trace(vcpu);
        assert_false(vcpu->vmx.extra_work);
        trace_forget(5);
        trace_run(0, 0, NULL);
        vm.words.tdx = 0;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(exits_and_entries_as_events)};
    return cmocka_run_group_tests(tests, setup, NULL);
}
