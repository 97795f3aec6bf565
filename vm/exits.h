/* SPDX-License-Identifier: MIT */
/*
 * The exit handlers that have a file of their own, which vm/dispatch.c calls, and what these files
 * set up when a vCPU is created.
 */
#pragma once

#include "arch/x86/unprivileged.h"
#include "lib/compiler.h"
#include "mmio/bus.h"
#include "mmio/vcpu.h"
#include "vmx/vmx.h"

struct vcpu;
struct vm;

_Static_assert(QUALIFICATION_READ == ACCESS_READ && QUALIFICATION_WRITE == ACCESS_WRITE &&
                   QUALIFICATION_FETCH == ACCESS_FETCH,
               "the access passes as it is");

/* The error code of mmu_fault(), by the qualification of an EPT violation (rule F1). */
static ALWAYS_INLINE uint32_t exit_violation_error_code(uint64_t qualification)
{
    uint64_t final = QUALIFICATION_GLA_VALID | QUALIFICATION_FINAL;
    return (uint32_t)(qualification & (ACCESS_READ | ACCESS_WRITE | ACCESS_FETCH)) |
           (qualification & QUALIFICATION_PERMISSIONS ? FAULT_PRESENT : 0) |
           ((qualification & final) == final ? FAULT_FINAL : 0);
}

/* Acts on the emulator's outcome: injects a fault or #VE, opens a tracked page, flushes stale
 * translations, or ends the VM. */
void mmio_act_on(struct vcpu *vcpu, enum mmio_outcome outcome);

void exit_cpuid(struct vcpu *vcpu);
void exit_rdmsr(struct vcpu *vcpu);
void exit_wrmsr(struct vcpu *vcpu);
void exit_cr_access(struct vcpu *vcpu);
void exit_mov_dr(struct vcpu *vcpu);

/* Copies the addresses of the breakpoints that DR7 enables for the emulator. The fast paths do not
 * check breakpoints, so while one is enabled, their caches are cleared and nothing is added to
 * them. */
void debug_breakpoints_update(struct vcpu *vcpu, const uint64_t *address);

void exit_invlpg(struct vcpu *vcpu);
void exit_invpcid(struct vcpu *vcpu);
void exit_vmcall(struct vcpu *vcpu);
void exit_io(struct vcpu *vcpu);
void exit_task_switch(struct vcpu *vcpu);

/* Called after an exit that no handler has handled (vm/triple_fault.h). Returns true if the guest
 * has not caused it and can be entered again: a kick, an interrupt of the host, the preemption
 * timer, a full log, or an EPT violation for memory, which is mapped here. */
bool exit_was_incidental(struct vcpu *vcpu) COLD;

/* The guest's RIP for a trace event; 0 of a TD that may not be inspected. */
uint64_t vcpu_traced_rip(const struct vcpu *vcpu) COLD;

/* Called first by the handlers of a TD's exits that an instruction does not cause by itself: the
 * event whose delivery the exit interrupted is delivered again, by exit_requeue(). */
void exit_cut_short(struct vcpu *vcpu, uint32_t reason);
void exit_requeue(struct vcpu *vcpu);

/* Executes the next piece of the vCPU's unfinished hypercall (vcpu->unfinished). */
void hypercall_go_on(struct vcpu *vcpu);

/* The operations of the page at which guests access their local APIC. The bus region has no device:
 * the vCPU that makes the access determines the APIC. */
extern const struct bus_ops apic_window_ops;

/* Page-modification logging (vm/pml.c). pml_setup() is called at creation; pml_follow() after
 * tlb_enter(), and switches logging on if a slot logs dirty pages; pml_drain() after an exit with
 * vmx.pml_on, before tlb_leave(). */
int pml_setup(struct vcpu *vcpu) MUST_CHECK;
void pml_follow(struct vcpu *vcpu) COLD;
void pml_drain(struct vcpu *vcpu) COLD;

/* Called at creation. They set up the MSRs that the guest accesses without an exit, the local APIC,
 * and the bits of CR0 and CR4 whose changes exit. interrupts_setup() returns 0, or -ENOMEM after a
 * message. */
void msr_setup(struct vcpu *vcpu);
int interrupts_setup(struct vcpu *vcpu) MUST_CHECK;
void control_registers_setup(struct vcpu *vcpu);

/* What RDMSR and WRMSR of an emulated MSR do. They return false if the instruction is #GP. */
bool msr_read(struct vcpu *vcpu, uint32_t msr, uint64_t *value) MUST_CHECK;
bool msr_write(struct vcpu *vcpu, uint32_t msr, uint64_t value) MUST_CHECK;

/* Loads CR3 as MOV to CR3 does, and flushes what that MOV flushes. Returns false, and changes
 * nothing, if the value is invalid. */
bool vcpu_set_cr3(struct vcpu *vcpu, uint64_t value) MUST_CHECK;

/* Executes WRMSR of IA32_EFER. Returns false, and changes nothing, if it has to cause #GP. */
bool vcpu_set_efer(struct vcpu *vcpu, uint64_t value) MUST_CHECK;

/* What CPUID would return to the vCPU outside of a TD; for a leaf that does not exist, zeros. */
struct cpuid cpuid_offered(const struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf);

/* CPUID.1:EAX of every guest: the family, model and stepping. */
uint32_t cpuid_signature(void);

/* Called once at boot, in VMX operation: determines what guests are offered (vm/features.h). */
void cpuid_init(void);

/* Called at creation, after the VM's words are known: builds the VM's CPUID table. */
void cpuid_setup(struct vm *vm);

/* Called after a change of what the vCPU's own CPUID leaves depend on: its CR4, the mode of its
 * APIC, or XCR0 or IA32_XSS in vcpu->extra. Each of these can change only by an exit. The VMCS is
 * loaded. */
void cpuid_update(struct vcpu *vcpu);
