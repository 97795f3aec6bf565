/* SPDX-License-Identifier: MIT */
/*
 * The CPU that a TD sees: its CPUID, MSRs and control registers, by the rules of tdx/, and the
 * calls by which it asks the VMM for what is #VE. All functions run on the pCPU of the vCPU.
 */
#pragma once

#include "lib/compiler.h"
#include "tdx/access.h"

#include <stdbool.h>
#include <stdint.h>

struct vcpu;
struct vm;

/* Fills the fields of vm->td that describe its CPU: the state components and the TSC's rate. Called
 * once, when the TD is created. */
void td_cpu_create(struct vm *vm);

/* Sets up what is different in a vCPU of a TD: the bits of CR0 and CR4 that the module owns and
 * their reset values, IA32_EFER, MSRs that exit, and a local APIC in x2APIC mode for good. Called
 * after the setup functions of vm/exits.h. vcpu->td is set, and the VMCS is current. */
void td_cpu_setup(struct vcpu *vcpu);

/* Handles an exit of CPUID, RDMSR, WRMSR or an access to a control register. TDX_DIRECT: the
 * instruction is complete, or has raised the exception that it raises outside of a TD; otherwise
 * nothing has changed, and the caller raises #VE or #GP. */
enum tdx_access td_cpu_exit(struct vcpu *vcpu, uint32_t reason) MUST_CHECK;

/* The TDVMCALLs of these instructions (GHCI 1.5, section 3), for vm/td_vmcall.c. `gpr` are the
 * registers that the TD exposes; outputs are R11, or R12 to R15 of CPUID. They return the
 * completion code for R10. After HLT, the vCPU is halted until an event wakes it. */
uint64_t td_vmcall_cpuid(struct vcpu *vcpu, uint64_t *gpr);
uint64_t td_vmcall_hlt(struct vcpu *vcpu, uint64_t *gpr);
uint64_t td_vmcall_io(struct vcpu *vcpu, uint64_t *gpr);
uint64_t td_vmcall_rdmsr(struct vcpu *vcpu, uint64_t *gpr);
uint64_t td_vmcall_wrmsr(struct vcpu *vcpu, uint64_t *gpr);

/* Parts of vm/control_regs.c. The second one says what the exit of a control-register access is;
 * TDX_DIRECT: exit_cr_access() handles it. */
void control_registers_setup_td(struct vcpu *vcpu);
enum tdx_access control_regs_access_of_td(struct vcpu *vcpu);
