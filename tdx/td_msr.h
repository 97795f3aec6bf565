/* SPDX-License-Identifier: MIT */
/*
 * MSRs in a TD (Intel TDX Module 1.5 ABI specification, 348551, "MSR Virtualization"): which the
 * guest uses directly, which are #VE, so that it asks the VMM, and which are #GP. A TD here has
 * none of the features PERFMON, PT, CET, LBR, user interrupts, PKS, XFD, WAITPKG and TSX, whose
 * MSRs are therefore #GP. Pure.
 */
#pragma once

#include "tdx/access.h"
#include "tdx/td.h"

/* What RDMSR or WRMSR of this MSR is. The write of a direct one may still be refused because of its
 * value, by the rules of tdx_msr_write(), or because the CPU does not have it. */
enum tdx_access tdx_msr_access(const struct td *td, uint32_t msr, bool write);

/* Returns true and the value if RDMSR of this direct MSR is answered by the module, rather than by
 * the CPU. */
bool tdx_msr_read(uint32_t msr, uint64_t *value);

/* Whether WRMSR of this value to a direct MSR with the value `old` is executed (TDX_DIRECT): for
 * MSRs whose writes the module checks: IA32_EFER, IA32_XSS and IA32_DEBUGCTL. */
enum tdx_access tdx_msr_write(const struct td *td, uint32_t msr, uint64_t old, uint64_t value);
