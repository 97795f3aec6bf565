/* SPDX-License-Identifier: MIT */
/*
 * The effect of each exit (vm/dispatch.c): the handler, fault, request or end of the VM for each
 * reason, and first the redelivery of an event whose delivery the exit has interrupted.
 */
#include "tests/unit/vm/dispatch_world.h"

/* ---- Each reason ----------------------------------------------------------------------------- */

enum effect {
    HANDLED, /* by a function of its own */
    SKIPPED,
    RAISED_UD,
    RAISED_GP,
    REQUESTED, /* request to the loop in vm/run.c */
    ENDED,
    NOTHING,
};

static const struct {
    uint32_t reason;
    enum effect effect;
    uint64_t what; /* the request, or the reason for the end */
} rows[] = {
    {REASON_TRIPLE_FAULT, REQUESTED, ATTENTION_SHUTDOWN},
    {REASON_INTERRUPT_WINDOW, REQUESTED, ATTENTION_EVENT},
    {REASON_NMI_WINDOW, REQUESTED, ATTENTION_EVENT},
    {REASON_TASK_SWITCH, HANDLED, 0},
    {REASON_CPUID, HANDLED, 0},
    {REASON_GETSEC, RAISED_UD, 0},
    {REASON_HLT, REQUESTED, ATTENTION_HALTED},
    {REASON_INVD, SKIPPED, 0},
    {REASON_INVLPG, HANDLED, 0},
    {REASON_RDPMC, RAISED_GP, 0},
    {REASON_VMCALL, HANDLED, 0},
    {REASON_VMCLEAR, RAISED_UD, 0},
    {REASON_VMLAUNCH, RAISED_UD, 0},
    {REASON_VMPTRLD, RAISED_UD, 0},
    {REASON_VMPTRST, RAISED_UD, 0},
    {REASON_VMREAD, RAISED_UD, 0},
    {REASON_VMRESUME, RAISED_UD, 0},
    {REASON_VMWRITE, RAISED_UD, 0},
    {REASON_VMXOFF, RAISED_UD, 0},
    {REASON_VMXON, RAISED_UD, 0},
    {REASON_CR_ACCESS, HANDLED, 0},
    {REASON_MOV_DR, HANDLED, 0},
    {REASON_RDMSR, HANDLED, 0},
    {REASON_WRMSR, HANDLED, 0},
    {REASON_MWAIT, RAISED_UD, 0},
    {REASON_MONITOR, RAISED_UD, 0},
    {REASON_INVEPT, RAISED_UD, 0},
    {REASON_PREEMPTION_TIMER, REQUESTED, ATTENTION_TIMER},
    {REASON_INVVPID, RAISED_UD, 0},
    {REASON_WBINVD, SKIPPED, 0},
    {REASON_INVPCID, HANDLED, 0},
    {REASON_VMFUNC, RAISED_UD, 0},
    {REASON_SEAMCALL, RAISED_UD, 0},
    {REASON_TDCALL, RAISED_UD, 0},
    {REASON_RDMSR_IMMEDIATE, RAISED_UD, 0},
    {REASON_WRMSRNS_IMMEDIATE, RAISED_UD, 0},
    {REASON_PML_FULL, NOTHING, 0},
    {REASON_VIRTUALIZED_EOI, HANDLED, 0},
    {REASON_APIC_WRITE, HANDLED, 0},
};

static bool is_in_table(uint32_t reason)
{
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        if (rows[i].reason == reason)
            return true;
    switch (reason) { /* tested below, or together with their handlers */
    case REASON_EXCEPTION_OR_NMI:
    case REASON_EXTERNAL_INTERRUPT:
    case REASON_IO_INSTRUCTION:
    case REASON_XSETBV:
    case REASON_EPT_VIOLATION:
    case REASON_EPT_MISCONFIGURATION:
        return true;
    default:
        return false;
    }
}

static void each_reason(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        enum effect effect = rows[i].effect;
        bool goes_on = exits(rows[i].reason);
        uint64_t request = effect == REQUESTED ? rows[i].what
                           : effect == ENDED   ? ATTENTION_ENDED
                                               : 0;
        assert_int_equal(vcpu->vmx.attention.word, request);
        assert_int_equal(goes_on, !request);
        assert_int_equal(seen.handled, effect == HANDLED ? rows[i].reason : 0);
        assert_int_equal(seen.raised, effect == RAISED_UD || effect == RAISED_GP);
        assert_int_equal(seen.vector, effect == RAISED_UD   ? VECTOR_UD
                                      : effect == RAISED_GP ? VECTOR_GP
                                                            : 0);
        assert_int_equal(seen.skipped, effect == SKIPPED || rows[i].reason == REASON_HLT);
        assert_int_equal(vm.ending, effect == ENDED ? rows[i].what : VM_RUNNING);
        assert_int_equal(vcpu->vmx.exit.reason, rows[i].reason);
    }
}

/* An unexpected reason ends the VM with a message: one that the SDM lists, one that no CPU uses
 * yet, and one of a later format. */
