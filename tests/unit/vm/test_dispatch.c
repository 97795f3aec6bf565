/* SPDX-License-Identifier: MIT */
/*
 * The effect of each exit (vm/dispatch.c): the handler, fault, request or end of the VM for each
 * reason, and first the redelivery of an event whose delivery the exit has interrupted. Also
 * XSETBV: which values of which registers set XCR0, and that a value which is refused by the
 * hypervisor or by the CPU changes nothing.
 */
#include "tests/unit/vm/run_world.h"

static void run_point(void)
{
}

static void ring0_step(uint64_t *rip)
{
    (void)rip;
}

void ipi_receive(struct vcpu *v)
{
    (void)v;
}

void ipi_start(struct vcpu *v)
{
    (void)v;
}

bool vmx_wakes(const struct vmx_vcpu *half)
{
    (void)half;
    return false;
}

bool vmx_deliver_event(struct vmx_vcpu *half)
{
    (void)half;
    return true;
}

int vmx_run(struct vmx_vcpu *half)
{
    (void)half;
    return 0;
}

static void prepare(void)
{
    memset(&seen, 0, sizeof(seen));
    vm.ending = VM_RUNNING;
    vm.vcpu_count = 1;
    vm.vcpus[0] = vcpu;
    vcpu->vm = &vm;
    vcpu->mmio.mmu = &vm.mmu;
    vcpu->vmx.attention.word = 0;
    vcpu->exits_left = 64;
    vcpu->place = tlb_place(0);
    tlb_cpus[0].entered = tlb_debt(&vm.mmu);
    memset(vmcs, 0, sizeof(vmcs));
}

static bool exits(uint32_t reason)
{
    prepare();
    vmcs[VMCS_EXIT_REASON] = reason;
    return vmx_exited(&vcpu->vmx);
}

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

/* ---- XSETBV ---------------------------------------------------------------------------------- */

static struct cpuid has_all(uint32_t leaf, uint32_t subleaf)
{
    (void)subleaf;
    return leaf ? (struct cpuid){~0u, ~0u, ~0u, ~0u} : (struct cpuid){0x1f, 0, 0, 0};
}

static uint64_t asked;
static unsigned asks;
static bool cpu_refuses;
static bool cpu_answers(uint64_t value)
{
    asked = value;
    asks++;
    return !cpu_refuses;
}

static void xsetbv(uint64_t rax, uint64_t rdx, uint64_t rcx, unsigned cpl)
{
    prepare();
    asks = 0;
    cpu_takes_xcr0 = cpu_answers;
    vcpu->extra.xcr0 = 0x11;
    vcpu->vmx.regs.gpr[GPR_RAX] = rax;
    vcpu->vmx.regs.gpr[GPR_RDX] = rdx;
    vcpu->vmx.regs.gpr[GPR_RCX] = rcx;
    vmcs[VMCS_GUEST_SS_ACCESS_RIGHTS] = 0x93 | cpl << 5;
    vmcs[VMCS_EXIT_REASON] = REASON_XSETBV;
    assert_true(vmx_exited(&vcpu->vmx));
}

static void is_set(uint64_t value)
{
    assert_int_equal(vcpu->extra.xcr0, value);
    assert_int_equal(asked, value);
    assert_int_equal(seen.updates, 1);
    assert_int_equal(seen.skipped, 1);
    assert_int_equal(seen.raised, 0);
}

static void is_refused(void)
{
    assert_int_equal(vcpu->extra.xcr0, 0x11);
    assert_int_equal(seen.updates | seen.skipped, 0);
    assert_int_equal(seen.raised, 1);
    assert_int_equal(seen.vector, VECTOR_GP);
    assert_int_equal(seen.error_code, 0);
}

/* The SDM's rules (SDM 1, 13.3), written differently from vmx/xcr0.c. */
static bool is_legal(uint64_t value, uint64_t has)
{
    bool sse = value & 2, avx = value & 4;
    uint64_t avx512 = value >> 5 & 7, other = value & ~(BIT(9) | 0xe7);
    return (value & 1) && !(value & ~has) && !other && (sse || !avx) && (avx || !avx512) &&
           (avx512 == 0 || avx512 == 7);
}

static const uint64_t hosts[] = {3, 7, 0xe7, 0x203, 0x207, 0x2e7, 0x602e7};

