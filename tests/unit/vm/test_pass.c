/* SPDX-License-Identifier: MIT */
/*
 * Letting the CPU make one access to write-tracked memory (vm/pass.c): how the entry is prepared
 * for an instruction, an event and a handler of NMIs, which exits end it, and that a guest whose
 * instruction has not been executed finds its interrupt shadow and its pending traps as they were.
 */
#include "tests/unit/vmx/vmcs_world.h"

#include "vm/pass.c"

#include <stdio.h>
#include <string.h>

struct vmx_machine vmx;

static struct vm vm;
static struct vcpu *const vcpu = &vm.vcpu;

static struct {
    unsigned opened, closed, refreshed, compared;
    int error;
    bool nmi_window;
} seen;

int mmu_track_open(struct mmu *mmu, struct track_opening *opening, gpa_t gpa)
{
    assert_ptr_equal(mmu, &vm.mmu);
    assert_ptr_equal(opening, &vcpu->pass.opening);
    assert_int_equal(gpa.v, 0x5000);
    seen.opened++;
    return seen.error;
}

void mmu_track_close(struct mmu *mmu, struct track_opening *opening)
{
    assert_ptr_equal(mmu, &vm.mmu);
    assert_ptr_equal(opening, &vcpu->pass.opening);
    seen.closed++;
}

void debugger_written(struct vcpu *writer)
{
    assert_ptr_equal(writer, vcpu);
    assert_true(seen.closed); /* so that no further write is missed */
    seen.compared++;
}

void vmx_update_extra_work(struct vmx_vcpu *half)
{
    half->extra_work = attention_requested(&half->attention, ATTENTION_PASS);
    seen.refreshed++;
}

void vmx_set_primary(uint64_t mask, bool on)
{
    assert_int_equal(mask, PRIMARY_NMI_WINDOW_EXITING);
    seen.nmi_window = on;
}

void vmx_raise_trap(uint64_t pending)
{
    vmcs[VMCS_GUEST_PENDING_DEBUG] |= pending;
}

uint64_t cpu_reg_load(struct cpu_regs *cpu, enum cpu_reg reg)
{
    (void)cpu;
    return vmcs[reg == REG_RIP ? VMCS_GUEST_RIP : VMCS_GUEST_RFLAGS];
}

void vcpu_end(const struct vcpu *which, enum vm_ending ending, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(which->vm->message, sizeof(which->vm->message), format, arguments);
    va_end(arguments);
    which->vm->ending = ending;
}

/* ---- Entries --------------------------------------------------------------------------------- */

#define BEFORE (BLOCKING_BY_STI)
#define RATE   5

static void prepare(uint64_t rflags, uint64_t interruptibility, uint64_t pending)
{
    memset(&vm, 0, sizeof(vm));
    memset(vmcs, 0, sizeof(vmcs));
    memset(&seen, 0, sizeof(seen));
    vmx.msrs.misc = field_put(RATE, MISC_TIMER_RATE);
    vcpu->vm = &vm;
    vm.vcpu_count = 1;
    vm.vcpus[0] = vcpu;
    vmcs[VMCS_GUEST_RIP] = 0x1000;
    vmcs[VMCS_GUEST_RFLAGS] = rflags;
    vmcs[VMCS_GUEST_INTERRUPTIBILITY] = interruptibility;
    vmcs[VMCS_GUEST_PENDING_DEBUG] = pending;
    vmcs[VMCS_PREEMPTION_TIMER_VALUE] = 1234567;
    pass_open(vcpu, GPA(0x5000));
    assert_true(vcpu->vmx.extra_work && pass_is_open(vcpu));
    assert_int_equal(seen.opened, 1);
}

/* In the shadow of MOV SS, which lasts for one instruction; the NMI window is after it. */
static void an_instruction(void **state)
{
    static const uint64_t shadows[] = {0, BLOCKING_BY_STI, BLOCKING_BY_MOV_SS};
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(shadows); i++)
        for (unsigned tf = 0; tf < 2; tf++) {
            prepare(tf ? RFLAGS_TF : 0, shadows[i], BIT(12));
            pass_arm(vcpu);
            assert_int_equal(vmcs[VMCS_GUEST_INTERRUPTIBILITY], BLOCKING_BY_MOV_SS);
            /* Without which such an entry is refused (SDM 3, 27.3.1.5). */
            assert_int_equal(vmcs[VMCS_GUEST_PENDING_DEBUG], BIT(12) | (tf ? BIT(14) : 0));
            assert_true(seen.nmi_window && vcpu->vmx.windows);
            assert_int_equal(vmcs[VMCS_PREEMPTION_TIMER_VALUE], 1234567);
            assert_true(attention_requested(&vcpu->vmx.attention, ATTENTION_EVENT));
        }
}