static void other_reasons_end_the_vm(void **state)
{
    (void)state;
    for (uint32_t reason = 0; reason < REASON_COUNT + 100; reason++) {
        if (is_in_table(reason))
            continue;
        uint64_t counted = reason < REASON_COUNT ? vcpu->exits[reason] : 0;
        assert_false(exits(reason));
        assert_int_equal(vm.ending, VM_ENDED_UNHANDLED_EXIT);
        assert_non_null(strstr(vm.message,
                               "has no handler: a mistake of the hypervisor, not of the "
                               "guest; please report it with this line"));
        if (reason < REASON_COUNT)
            assert_int_equal(vcpu->exits[reason], counted + 1);
    }
    assert_false(exits(REASON_CPUID | (uint32_t)EXIT_REASON_BUS_LOCK));
    assert_int_equal(vm.ending, VM_ENDED_UNHANDLED_EXIT);
    assert_false(exits(33 | (uint32_t)EXIT_REASON_ENTRY_FAILED));
    assert_int_equal(vm.ending, VM_RUNNING); /* vmx_run() says why, and its caller ends the VM */
    assert_int_equal(vcpu->vmx.attention.word, ATTENTION_ENTRY_FAILED);
}

static void exceptions_and_nmis(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        prepare();
        seen.is_nmi = i == 0;
        seen.is_reflected = i == 1;
        vmcs[VMCS_EXIT_REASON] = REASON_EXCEPTION_OR_NMI;
        assert_int_equal(vmx_exited(&vcpu->vmx), i < 2);
        assert_int_equal(vm.ending, i < 2 ? VM_RUNNING : VM_ENDED_UNHANDLED_EXIT);
    }
}

/* The message names the guest that a machine check has interrupted, or that could not be entered
 * because of one (N126). */
static void a_machine_check_names_the_guest(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        prepare();
        snprintf(vm.name, sizeof(vm.name), "web");
        vcpu->index = 3;
        vcpu->vmx.exit.reason =
            i ? REASON_ENTRY_FAILED_MACHINE_CHECK | (uint32_t)EXIT_REASON_ENTRY_FAILED
              : REASON_EXCEPTION_OR_NMI;
        vmcs[VMCS_GUEST_RIP] = 0x1234;
        did[0] = 0;
        expect_assert_failure(vmx_machine_check(&vcpu->vmx));
        assert_string_equal(did, i ? "at the entry of vCPU 3 of guest web at RIP 0x1234"
                                   : "in vCPU 3 of guest web at RIP 0x1234");
    }
    vcpu->index = 0;
}

/* The repetitions after a triple fault leave no trace: their exits are not handled, and only what
 * the guest has not caused is dealt with. */
static void nothing_is_handled_after_a_triple_fault(void **state)
{
    (void)state;
    for (uint32_t reason = 0; reason < REASON_COUNT; reason++) {
        prepare();
        vcpu->vmx.attention.word = ATTENTION_SHUTDOWN;
        vmx_update_extra_work(&vcpu->vmx);
        vmcs[VMCS_EXIT_REASON] = reason;
        assert_false(vmx_exited(&vcpu->vmx));
        assert_int_equal(vcpu->vmx.exit.reason, reason);
        assert_int_equal(seen.handled + seen.raised + seen.requeued + seen.skipped, 0);
        assert_int_equal(vm.ending, VM_RUNNING);
        assert_int_equal(vcpu->vmx.attention.word, ATTENTION_SHUTDOWN);
        assert_null(tlb_cpus[0].running);
        if (reason == REASON_EPT_VIOLATION || reason == REASON_EXTERNAL_INTERRUPT)
            continue; /* the machine takes part in these */
        assert_int_equal(exit_was_incidental(vcpu),
                         reason == REASON_PREEMPTION_TIMER || reason == REASON_PML_FULL);
    }
    vcpu->vmx.exit.reason = REASON_EXCEPTION_OR_NMI;
    seen.is_nmi = true;
    assert_true(exit_was_incidental(vcpu));
    vcpu->vmx.attention.word = 0;
    vmx_update_extra_work(&vcpu->vmx);
    assert_false(vcpu->vmx.extra_work);
}

/* An exit that an instruction itself causes interrupts no delivery, whatever the IDT-vectoring
 * information says. */
static void cut_short_deliveries(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        uint32_t reason = rows[i].reason;
        prepare();
        vmcs[VMCS_EXIT_REASON] = reason;
        vmcs[VMCS_IDT_VECTORING_INFO] = EVENT_INFO_VALID;
        (void)vmx_exited(&vcpu->vmx);
        assert_int_equal(seen.requeued, !(vmx_exit_defines[reason] & OF_INSTRUCTION));
    }
}