static void each_value(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(hosts); i++) {
        const struct feature_host host = {
            .cpuid = has_all, .xcr0 = hosts[i], .secondary = ~0ull, .cr4 = ~0ull};
        features_setup(&host);
        unsigned taken = 0;
        for (uint64_t value = 0; value < BIT(10); value++) {
            bool legal = is_legal(value, hosts[i]);
            xsetbv(value, 0, 0, 0);
            legal ? is_set(value) : is_refused();
            assert_int_equal(asks, legal); /* the CPU is asked for legal values only */
            taken += legal;
            /* Bits 63:32 of the registers are ignored. */
            xsetbv(value | 0xdeadbeefull << 32, 0xabcdull << 32, 0x1234ull << 32, 0);
            legal ? is_set(value) : is_refused();
        }
        assert_true(taken > 1);
        for (unsigned bit = 10; bit < 64; bit++) { /* each alone and beside the others */
            uint64_t value = 3 | BIT(bit);
            xsetbv((uint32_t)value, value >> 32, 0, 0);
            is_refused();
        }
    }
}

static void other_registers_and_rings(void **state)
{
    (void)state;
    for (unsigned cpl = 1; cpl < 4; cpl++) {
        xsetbv(3, 0, 0, cpl);
        is_refused();
        assert_int_equal(asks, 0);
    }
    for (unsigned bit = 0; bit < 32; bit++) { /* no other register exists */
        xsetbv(3, 0, BIT(bit), 0);
        is_refused();
        assert_int_equal(asks, 0);
    }
}

/* The CPU may refuse a value for a reason that the hypervisor does not know. */
static void the_cpu_refuses(void **state)
{
    (void)state;
    cpu_refuses = true;
    xsetbv(3, 0, 0, 0);
    cpu_refuses = false;
    is_refused();
    assert_int_equal(asks, 1);
}

static void refusals_are_said(void **state)
{
    (void)state;
    support_reset();
    vm.refused = 0;
    xsetbv(0x80000006, 0x1234, 7, 0);
    is_refused();
    assert_non_null(strstr(support_log(), ": XSETBV of 0x123480000006 to XCR7 at RIP 0: #GP"));
    vcpu->vmx.regs.gpr[GPR_RCX] = 0xffffffff40000001;
    (void)exits(REASON_RDPMC);
    assert_non_null(strstr(support_log(), ": RDPMC of counter 0x40000001 at RIP 0: #GP"));
}

static int setup(void **state)
{
    (void)state;
    ring0_begin();
    return 0;
}

/* ---- Traced exits ---------------------------------------------------------------------------- */

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
    static struct td td;
    for (unsigned i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
        uint32_t reason = rows[i / 2].reason;
        struct trace_record records[2];
        prepare();
        support_reset();
        assert_int_equal(trace_create_ring(0), 0);
        vm.number = 5;
        vm.td = i % 2 ? &td : NULL; /* one that may not be inspected */
        trace_run(5, 3, NULL);
        trace_select(5, TRACE_EXIT_EVENTS);
        follow_trace(vcpu);
        assert_true(vcpu->vmx.extra_work);
        vmcs[VMCS_EXIT_REASON] = reason;
        vmcs[VMCS_GUEST_RIP] = 0x333;
        vmcs[VMCS_EXIT_QUALIFICATION] = 0x111;
        vmcs[VMCS_GUEST_PHYSICAL_ADDRESS] = 0x222;
        bool again = vmx_exited(&vcpu->vmx);
        assert_int_equal(again, rows[i / 2].effect != REQUESTED);
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
        vm.td = NULL;
    }
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
        cmocka_unit_test(exits_and_entries_as_events),
        cmocka_unit_test(each_reason),
        cmocka_unit_test(other_reasons_end_the_vm),
        cmocka_unit_test(exceptions_and_nmis),
        cmocka_unit_test(cut_short_deliveries),
        cmocka_unit_test(nothing_is_handled_after_a_triple_fault),
        cmocka_unit_test(cut_short_irets),
        cmocka_unit_test(misconfigured_irets),
        cmocka_unit_test(long_exits_end_slices),
        cmocka_unit_test(the_clock_is_looked_at),
        cmocka_unit_test(each_value),
        cmocka_unit_test(other_registers_and_rings),
        cmocka_unit_test(the_cpu_refuses),
        cmocka_unit_test(refusals_are_said),
        cmocka_unit_test(debug_registers_of_a_debugged_guest),
    };
    return cmocka_run_group_tests_name("exits", tests, setup, NULL);
}
