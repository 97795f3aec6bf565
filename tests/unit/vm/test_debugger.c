/* SPDX-License-Identifier: MIT */
/*
 * What a vCPU does for a debugger (vm/debugger.c): whose #BP and #DB it is, that the guest keeps
 * its debug registers, and that a step leaves the guest as it would be without it, whichever exit
 * ends it.
 */
#include "tests/unit/vmx/vmcs_world.h"

#include "arch/x86/cpu.h"

static uint64_t dr[4];
#define read_dr0()       dr[0]
#define read_dr1()       dr[1]
#define read_dr2()       dr[2]
#define read_dr3()       dr[3]
#define write_dr0(value) (dr[0] = (value))
#define write_dr1(value) (dr[1] = (value))
#define write_dr2(value) (dr[2] = (value))
#define write_dr3(value) (dr[3] = (value))

#include "vm/debugger.c"

#include <string.h>

static struct vm vm;
static struct vcpu vcpu;
static struct debugger debugger;
static struct {
    unsigned stops, raised, cleared;
    enum debugger_stop why;
    uint64_t detail, asked, reasons;
} seen;
static bool is_ours, at_iret;

struct vmx_machine vmx;

uint64_t cpu_reg_load(struct cpu_regs *cpu, enum cpu_reg which)
{
    (void)cpu;
    return which == REG_RIP      ? vmcs[VMCS_GUEST_RIP]
           : which == REG_RFLAGS ? vmcs[VMCS_GUEST_RFLAGS]
                                 : vmcs[VMCS_GUEST_CS_BASE];
}

void cpu_set_reg(struct cpu_regs *cpu, enum cpu_reg which, uint64_t value)
{
    (void)cpu;
    assert_int_equal(which, REG_DR7);
    vmcs[VMCS_GUEST_DR7] = value;
}

void debug_breakpoints_update(struct vcpu *v, const uint64_t *address)
{
    v->mmio.breakpoints.on = debug_is_enabled(vmcs[VMCS_GUEST_DR7]);
    memcpy(v->mmio.breakpoints.address, address, sizeof(dr));
}

void vmx_raise_debug(struct vmx_vcpu *half, uint64_t reasons)
{
    (void)half;
    seen.raised++;
    seen.reasons = reasons;
}

void vmx_raise_trap(uint64_t pending)
{
    vmcs[VMCS_GUEST_PENDING_DEBUG] |= pending;
}

void vmx_set_primary(uint64_t mask, bool on)
{
    vmcs[VMCS_PRIMARY_CONTROLS] = (vmcs[VMCS_PRIMARY_CONTROLS] & ~mask) | (on ? mask : 0);
}

void mmio_cache_clear_gva(struct mmio_cache *cache)
{
    assert_ptr_equal(cache, &vcpu.mmio.cache);
    seen.cleared++;
}

bool mmio_at_iret(struct mmio_vcpu *mmio)
{
    (void)mmio;
    return at_iret;
}

static bool owns(struct vcpu *v, uint64_t linear)
{
    assert_ptr_equal(v, &vcpu);
    seen.asked = linear;
    return is_ours;
}

static void stopped(struct vcpu *v, enum debugger_stop why, uint64_t detail)
{
    assert_ptr_equal(v, &vcpu);
    seen.stops++;
    seen.why = why;
    seen.detail = detail;
}

static void stepped_over(struct vcpu *v)
{
    stopped(v, DEBUGGER_STEPPED, 0);
}

static int setup(void **state)
{
    (void)state;
    memset(&vcpu, 0, sizeof(vcpu));
    memset(vmcs, 0, sizeof(vmcs));
    memset(&seen, 0, sizeof(seen));
    debugger = (struct debugger){.owns = owns, .stopped = stopped};
    vm.debugger = &debugger;
    vcpu.vm = &vm;
    vmcs[VMCS_GUEST_DR7] = 0x400;
    vmcs[VMCS_EXCEPTION_BITMAP] = BIT(VECTOR_DB) | BIT(VECTOR_AC);
    for (unsigned i = 0; i < 4; i++)
        dr[i] = 0x100 + i;
    is_ours = at_iret = false;
    return 0;
}

/* ---- Turns ----------------------------------------------------------------------------------- */

static void bp_exits_while_there_are_breakpoints(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        debugger.software = i & 1;
        debugger_begin(&vcpu);
        debugger_end(&vcpu);
        assert_int_equal(vmcs[VMCS_EXCEPTION_BITMAP],
                         BIT(VECTOR_DB) | BIT(VECTOR_AC) | (i & 1 ? BIT(VECTOR_BP) : 0));
    }
}