/* The timer at 0 exits after the delivery and before the handler. */
static void an_event(void **state)
{
    (void)state;
    prepare(0, 0, 0);
    vmcs[VMCS_ENTRY_INTERRUPTION_INFO] = EVENT_INFO_VALID | VECTOR_PF;
    pass_arm(vcpu);
    assert_int_equal(vmcs[VMCS_PREEMPTION_TIMER_VALUE], 0);
    assert_int_equal(vmcs[VMCS_GUEST_INTERRUPTIBILITY], 0);
    assert_false(seen.nmi_window || vcpu->pass.armed);
}

/* Its window does not open: it gets a short time. */
static void a_handler_of_nmis(void **state)
{
    (void)state;
    prepare(0, BLOCKING_BY_NMI, 0);
    pass_arm(vcpu);
    assert_in_range(vmcs[VMCS_PREEMPTION_TIMER_VALUE], 1, 1000);
    assert_int_equal(vmcs[VMCS_GUEST_INTERRUPTIBILITY], BLOCKING_BY_NMI);
    assert_false(seen.nmi_window || vcpu->pass.armed);
}

/* ---- Exits ----------------------------------------------------------------------------------- */

static bool may_need_more(uint32_t reason)
{
    return reason == REASON_EPT_VIOLATION || reason == REASON_EPT_MISCONFIGURATION ||
           reason == REASON_PML_FULL;
}

static void each_exit(void **state)
{
    (void)state;
    for (uint32_t reason = 0; reason < REASON_COUNT; reason++)
        for (unsigned moved = 0; moved < 2; moved++) {
            prepare(RFLAGS_TF, BEFORE, BIT(12));
            pass_arm(vcpu);
            /* An instruction ends the shadow, and what it leaves is its own. */
            if (moved) {
                vmcs[VMCS_GUEST_RIP] += 3;
                vmcs[VMCS_GUEST_INTERRUPTIBILITY] = 0;
                vmcs[VMCS_GUEST_PENDING_DEBUG] = BIT(14);
            }
            pass_exit(vcpu, reason);
            bool as_before = !moved && reason != REASON_NMI_WINDOW;
            if (as_before) {
                assert_int_equal(vmcs[VMCS_GUEST_INTERRUPTIBILITY], BEFORE);
                assert_int_equal(vmcs[VMCS_GUEST_PENDING_DEBUG], BIT(12));
            } else if (moved) {
                assert_int_equal(vmcs[VMCS_GUEST_INTERRUPTIBILITY], 0);
                assert_int_equal(vmcs[VMCS_GUEST_PENDING_DEBUG], BIT(14));
            }
            assert_int_equal(seen.closed, !may_need_more(reason));
            assert_int_equal(pass_is_open(vcpu), may_need_more(reason));
            assert_int_equal(vcpu->vmx.extra_work, may_need_more(reason));
            assert_false(vcpu->pass.armed);
            assert_int_equal(seen.compared, 0); /* there is no debugger */
        }
}

/* The debugger compares what has been written, when nothing more can be. */
static void a_debugger(void **state)
{
    static struct debugger debugger;
    (void)state;
    prepare(0, 0, 0);
    vm.debugger = &debugger;
    pass_arm(vcpu);
    pass_exit(vcpu, REASON_EPT_VIOLATION);
    assert_int_equal(seen.compared, 0);
    pass_exit(vcpu, REASON_NMI_WINDOW);
    assert_int_equal(seen.compared, 1);
    vm.debugger = NULL;
}

/* Several pages: each round is prepared anew, from the state of the first one. */
static void an_instruction_of_several_pages(void **state)
{
    (void)state;
    prepare(RFLAGS_TF, BEFORE, 0);
    for (unsigned i = 0; i < 5; i++) {
        pass_arm(vcpu);
        pass_exit(vcpu, REASON_EPT_VIOLATION);
        assert_int_equal(vmcs[VMCS_GUEST_INTERRUPTIBILITY], BEFORE);
        assert_int_equal(vmcs[VMCS_GUEST_PENDING_DEBUG], 0);
        pass_open(vcpu, GPA(0x5000));
    }
    assert_int_equal(seen.opened, 6);
    assert_int_equal(vm.ending, VM_RUNNING);
}

static void too_many_pages(void **state)
{
    (void)state;
    prepare(0, 0, 0);
    seen.error = -1;
    pass_open(vcpu, GPA(0x5000));
    assert_int_equal(vm.ending, VM_ENDED_MEMORY_FAULT);
    assert_non_null(strstr(vm.message, "RIP 0x1000 writes to more than"));
    pass_close(vcpu);
    assert_int_equal(seen.closed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_instruction),    cmocka_unit_test(an_event),
        cmocka_unit_test(a_handler_of_nmis), cmocka_unit_test(each_exit),
        cmocka_unit_test(a_debugger),        cmocka_unit_test(an_instruction_of_several_pages),
        cmocka_unit_test(too_many_pages),
    };
    return cmocka_run_group_tests_name("one access", tests, NULL, NULL);
}