/* An IRET that the exit interrupted has unblocked NMIs, and will be executed again. */
static void cut_short_irets(void **state)
{
    (void)state;
    for (unsigned unblocked = 0; unblocked < 2; unblocked++) {
        prepare();
        vmcs[VMCS_EXIT_REASON] = REASON_PML_FULL;
        vmcs[VMCS_EXIT_QUALIFICATION] = unblocked ? QUALIFICATION_NMI_UNBLOCKED : 0;
        assert_true(vmx_exited(&vcpu->vmx));
        assert_int_equal(seen.requeued, unblocked);
    }
}

static void misconfiguration(enum mmio_outcome outcome, bool is_iret, bool delivering)
{
    emulated.outcome = outcome;
    emulated.is_iret = is_iret;
    vcpu->vmx.exit.reason = REASON_EPT_MISCONFIGURATION;
    vcpu->vmx.pending.iret_again = false;
    vmcs[VMCS_IDT_VECTORING_INFO] = delivering ? EVENT_INFO_VALID : 0;
    ept_misconfiguration_slow(vcpu);
}

/* An EPT misconfiguration has no exit qualification, so the hypervisor looks for an IRET, and
 * blocks NMIs again if this IRET will be executed again. */
static void misconfigured_irets(void **state)
{
    (void)state;
    for (unsigned i = 0; i < (MMIO_END + 1) * 4; i++) {
        enum mmio_outcome outcome = (enum mmio_outcome)(i / 4);
        bool is_iret = i & 1, delivering = i & 2;
        bool again = is_iret && !delivering && outcome != MMIO_DONE && outcome != MMIO_INJECT;
        prepare();
        vcpu->slice_end = TIME_NEVER;
        misconfiguration(outcome, is_iret, delivering);
        assert_int_equal(vcpu->vmx.pending.iret_again, again);
        assert_int_equal(attention_requested(&vcpu->vmx.attention, ATTENTION_EVENT), again);
        assert_int_equal(seen.requeued, delivering);
    }
}

/* The preemption timer does not count during an exit. After a long one it is armed again if the
 * vCPU has a slice, and the vCPU does not enter the guest if the slice is over. */
static void long_exits_end_slices(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        bool has_slice = i & 1, is_over = i & 2;
        prepare();
        vcpu->next_event = is_over ? 1 : rdtsc() + (1ull << 40);
        vcpu->slice_end = has_slice ? vcpu->next_event : TIME_NEVER;
        misconfiguration(MMIO_DONE, false, false);
        assert_int_equal(vcpu->vmx.attention.word, has_slice && is_over ? ATTENTION_TIMER : 0);
        assert_int_equal(!vmcs[VMCS_PREEMPTION_TIMER_VALUE], !has_slice || is_over);
    }
}

/* The clock is checked after 64 exits, whatever the guest does. */
static void the_clock_is_looked_at(void **state)
{
    unsigned count = 0;
    (void)state;
    prepare();
    vmcs[VMCS_EXIT_REASON] = REASON_CPUID;
    while (vmx_exited(&vcpu->vmx))
        count++;
    assert_int_equal(count, 63);
}

/* After a write to tracked memory that was emulated, the debugger compares. */
static void writes_of_a_debugged_guest(void **state)
{
    const struct mmio_info info = {0};
    struct debugger debugger;
    (void)state;
    prepare();
    vcpu->vmx.exit.reason = REASON_EPT_VIOLATION;
    vmcs[VMCS_IDT_VECTORING_INFO] = EVENT_INFO_VALID; /* the CPU itself makes the write */
    compares = 0;
    for (unsigned debugged = 0; debugged < 2; debugged++) {
        vm.debugger = debugged ? &debugger : NULL;
        ept_violation_slow(vcpu, FAULT_RETRY, &info);
        assert_int_equal(compares, 0);
        ept_violation_slow(vcpu, FAULT_WRITE_PROTECTED, &info);
        assert_int_equal(compares, debugged);
    }
    vm.debugger = NULL;
}

/* A guest that has a debugger accesses its own debug registers. */
static void debug_registers_of_a_debugged_guest(void **state)
{
    struct debugger debugger;
    (void)state;
    vm.debugger = &debugger;
    (void)exits(REASON_MOV_DR);
    vm.debugger = NULL;
    assert_int_equal(yields, 1);
    assert_int_equal(takes, 1);
    (void)exits(REASON_MOV_DR);
    assert_int_equal(yields, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_reason),
        cmocka_unit_test(other_reasons_end_the_vm),
        cmocka_unit_test(exceptions_and_nmis),
        cmocka_unit_test(a_machine_check_names_the_guest),
        cmocka_unit_test(cut_short_deliveries),
        cmocka_unit_test(nothing_is_handled_after_a_triple_fault),
        cmocka_unit_test(cut_short_irets),
        cmocka_unit_test(misconfigured_irets),
        cmocka_unit_test(long_exits_end_slices),
        cmocka_unit_test(the_clock_is_looked_at),
        cmocka_unit_test(writes_of_a_debugged_guest),
        cmocka_unit_test(debug_registers_of_a_debugged_guest),
    };
    return cmocka_run_group_tests_name("exits", tests, setup, NULL);
}
