/* SPDX-License-Identifier: MIT */
#include "vm/debugger.h"

#include "arch/x86/cpu.h"
#include "mmio/breakpoints.h"
#include "mmio/fetch.h"
#include "vm/debug_rules.h"
#include "vm/exits.h"
#include "vm/vm.h"
#include "vmx/vmcs.h"

#define HITS  BITS(3, 0)   /* of the qualification of #DB */
#define KINDS BITS(31, 16) /* of DR7: kinds of access and lengths, which mean nothing alone */

static struct debugger *debugger_of(const struct vcpu *vcpu)
{
    return vcpu->vm->debugger;
}

/* ---- Hardware breakpoints -------------------------------------------------------------------- */

static void set_addresses(const uint64_t *address)
{
    write_dr0(address[0]);
    write_dr1(address[1]);
    write_dr2(address[2]);
    write_dr3(address[3]);
}

void debugger_take(struct vcpu *vcpu)
{
    const struct debugger *debugger = debugger_of(vcpu);
    struct debugger_vcpu *own = &vcpu->debugger;
    uint64_t dr7 = vmread(VMCS_GUEST_DR7);
    if (!debugger->dr7 || debug_is_enabled(dr7))
        return;
    const uint64_t guest[] = {read_dr0(), read_dr1(), read_dr2(), read_dr3()};
    for (unsigned i = 0; i < DEBUGGER_SLOTS; i++)
        own->guest_address[i] = guest[i];
    own->guest_dr7 = dr7;
    own->applied = true;
    set_addresses(debugger->address);
    cpu_set_reg(&vcpu->vmx.regs, REG_DR7, (dr7 & ~KINDS) | debugger->dr7);
    debug_breakpoints_update(vcpu, debugger->address);
}

/* A #DB that the guest got meanwhile has cleared DR7.GD, and a task switch DR7.LE. */
void debugger_yield(struct vcpu *vcpu)
{
    struct debugger_vcpu *own = &vcpu->debugger;
    if (!own->applied)
        return;
    own->applied = false;
    set_addresses(own->guest_address);
    cpu_set_reg(&vcpu->vmx.regs, REG_DR7, own->guest_dr7 & (vmread(VMCS_GUEST_DR7) | KINDS));
    debug_breakpoints_update(vcpu, own->guest_address);
}

/* ---- Turns ----------------------------------------------------------------------------------- */

void debugger_begin(struct vcpu *vcpu)
{
    const struct debugger *debugger = debugger_of(vcpu);
    uint64_t exceptions = vmread(VMCS_EXCEPTION_BITMAP) & ~BIT(VECTOR_BP);
    vmwrite(VMCS_EXCEPTION_BITMAP, exceptions | (debugger->software ? BIT(VECTOR_BP) : 0));
    vcpu->vmx.regs.known = 0; /* of another turn */
    debugger_take(vcpu);
    if (vcpu->debugger.generation == debugger->generation)
        return;
    vcpu->debugger.generation = debugger->generation;
    mmio_cache_clear_gva(&vcpu->mmio.cache);
}

void debugger_end(struct vcpu *vcpu)
{
    debugger_yield(vcpu);
}

/* ---- Exceptions ------------------------------------------------------------------------------ */

static uint64_t linear_rip(struct vcpu *vcpu)
{
    struct cpu_regs *cpu = &vcpu->vmx.regs;
    uint64_t rip = cpu_reg(cpu, REG_RIP);
    return vmx_in_64_bit_code() ? rip : (uint32_t)(rip + cpu_reg(cpu, REG_SEG_BASE + SEG_CS));
}

/* The breakpoints of the qualification that are enabled: the CPU may report others, too (SDM 3,
 * 28.2.1). */
static uint64_t hits_of(const struct debugger *debugger, uint64_t reasons)
{
    uint64_t hits = 0;
    for (unsigned i = 0; i < DEBUGGER_SLOTS; i++)
        hits |= debugger->dr7 >> (2 * i) & 3 ? reasons & BIT(i) : 0;
    return hits;
}

/* Of a #DB that is the debugger's and the guest's, the guest gets its part. */
bool debugger_exception(struct vcpu *vcpu)
{
    struct debugger *debugger = debugger_of(vcpu);
    const struct vmx_exit *exit = &vcpu->vmx.exit;
    uint32_t info = vmx_exit_interruption(exit);
    uint8_t vector = (uint8_t)info;
    if (vector == VECTOR_BP && debugger->owns(vcpu, linear_rip(vcpu))) {
        debugger->stopped(vcpu, DEBUGGER_BREAKPOINT, 0);
        return true;
    }
    uint64_t reasons = vector == VECTOR_DB ? vmx_exit_qualification(exit) : 0;
    if (!vcpu->debugger.applied || !(reasons & HITS))
        return false;
    if (reasons & ~(HITS | TRAP_ENABLED_BREAKPOINT))
        vmx_raise_debug(&vcpu->vmx, reasons & ~HITS);
    uint64_t hits = hits_of(debugger, reasons);
    if (hits)
        debugger->stopped(vcpu, DEBUGGER_HARDWARE, hits);
    return true;
}

