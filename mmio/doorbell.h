/*
 * Doorbells that ring again: replay entries (mmio/replay.h) with REPLAY_BELL. Of a write that rings
 * whatever its operand is, no more has to be known than that this instruction is the one that did
 * it before, and how long it is. That is what its bytes say, and the walk that leads to them; the
 * CPU's own walk of the operand led to the doorbell. Of the slots no more has to be known than that
 * the pages are there that are read here, which is what the sequence says.
 *
 * No loop: this is the doorbell's path.
 */
#pragma once

#include "mmio/vcpu.h"

static ALWAYS_INLINE bool mmio_bell_holds(const struct mmio_vcpu *v, const struct replay *h)
{
    if (unlikely(bus_sequence(v->mmio_bus) != h->bus_sequence ||
                 mmu_invalidate_sequence(v->mmu) != h->sequence))
        return false;
    typedef uint64_t __attribute__((aligned(1))) unaligned;
#define DIFFERENCE(i) (*(const volatile uint64_t *)h->bell.code[i].host ^ h->bell.code[i].value)
    return likely(!(DIFFERENCE(0) | DIFFERENCE(1) | DIFFERENCE(2) | DIFFERENCE(3) |
                    (*(const volatile unaligned *)h->code ^ h->bytes[0])));
#undef DIFFERENCE
}

/* Then RIP goes on at replay->bell.next, and this rings. */
static ALWAYS_INLINE void mmio_bell_ring(struct mmio_vcpu *v, const struct replay *h)
{
    v->stale_count = 0;
    h->access.write(h->access.device, v, 0, 0, 0);
}
