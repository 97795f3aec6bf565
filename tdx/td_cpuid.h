/* SPDX-License-Identifier: MIT */
/*
 * CPUID in a TD: which leaves and subleaves the module answers, with which bits, and which are #VE
 * (Intel TDX Module 1.5 ABI specification, 348551, "CPUID Virtualization"). The bits that the
 * module neither fixes nor computes are those that the VMM offers: the features of vm/features.h.
 *
 * A CPU with TDX has some features for certain (IBRS, SSBD, WBNOINVD, …), so that the module's
 * specification lists them as fixed to 1. Here they are 1 only if the CPU has them and the VMM
 * offers them. Exceptions are features that consist of MSRs which the module or the VMM emulates:
 * they are always 1. Pure.
 */
#pragma once

#include "arch/x86/unprivileged.h"
#include "tdx/access.h"
#include "tdx/td.h"

#define TDX_CPUID_LEAF     0x21u
#define TDX_CPUID_MAX      0x23u       /* the highest basic leaf */
#define TDX_CPUID_EXTENDED 0x80000008u /* the highest extended leaf */
#define TDX_CRYSTAL_HZ     25000000u   /* the unit of TSC_FREQUENCY */

/* The leaf whose answer CPUID returns: a leaf above the highest one of its range is answered as the
 * highest basic leaf is. The hypervisor's range, 40000000h to 4FFFFFFFh, has no highest leaf. */
uint32_t tdx_cpuid_leaf(uint32_t leaf);

/* TDX_DIRECT or TDX_VE for CPUID at this privilege level, by the leaf that tdx_cpuid_leaf()
 * returned. */
enum tdx_access tdx_cpuid_access(const struct td_vcpu *vcpu, unsigned cpl, uint32_t leaf,
                                 uint32_t subleaf);

/* The answer to a direct leaf. `offered` is what the VMM offers to this vCPU for the leaf and
 * subleaf, or for leaf 0Bh if the leaf is 1Fh; `code64`: the vCPU executes 64-bit code. */
struct cpuid tdx_cpuid_answer(const struct td *td, uint32_t leaf, uint32_t subleaf,
                              const struct cpuid *offered, bool code64);
