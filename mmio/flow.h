/* SPDX-License-Identifier: MIT */
/*
 * The flow of MMIO exits (F1 to F6).
 *
 * The first access to a page is an EPT violation: the MMU finds no slot and installs an MMIO SPTE,
 * and the instruction is emulated. Every later access is an EPT misconfiguration, which the first
 * step that applies handles:
 *
 *   1. a doorbell at the address     4. the MMIO SPTE is stale: renewed, or a full fault
 *   2. the vCPU's MMIO cache         5. no longer MMIO: enter the guest again
 *   3. the MMIO SPTE is current      6. none of these: dump the levels, end this VM
 *
 * Steps 1 to 3 take no lock, allocate nothing and log nothing.
 *
 * The functions are called on the vCPU's own pCPU after the exit, inside an epoch. `delivering`
 * tells that the exit interrupted the delivery of an event: then the instruction at RIP did not
 * make the access, so that an access that would be emulated ends the VM. Any other outcome is not
 * affected, and the caller requeues the event.
 */
#pragma once

#include "mmio/vcpu.h"

/* Handles an EPT violation at `gpa`; `error_code` has the bits of enum mmu_access (F1). */
enum mmio_outcome mmio_violation(struct mmio_vcpu *vcpu, gpa_t gpa, uint32_t error_code,
                                 bool delivering) MUST_CHECK;

/* The two halves of mmio_violation(), for a caller that calls mmu_fault() itself: whether its
 * result says that the address is mapped, which is all, and the handling of any other result. */
static inline bool mmio_is_mapped(int result)
{
    return likely(result == FAULT_FIXED);
}

enum mmio_outcome mmio_not_mapped(struct mmio_vcpu *vcpu, gpa_t gpa, uint32_t error_code,
                                  bool delivering, int result,
                                  const struct mmio_info *info) MUST_CHECK;

/* Handles an EPT misconfiguration at `gpa`. The caller tries mmio/replay.h first, which needs none
 * of the steps. */
enum mmio_outcome mmio_misconfig(struct mmio_vcpu *vcpu, gpa_t gpa, bool delivering) MUST_CHECK;