static void the_guest_keeps_its_registers(void **state)
{
    (void)state;
    const uint64_t guest[] = {0x100, 0x101, 0x102, 0x103};
    debugger.dr7 = 0xd0004;
    for (unsigned i = 0; i < 4; i++)
        debugger.address[i] = 0x9000 + i;
    for (unsigned i = 0; i < 2; i++) {
        debugger_begin(&vcpu);
        assert_memory_equal(dr, debugger.address, sizeof(dr));
        assert_int_equal(vmcs[VMCS_GUEST_DR7], 0xd0404);
        assert_true(vcpu.mmio.breakpoints.on);
        assert_memory_equal(vcpu.mmio.breakpoints.address, debugger.address, sizeof(dr));
        debugger_end(&vcpu);
        assert_memory_equal(dr, guest, sizeof(dr));
        assert_int_equal(vmcs[VMCS_GUEST_DR7], 0x400);
        assert_false(vcpu.mmio.breakpoints.on);
    }
    /* A guest that enables its own has the registers for itself. */
    for (unsigned bit = 0; bit < 8; bit++) {
        vmcs[VMCS_GUEST_DR7] = 0x400 | BIT(bit);
        debugger_begin(&vcpu);
        assert_memory_equal(dr, guest, sizeof(dr));
        assert_int_equal(vmcs[VMCS_GUEST_DR7], 0x400 | BIT(bit));
        assert_false(vcpu.debugger.applied);
        debugger_end(&vcpu);
    }
}

/* The kinds that the guest has left of breakpoints which it has disabled do not change those of the
 * debugger. What the CPU clears in DR7 meanwhile, GD by #DB and LE by a task switch, stays so. */
static void the_parts_of_dr7(void **state)
{
    (void)state;
    for (unsigned cleared = 0; cleared < 4; cleared++) {
        uint64_t clears = (cleared & 1 ? BIT(13) : 0) | (cleared & 2 ? BIT(8) : 0);
        setup(NULL);
        debugger.dr7 = 0xd0008;
        vmcs[VMCS_GUEST_DR7] = 0xffff2700;
        debugger_begin(&vcpu);
        assert_int_equal(vmcs[VMCS_GUEST_DR7], 0xd2708);
        vmcs[VMCS_GUEST_DR7] &= ~clears;
        debugger_end(&vcpu);
        assert_int_equal(vmcs[VMCS_GUEST_DR7], 0xffff2700 & ~clears);
    }
}

/* What the emulator knows of the guest's code is forgotten once after each change. */
static void changed_code_is_read_again(void **state)
{
    (void)state;
    for (unsigned i = 1; i < 4; i++) {
        debugger.generation++;
        debugger_begin(&vcpu);
        debugger_end(&vcpu);
        debugger_begin(&vcpu);
        debugger_end(&vcpu);
        assert_int_equal(seen.cleared, i);
    }
}

/* ---- Exceptions ------------------------------------------------------------------------------ */

#define INFO_HARDWARE (BIT(31) | 3 << 8)
#define INFO_SOFTWARE (BIT(31) | 6 << 8)

static bool exception(uint64_t info, uint64_t qualification)
{
    memset(&seen, 0, sizeof(seen));
    vcpu.vmx.exit.reason = REASON_EXCEPTION_OR_NMI;
    vmcs[VMCS_EXIT_INTERRUPTION_INFO] = info;
    vmcs[VMCS_EXIT_QUALIFICATION] = qualification;
    vcpu.vmx.regs.known = 0;
    return debugger_exception(&vcpu);
}

