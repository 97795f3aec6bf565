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

/* Entries of the walk to the instruction that have changed: 0 if none has. */
static ALWAYS_INLINE uint64_t bell_entries_changed(const struct replay *r)
{
#define DIFFERENCE(i) (*(const volatile uint64_t *)r->bell.code[i].host ^ r->bell.code[i].value)
    return DIFFERENCE(0) | DIFFERENCE(1) | DIFFERENCE(2) | DIFFERENCE(3);
#undef DIFFERENCE
}

static ALWAYS_INLINE uint64_t bell_bytes_changed(const struct replay *r)
{
    typedef uint64_t __attribute__((aligned(1))) unaligned;
    return *(const volatile unaligned *)r->code ^ r->bytes[0];
}

/* Whether what the pages read below depend on is unchanged. */
static ALWAYS_INLINE enum replay_why bell_sequences(const struct mmio_vcpu *v,
                                                    const struct replay *r)
{
    return bus_sequence(v->mmio_bus) != r->bus_sequence     ? REPLAY_OTHER_BUS
           : mmu_invalidate_sequence(v->mmu) != r->sequence ? REPLAY_OTHER_SEQUENCE
                                                            : REPLAY_SERVES;
}

static ALWAYS_INLINE bool mmio_bell_holds(const struct mmio_vcpu *v, const struct replay *r)
{
    if (unlikely(bell_sequences(v, r) != REPLAY_SERVES))
        return false;
    return likely(!(bell_entries_changed(r) | bell_bytes_changed(r)));
}

/* The same, with the reason. */
static inline enum replay_why mmio_bell_why(const struct mmio_vcpu *v, const struct replay *r)
{
    enum replay_why why = bell_sequences(v, r);
    return why != REPLAY_SERVES      ? why
           : bell_entries_changed(r) ? REPLAY_OTHER_ENTRY
           : bell_bytes_changed(r)   ? REPLAY_OTHER_BYTES
                                     : REPLAY_SERVES;
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