void debugger_written(struct vcpu *vcpu)
{
    const struct debugger *debugger = debugger_of(vcpu);
    if (debugger->watches)
        debugger->written(vcpu);
}

void debugger_remapped(struct vcpu *vcpu)
{
    const struct debugger *debugger = debugger_of(vcpu);
    if (debugger->watches)
        debugger->remapped(vcpu);
}

/* ---- Steps ----------------------------------------------------------------------------------- */

void debugger_step(struct vcpu *vcpu, void (*stepped)(struct vcpu *vcpu))
{
    vcpu->debugger.stepped = stepped;
    vcpu->debugger.step_began = vcpu->debugger.step_armed = false;
    attention_request(&vcpu->vmx.attention, ATTENTION_STEP);
}

/* Between two entries nothing of a step is in the VMCS: debugger_step_exited() has been called. */
bool debugger_step_cancel(struct vcpu *vcpu)
{
    bool steps = attention_requested(&vcpu->vmx.attention, ATTENTION_STEP);
    attention_clear(&vcpu->vmx.attention, ATTENTION_STEP);
    return steps;
}

static void step_over(struct vcpu *vcpu)
{
    attention_clear(&vcpu->vmx.attention, ATTENTION_STEP);
    vcpu->debugger.stepped(vcpu);
}

/* An exit before the instruction was executed leaves the guest as it was, as in vm/pass.c. */
void debugger_step_exited(struct vcpu *vcpu)
{
    struct debugger_vcpu *own = &vcpu->debugger;
    if (!own->step_armed)
        return;
    own->step_armed = false;
    bool done = vcpu->vmx.exit.reason == REASON_NMI_WINDOW ||
                cpu_reg(&vcpu->vmx.regs, REG_RIP) != own->step_rip;
    if (!done) {
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY, own->interruptibility);
        vmwrite(VMCS_GUEST_PENDING_DEBUG, own->pending_debug);
        return;
    }
    if (own->nmis_were_blocked)
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY, vmread(VMCS_GUEST_INTERRUPTIBILITY) | BLOCKING_BY_NMI);
    step_over(vcpu);
}

/* The instruction may have been completed after its exit, by a further piece of a hypercall. */
bool debugger_step_prepare(struct vcpu *vcpu)
{
    struct debugger_vcpu *own = &vcpu->debugger;
    uint64_t rip = cpu_reg(&vcpu->vmx.regs, REG_RIP);
    if (own->step_began && rip != own->step_rip) {
        step_over(vcpu);
        return false;
    }
    own->step_began = true;
    own->step_rip = rip;
    own->interruptibility = vmread(VMCS_GUEST_INTERRUPTIBILITY);
    own->pending_debug = vmread(VMCS_GUEST_PENDING_DEBUG);
    vmwrite(VMCS_GUEST_INTERRUPTIBILITY,
            (own->interruptibility & ~INTERRUPT_SHADOW) | BLOCKING_BY_MOV_SS);
    attention_request(&vcpu->vmx.attention, ATTENTION_EVENT);
    return true;
}

/* In the handler of an NMI the window does not open, unless the blocking ends for this instruction.
 * An IRET ends it itself. */
void debugger_step_arm(struct vcpu *vcpu)
{
    struct debugger_vcpu *own = &vcpu->debugger;
    uint64_t now = vmread(VMCS_GUEST_INTERRUPTIBILITY);
    own->step_armed = true;
    own->nmis_were_blocked = false;
    if (vmread(VMCS_ENTRY_INTERRUPTION_INFO) & EVENT_INFO_VALID) {
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY, now & ~INTERRUPT_SHADOW);
        vmwrite(VMCS_PREEMPTION_TIMER_VALUE, 0); /* exits after the delivery */
        return;
    }
    if (now & BLOCKING_BY_NMI) {
        own->nmis_were_blocked = !mmio_at_iret(&vcpu->mmio);
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY, now & ~BLOCKING_BY_NMI);
    }
    if (cpu_reg(&vcpu->vmx.regs, REG_RFLAGS) & RFLAGS_TF)
        vmx_raise_trap(TRAP_SINGLE_STEP);
    vmx_set_primary(PRIMARY_NMI_WINDOW_EXITING, true);
    vcpu->vmx.windows = true;
    attention_request(&vcpu->vmx.attention, ATTENTION_EVENT); /* switches the window off again */
}
