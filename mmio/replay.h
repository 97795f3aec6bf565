/*
 * Accesses that were made before: by one instruction, to one place, in one address space. For a few
 * of them, all that led from the exit to the device is kept with everything that it depended on;
 * where all of that still is as it was, the access is made at once. Anything else, and anything
 * unusual, is left to mmio/emulate.c.
 *
 * What is compared is what a fresh look would read: the registers that decide the mode, the entries
 * of both walks (of the code and of the operand, each once, from the root down), the bytes of the
 * instruction, the generation of the slots and the two sequences (decisions D3 and D6). Of the
 * registers CR3, CS and RFLAGS are read at each exit; CR0.PG, the bits of CR4 and EFER change by
 * exits alone, which `regime` counts; and what depends on CR0.WP is not kept. So the answer is that
 * of a fresh walk, a fresh fetch and a fresh look at the bus in every mode; `off` keeps nothing
 * here.
 *
 * 64-bit code with flat segments and an operand inside one page only.
 */
#pragma once

#include "mmio/vcpu.h"

struct known;

/* The two entries in one of which the access of this instruction to this place is kept, if it is:
 * mmio_replay_is() says so. */
static inline struct replay *mmio_replay_at(struct mmio_vcpu *vcpu, uint64_t rip, gpa_t gpa,
                                            uint64_t cr3)
{
    struct replay *replay = vcpu->replays.entry;
    uint32_t pair = mmio_mix(rip + 8 * gpa.v + cr3) >> (32 - MMIO_REPLAY_BITS - 8);
    _Static_assert(sizeof(*replay) == 1 << 8, "what is left of the shift is the index");
    return (struct replay *)((char *)replay + (pair & (MMIO_REPLAYS - 2) << 8));
}

/* Whether it is that access, in the mode that it was made in; `mode` is cpu_mode(). */
static inline bool mmio_replay_is(const struct replay *r, uint64_t rip, gpa_t gpa, uint64_t cr3,
                                  uint64_t mode)
{
    return r->rip == rip && r->gpa.v == gpa.v && r->cr3 == cr3 && r->mode == mode;
}

/* The entry of the access, or NULL. */
static inline struct replay *mmio_replay_find(struct mmio_vcpu *vcpu, uint64_t rip, gpa_t gpa,
                                              uint64_t cr3, uint64_t mode)
{
    struct replay *replay = mmio_replay_at(vcpu, rip, gpa, cr3);
    if (mmio_replay_is(&replay[0], rip, gpa, cr3, mode))
        return &replay[0];
    return mmio_replay_is(&replay[1], rip, gpa, cr3, mode) ? &replay[1] : NULL;
}

/* It is. Whether all the rest is as it was too. Then the caller lets RIP go on by
 * replay->access.move.length, RF cleared, and mmio_replay_access() does the rest. The exit did not
 * interrupt an event's delivery and there is no interrupt shadow. Both need an epoch. */
bool mmio_replay_holds(const struct mmio_vcpu *vcpu, const struct replay *replay) MUST_CHECK;
void mmio_replay_access(struct mmio_vcpu *vcpu, const struct replay *replay);

/* It does not hold. Is it only that the slots have become others, with all pages that it rests on
 * where they were? Then it holds from now on, for this generation of them, of which the caller has
 * to know that the place is MMIO still. */
bool mmio_replay_follow(struct mmio_vcpu *vcpu, struct replay *replay,
                        uint64_t generation) MUST_CHECK;

/* The same where the MMU is asked whether it is. Then the caller goes on as above, but with the
 * first access under the new generation. */
bool mmio_replay_renew(struct mmio_vcpu *vcpu, struct replay *replay) MUST_CHECK;
void mmio_replay_first_access(struct mmio_vcpu *vcpu, const struct replay *replay);

/* Where an access that is not kept ought to be: where it was in another mode, where nothing is, or
 * where what is there seems forgotten. NULL: nowhere yet. Asked once for each such access. */
struct replay *mmio_replay_room(struct mmio_vcpu *vcpu, uint64_t rip, gpa_t gpa,
                                uint64_t cr3) MUST_CHECK;
void mmio_replay_keep(struct replay *replay, const struct known *known);
