/* SPDX-License-Identifier: MIT */
/*
 * What a vCPU's exits lead to: the handlers that have a file of their own, and what these set up
 * when a vCPU is created. vm/dispatch.c calls the handlers.
 */
#pragma once

#include "lib/compiler.h"
#include "mmio/bus.h"
#include "mmio/vcpu.h"

struct vcpu;
struct vm;

/* Does what the emulator answered: the fault, the flush, the end. */
void mmio_act_on(struct vcpu *vcpu, enum mmio_outcome outcome);

/* Exit handlers with a file of their own. */
void exit_cpuid(struct vcpu *vcpu);
void exit_rdmsr(struct vcpu *vcpu);
void exit_wrmsr(struct vcpu *vcpu);
void exit_cr_access(struct vcpu *vcpu);
void exit_mov_dr(struct vcpu *vcpu);
void exit_invlpg(struct vcpu *vcpu);
void exit_invpcid(struct vcpu *vcpu);
void exit_vmcall(struct vcpu *vcpu);
void exit_io(struct vcpu *vcpu);
void exit_task_switch(struct vcpu *vcpu);

/* Goes on with a hypercall that is unfinished (vcpu->unfinished), for a piece. */
void hypercall_go_on(struct vcpu *vcpu);

/* The local APICs' page of addresses, for the bus; no device. */
extern const struct bus_ops apic_window_ops;

/* Logging of dirty pages by the CPU, in vm/pml.c: at creation; after tlb_enter(), so that the
 * vCPU logs if any slot wants it; after an exit with vmx.pml_on, before tlb_leave(). */
int pml_setup(struct vcpu *vcpu) MUST_CHECK;
void pml_follow(struct vcpu *vcpu) COLD;
void pml_drain(struct vcpu *vcpu) COLD;

/* At creation: the MSRs that the guest uses without an exit, the local APIC, and the CR0 and CR4
 * bits that exit. */
void msr_setup(struct vcpu *vcpu);
void interrupts_setup(struct vcpu *vcpu);
void control_registers_setup(struct vcpu *vcpu);

/* As MOV to CR3, with the flush. False: it is refused. */
bool vcpu_set_cr3(struct vcpu *vcpu, uint64_t value) MUST_CHECK;

/* WRMSR of IA32_EFER. False: #GP, and nothing has changed. */
bool vcpu_set_efer(struct vcpu *vcpu, uint64_t value) MUST_CHECK;

/* CPUID.1:EAX of every guest: family, model and stepping. */
uint32_t cpuid_signature(void);

/* Once at boot, when VMX is on: what guests are offered, by vm/features.h. */
void cpuid_init(void);

/* At creation, after the VM's words: what CPUID answers. */
void cpuid_setup(struct vm *vm);

/* After anything has changed that a vCPU's own answers depend on: its CR4, its APIC's mode, XCR0
 * and IA32_XSS in vcpu->extra. Each of these changes by an exit alone. The VMCS is loaded. */
void cpuid_update(struct vcpu *vcpu);
