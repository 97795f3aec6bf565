/* SPDX-License-Identifier: MIT */
/*
 * The first fast path: it replays an access that the same instruction made to the same GPA in the
 * same address space. A replay entry holds the result of the emulation, which is a call of the
 * device, with everything that this result depended on. If all of this is unchanged, the access is
 * made without emulation. Everything else is left to mmio/emulate.c.
 *
 * The comparison covers all state that an emulation would read: the registers that determine the
 * mode, the entries of both walks (of the code and of the operand, each once, from the root down),
 * the bytes of the instruction, the generation of the slots and the two sequences (D3, D6). CR3, CS
 * and RFLAGS are read at each exit. CR0.PG, the bits of CR4 and EFER change only at exits, which
 * `regime` counts. An access that depends on CR0.WP gets no entry. So the result is that of a new
 * walk, fetch and bus lookup in every mode of the GVA cache; `off` makes no entries.
 *
 * Entries exist only for 64-bit code with flat segments and an operand inside one page.
 */
#pragma once

#include "mmio/vcpu.h"

struct known;

/* The pair of entries, one of which may be that of this access: check with mmio_replay_is(). */
static ALWAYS_INLINE struct replay *mmio_replay_at(struct mmio_vcpu *vcpu, uint64_t rip, gpa_t gpa,
                                                   uint64_t cr3)
{
    struct replay *replay = vcpu->replays.entry;
    uint32_t pair = mmio_mix(rip + 8 * gpa.v + cr3) >> (32 - MMIO_REPLAY_BITS - 8);
    _Static_assert(sizeof(*replay) == 1 << 8, "the shift includes the size of an entry");
    return (struct replay *)((char *)replay + (pair & (MMIO_REPLAYS - 2) << 8));
}

/* Whether the entry is that of this access in the same mode, or why not; `mode` is cpu_mode(). */
static ALWAYS_INLINE enum replay_why mmio_replay_is_not(const struct replay *r, uint64_t rip,
                                                        gpa_t gpa, uint64_t cr3, uint64_t mode)
{
    return r->rip != rip       ? REPLAY_OTHER_RIP
           : r->gpa.v != gpa.v ? REPLAY_OTHER_GPA
           : r->cr3 != cr3     ? REPLAY_OTHER_CR3
           : r->mode != mode   ? REPLAY_OTHER_MODE
                               : REPLAY_SERVES;
}

static ALWAYS_INLINE bool mmio_replay_is(const struct replay *r, uint64_t rip, gpa_t gpa,
                                         uint64_t cr3, uint64_t mode)
{
    return mmio_replay_is_not(r, rip, gpa, cr3, mode) == REPLAY_SERVES;
}

/* The entry of this access in the same mode, or NULL. */
static ALWAYS_INLINE struct replay *mmio_replay_find(struct mmio_vcpu *vcpu, uint64_t rip,
                                                     gpa_t gpa, uint64_t cr3, uint64_t mode)
{
    struct replay *replay = mmio_replay_at(vcpu, rip, gpa, cr3);
    __asm__("" : "+a"(replay)); /* keeps it in RAX, which passes no argument */
    if (likely(mmio_replay_is(replay, rip, gpa, cr3, mode)))
        return replay;
    return mmio_replay_is(++replay, rip, gpa, cr3, mode) ? replay : NULL;
}

/* Whether everything else that an entry from mmio_replay_find() depends on is unchanged. */
bool mmio_replay_holds(const struct mmio_vcpu *vcpu, const struct replay *replay) MUST_CHECK;

/* Why an entry of this access serves it, or does not: mmio_replay_is() and what
 * mmio_replay_holds(), or for a doorbell mmio_bell_holds(), compares. For explanations. */
enum replay_why mmio_replay_why(const struct mmio_vcpu *vcpu, const struct replay *replay,
                                uint64_t rip, gpa_t gpa, uint64_t cr3, uint64_t mode);

/* Make the access of an entry that holds. mmio_replay_access() also counts a hit of the MMIO cache
 * and of the GVA cache, which mmio_replay_first_access() does not. */
void mmio_replay_access(struct mmio_vcpu *vcpu, const struct replay *replay);
void mmio_replay_first_access(struct mmio_vcpu *vcpu, const struct replay *replay);

/* Updates an entry for which mmio_replay_holds() is false to `generation`, in which the caller
 * knows that the GPA is MMIO. True: only the slots had changed, all pages that the entry depends on
 * are where they were, and the entry holds. */
bool mmio_replay_follow(struct mmio_vcpu *vcpu, struct replay *replay,
                        uint64_t generation) MUST_CHECK;

/* mmio_replay_follow() to the current generation, where the MMU is asked whether the GPA is
 * MMIO. */
bool mmio_replay_renew(struct mmio_vcpu *vcpu, struct replay *replay) MUST_CHECK;

/* Completes the instruction of an exit: sets RIP to `next`, and clears RF. */
typedef void mmio_complete(struct mmio_vcpu *vcpu, uint64_t next, uint64_t rflags);

/* Replays the access of an exit by an entry from mmio_replay_find() without REPLAY_BELL, or returns
 * false: the entry does not hold, and nothing was done. After an EPT violation, `*generation` is
 * that of the slots in which mmu_fault() found MMIO; after an EPT misconfiguration, the pointer is
 * NULL. The exit must not have interrupted the delivery of an event. The caller is inside an epoch.
 *
 * `complete` is called first, so that the device's access comes last and can be a tail call. */
static ALWAYS_INLINE bool mmio_replay_move(struct mmio_vcpu *vcpu, struct replay *replay,
                                           uint64_t rflags, mmio_complete *complete,
                                           const uint64_t *generation)
{
    if (likely(mmio_replay_holds(vcpu, replay))) {
        complete(vcpu, replay->rip + replay->access.move.length, rflags);
        if (!generation)
            mmio_replay_access(vcpu, replay);
        else
            mmio_replay_first_access(vcpu, replay);
        return true;
    }
    if (generation ? !mmio_replay_follow(vcpu, replay, *generation)
                   : !mmio_replay_renew(vcpu, replay))
        return false;
    complete(vcpu, replay->rip + replay->access.move.length, rflags);
    mmio_replay_first_access(vcpu, replay);
    return true;
}

/* The entry to use for an access that has none: its entry of another mode, an empty entry, or the
 * older one of the pair after several misses. NULL: none yet. Called once for each such access. Notes
 * why the access's own entry did not serve, if it has one. */
struct replay *mmio_replay_room(struct mmio_vcpu *vcpu, uint64_t rip, gpa_t gpa, uint64_t cr3,
                                uint64_t mode) MUST_CHECK;
void mmio_replay_keep(struct replay *replay, const struct known *known);
