/* SPDX-License-Identifier: MIT */
/*
 * What a CPU needs before it can enter VMX operation, and what to do where that is missing (rule
 * N87). A message names the register, the bit and its value; the lines after it say who can change
 * that and how it is called there. Pure: the caller reads the registers.
 */
#pragma once

#include "arch/x86/cpu_facts.h"
#include "lib/compiler.h"
#include "lib/exit_codes.h"

/* Intel TXT's status register, in the public space of the chipset, which exists only if the CPU has
 * SMX. Where no TXT is, it reads as ones. */
#define TXT_STATUS 0xfed30000u

/* Is the CPU in SMX operation: has SENTER been executed, and no SEXIT since? Then VMXON depends on
 * another bit of IA32_FEATURE_CONTROL. */
bool txt_is_measured(uint64_t status);

/* Returns false after messages if the CPU has no VMX: because it cannot, or because a hypervisor
 * below does not offer it. */
bool vmx_exists(const struct cpu_facts *cpu) MUST_CHECK;

/* Decides what IA32_FEATURE_CONTROL, whose value is `*control`, has to be for VMXON in or outside
 * of SMX operation, and stores it there; if the firmware has not locked the register, the caller
 * writes it. Returns EXIT_VMX_LOCKED_OFF after messages if the register is locked and VMX is off.
 * `maker` is the machine's by SMBIOS, or empty, and `number` the CPU's. */
enum exit_code vmx_feature_control(const struct cpu_facts *cpu, const char *maker, unsigned number,
                                   bool measured, uint64_t *control) MUST_CHECK;

/* Names a flaw of the CPU's VMX that nothing here makes up for, so that nobody looks for it
 * elsewhere: of Intel's specification updates, those about the preemption timer. */
void vmx_name_errata(const struct cpu_facts *cpu);

/* Says what to do about VMX without a control that is required; vmx_negotiate() has said which. */
void vmx_explain_missing(const struct cpu_facts *cpu);