static void whose_int3_it_is(void **state)
{
    (void)state;
    vmcs[VMCS_GUEST_RIP] = 0xfff0;
    vmcs[VMCS_GUEST_CS_BASE] = 0x20000;
    assert_false(exception(INFO_SOFTWARE | VECTOR_BP, 0));
    assert_int_equal(seen.stops, 0);
    assert_int_equal(seen.asked, 0x2fff0);
    is_ours = true;
    assert_true(exception(INFO_SOFTWARE | VECTOR_BP, 0));
    assert_int_equal(seen.why, DEBUGGER_BREAKPOINT);
    assert_int_equal(vmcs[VMCS_GUEST_RIP], 0xfff0);
    vmcs[VMCS_GUEST_CS_BASE] = 0xfffff000; /* a linear address has 32 bits */
    assert_true(exception(INFO_SOFTWARE | VECTOR_BP, 0));
    assert_int_equal(seen.asked, 0xeff0);
    vmcs[VMCS_ENTRY_CONTROLS] = ENTRY_IA32E_GUEST; /* 64-bit code has no base */
    vmcs[VMCS_GUEST_CS_ACCESS_RIGHTS] = SEG_AR_L;
    vmcs[VMCS_GUEST_RIP] = 0xffffffff81000000;
    assert_true(exception(INFO_SOFTWARE | VECTOR_BP, 0));
    assert_int_equal(seen.asked, 0xffffffff81000000);
}

static void whose_db_it_is(void **state)
{
    (void)state;
    is_ours = true;
    for (unsigned i = 0; i < 2 * 16 * 16 * 2; i++) {
        bool applied = i & 1, step = i & 2;
        uint64_t enabled = i >> 2 & 15, met = i >> 6, other = step ? TRAP_SINGLE_STEP : 0;
        bool ours = applied && met;
        vcpu.debugger.applied = applied;
        debugger.dr7 = 0;
        for (unsigned n = 0; n < 4; n++)
            debugger.dr7 |= enabled & BIT(n) ? BIT(2 * n + (n & 1)) : 0;
        assert_int_equal(exception(INFO_HARDWARE | VECTOR_DB, met | other), ours);
        assert_int_equal(seen.stops, ours && (met & enabled)); /* others may be reported, too */
        assert_int_equal(seen.detail, ours ? met & enabled : 0);
        assert_int_equal(seen.raised, ours && step); /* the rest is the guest's */
        assert_int_equal(seen.reasons, ours ? other : 0);
    }
    assert_false(exception(INFO_HARDWARE | VECTOR_AC, 0xf));
}

/* ---- Steps ----------------------------------------------------------------------------------- */

static void enter(void)
{
    vcpu.vmx.regs.known = 0;
    assert_true(debugger_step_prepare(&vcpu));
    debugger_step_arm(&vcpu);
}

static void leave(uint32_t reason, uint64_t rip)
{
    vcpu.vmx.regs.known = 0;
    vcpu.vmx.exit.reason = reason;
    vmcs[VMCS_GUEST_RIP] = rip;
    debugger_step_exited(&vcpu);
}

static bool steps(void)
{
    return attention_requested(&vcpu.vmx.attention, ATTENTION_STEP);
}

static void one_instruction(void **state)
{
    (void)state;
    for (unsigned shadow = 0; shadow < 2; shadow++) {
        setup(NULL);
        vmcs[VMCS_GUEST_RIP] = 0x1000;
        vmcs[VMCS_GUEST_INTERRUPTIBILITY] = shadow; /* after an STI */
        debugger_step(&vcpu, stepped_over);
        assert_true(steps());
        enter();
        assert_int_equal(vmcs[VMCS_GUEST_INTERRUPTIBILITY], BLOCKING_BY_MOV_SS);
        assert_true(vmcs[VMCS_PRIMARY_CONTROLS] & PRIMARY_NMI_WINDOW_EXITING);
        assert_true(vcpu.vmx.windows); /* so that the next entry without an NMI ends it */
        assert_int_equal(vmcs[VMCS_GUEST_RFLAGS] & RFLAGS_TF, 0);
        /* A kick, or a page that was not there: the guest is as before, and the step goes on. */
        leave(shadow ? REASON_EPT_VIOLATION : REASON_PREEMPTION_TIMER, 0x1000);
        assert_int_equal(vmcs[VMCS_GUEST_INTERRUPTIBILITY], shadow);
        assert_int_equal(vmcs[VMCS_GUEST_PENDING_DEBUG], 0);
        assert_true(steps() && !seen.stops);
        enter();
        vmcs[VMCS_GUEST_INTERRUPTIBILITY] = 0;
        leave(REASON_NMI_WINDOW, shadow ? 0x1000 : 0x1003); /* JMP to itself, or another one */
        assert_false(steps());
        assert_int_equal(seen.why, DEBUGGER_STEPPED);
        assert_int_equal(seen.stops, 1);
    }
}

