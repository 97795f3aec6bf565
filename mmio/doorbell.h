/* SPDX-License-Identifier: MIT */
/*
 * Replay entries (mmio/replay.h) of doorbells, with REPLAY_BELL. A write that rings regardless of
 * its value is replayed if the instruction is the one of the entry, which its bytes and the walk to
 * them prove; the CPU's own walk of the operand led to the doorbell. Nothing depends on the slots
 * but that the pages read here still exist, which the sequence proves.
 *
 * There is no loop, because this is the fast path of doorbells.
 */
#pragma once

#include "mmio/replay.h"

static ALWAYS_INLINE bool mmio_bell_holds(const struct mmio_vcpu *v, const struct replay *r)
{
    if (unlikely(bus_sequence(v->mmio_bus) != r->bus_sequence ||
                 mmu_invalidate_sequence(v->mmu) != r->sequence))
        return false;
    typedef uint64_t __attribute__((aligned(1))) unaligned;
#define DIFFERENCE(i) (*(const volatile uint64_t *)r->bell.code[i].host ^ r->bell.code[i].value)
    return likely(!(DIFFERENCE(0) | DIFFERENCE(1) | DIFFERENCE(2) | DIFFERENCE(3) |
                    (*(const volatile unaligned *)r->code ^ r->bytes[0])));
#undef DIFFERENCE
}

/* Rings as mmio_replay_move() replays, by an entry with REPLAY_BELL, or returns false. */
static ALWAYS_INLINE bool mmio_replay_bell(struct mmio_vcpu *v, const struct replay *r,
                                           uint64_t rflags, mmio_complete *complete)
{
    if (unlikely(!mmio_bell_holds(v, r)))
        return false;
    complete(v, r->bell.next, rflags);
    v->stale_count = 0;
    r->access.write(r->access.device, v, 0, 0, 0);
    return true;
}
