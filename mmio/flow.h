/*
 * The flow that the whole house serves: what happens when a guest touches MMIO (rules F1 to F6).
 *
 * The first touch is an EPT violation; the MMU finds no slot, leaves an MMIO SPTE, and the
 * instruction is emulated. Every further touch is an EPT misconfiguration, and the first of these
 * that knows an answer gives it:
 *
 *   1. a doorbell at the address     4. the MMIO SPTE is stale: renewed, or a full fault
 *   2. the vCPU's MMIO cache         5. not MMIO any more: enter the guest again
 *   3. the MMIO SPTE is current      6. none of these: dump, end this VM
 *
 * Steps 1 to 3 take no lock, allocate nothing and log nothing.
 *
 * All are called on the vCPU's own CPU after its exit, inside an epoch. `delivering`
 * says that the exit interrupted the delivery of an event: then the instruction at RIP is not the
 * one that touched memory, so an access that would be emulated ends the VM; any other answer is as
 * usual, and the caller requeues the event.
 */
#pragma once

#include "mmio/vcpu.h"

/* EPT violation at `gpa`; `error_code` in mmu_access bits (rule F1). */
enum mmio_outcome mmio_violation(struct mmio_vcpu *vcpu, gpa_t gpa, uint32_t error_code,
                                 bool delivering) MUST_CHECK;

/* The two halves of the same, for a caller that asks mmu_fault() itself: whether it has mapped the
 * address, so that there is nothing more to do; and what to do about any other result. */
static inline bool mmio_is_mapped(int result)
{
    return likely(result == FAULT_FIXED);
}

enum mmio_outcome mmio_not_mapped(struct mmio_vcpu *vcpu, gpa_t gpa, uint32_t error_code,
                                  bool delivering, int result,
                                  const struct mmio_info *info) MUST_CHECK;

/* EPT misconfiguration at `gpa`. Instructions that were here before need none of the steps: the
 * caller tries mmio/replay.h first. */
enum mmio_outcome mmio_misconfig(struct mmio_vcpu *vcpu, gpa_t gpa, bool delivering) MUST_CHECK;