/* Also by an exit of the instruction itself, before or after a further piece of its work. */
static void an_emulated_instruction(void **state)
{
    (void)state;
    vmcs[VMCS_GUEST_RIP] = 0x1000;
    debugger_step(&vcpu, stepped_over);
    enter();
    leave(REASON_CPUID, 0x1002);
    assert_int_equal(seen.stops, 1);
    debugger_step(&vcpu, stepped_over);
    enter();
    leave(REASON_VMCALL, 0x1002);
    assert_true(steps());
    vmcs[VMCS_GUEST_RIP] = 0x1005;
    vcpu.vmx.regs.known = 0;
    assert_false(debugger_step_prepare(&vcpu));
    assert_false(steps());
    assert_int_equal(seen.stops, 2);
}

/* A delivery takes the place of an instruction. */
static void an_event_is_delivered(void **state)
{
    (void)state;
    debugger_step(&vcpu, stepped_over);
    vmcs[VMCS_PREEMPTION_TIMER_VALUE] = 77;
    assert_true(debugger_step_prepare(&vcpu));
    vmcs[VMCS_ENTRY_INTERRUPTION_INFO] = INFO_HARDWARE | 13;
    debugger_step_arm(&vcpu);
    assert_int_equal(vmcs[VMCS_PREEMPTION_TIMER_VALUE], 0);
    assert_int_equal(vmcs[VMCS_GUEST_INTERRUPTIBILITY] & INTERRUPT_SHADOW, 0);
    leave(REASON_PREEMPTION_TIMER, 0x5000);
    assert_int_equal(seen.stops, 1);
}

/* In the handler of an NMI, NMIs are blocked again after the step, unless it was the IRET. */
static void in_the_handler_of_an_nmi(void **state)
{
    (void)state;
    for (unsigned iret = 0; iret < 2; iret++) {
        setup(NULL);
        at_iret = iret;
        vmcs[VMCS_GUEST_INTERRUPTIBILITY] = BLOCKING_BY_NMI;
        debugger_step(&vcpu, stepped_over);
        enter();
        assert_int_equal(vmcs[VMCS_GUEST_INTERRUPTIBILITY], BLOCKING_BY_MOV_SS);
        vmcs[VMCS_GUEST_INTERRUPTIBILITY] = 0;
        leave(REASON_NMI_WINDOW, 0x10);
        assert_int_equal(vmcs[VMCS_GUEST_INTERRUPTIBILITY], iret ? 0 : BLOCKING_BY_NMI);
    }
}

/* A step that is taken back between two entries leaves nothing behind, and calls nobody. */
static void taken_back(void **state)
{
    (void)state;
    vmcs[VMCS_GUEST_RIP] = 0x1000;
    assert_false(debugger_step_cancel(&vcpu));
    debugger_step(&vcpu, stepped_over);
    enter();
    leave(REASON_PREEMPTION_TIMER, 0x1000);
    assert_true(debugger_step_cancel(&vcpu));
    assert_false(steps());
    leave(REASON_CPUID, 0x1002);
    assert_int_equal(seen.stops, 0);
    assert_int_equal(vmcs[VMCS_GUEST_INTERRUPTIBILITY], 0);
    assert_false(debugger_step_cancel(&vcpu));
}

/* The guest's own trap flag traps as before. */
static void a_guest_that_steps(void **state)
{
    (void)state;
    vmcs[VMCS_GUEST_RFLAGS] = RFLAGS_TF;
    debugger_step(&vcpu, stepped_over);
    enter();
    assert_int_equal(vmcs[VMCS_GUEST_PENDING_DEBUG], TRAP_SINGLE_STEP);
    leave(REASON_PREEMPTION_TIMER, 0);
    assert_int_equal(vmcs[VMCS_GUEST_PENDING_DEBUG], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(bp_exits_while_there_are_breakpoints, setup),
        cmocka_unit_test_setup(the_guest_keeps_its_registers, setup),
        cmocka_unit_test_setup(the_parts_of_dr7, setup),
        cmocka_unit_test_setup(changed_code_is_read_again, setup),
        cmocka_unit_test_setup(whose_int3_it_is, setup),
        cmocka_unit_test_setup(whose_db_it_is, setup),
        cmocka_unit_test_setup(one_instruction, setup),
        cmocka_unit_test_setup(an_emulated_instruction, setup),
        cmocka_unit_test_setup(an_event_is_delivered, setup),
        cmocka_unit_test_setup(in_the_handler_of_an_nmi, setup),
        cmocka_unit_test_setup(taken_back, setup),
        cmocka_unit_test_setup(a_guest_that_steps, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
