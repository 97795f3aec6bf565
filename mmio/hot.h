/*
 * Instructions that touched a device before. For each of a few, all that led from the exit to the
 * device is kept with everything that it depended on; where all of that still is as it was, the
 * access is made at once. Anything else, and anything unusual, is left to mmio/emulate.c.
 *
 * What is compared is what a fresh look would read: the registers that decide the mode, the entries
 * of both walks (of the code and of the operand, each once, from the root down), the bytes of the
 * instruction, the generation of the slots and the two sequences (decisions D3 and D6). So the
 * answer is that of a fresh walk, a fresh fetch and a fresh look at the bus in every mode; `off`
 * keeps nothing here.
 *
 * 64-bit code with flat segments and an operand inside one page only.
 */
#pragma once

#include "mmio/vcpu.h"

/* What is kept for RIP: only if its `rip` is the same, and its `state` the CPU's. */
static inline const struct hot *mmio_hot_at(const struct mmio_vcpu *vcpu, uint64_t rip)
{
    return &vcpu->cache.hot[rip % MMIO_HOT];
}

/* Whether all the rest is as it was too, and the exit by the access to `gpa` is this instruction's.
 * Then the caller lets RIP go on at `hot->next`, and mmio_hot_access() does the rest. The exit did
 * not interrupt an event's delivery and there is no interrupt shadow. Both need an epoch. */
bool mmio_hot_holds(const struct mmio_vcpu *vcpu, const struct hot *hot, gpa_t gpa) MUST_CHECK;
void mmio_hot_access(struct mmio_vcpu *vcpu, const struct hot *hot, gpa_t gpa);

/* It does not hold. Is it only that the slots have become others, with all pages that it rests on
 * where they were? Then it holds from now on, for this generation of them, of which the caller has
 * to know that `gpa` is MMIO still. */
bool mmio_hot_follow(struct mmio_vcpu *vcpu, const struct hot *hot, gpa_t gpa,
                     uint64_t generation) MUST_CHECK;

/* The same where the MMU is asked whether it is. Then the caller goes on as above, but with the
 * first access under the new generation. */
bool mmio_hot_renew(struct mmio_vcpu *vcpu, const struct hot *hot, gpa_t gpa) MUST_CHECK;
void mmio_hot_first_access(struct mmio_vcpu *vcpu, const struct hot *hot, gpa_t gpa);

/*
 * Doorbells. Of a write that rings whatever its operand is, no more has to be known than that this
 * instruction is the one that did it before, and how long it is. That is what its bytes say, and
 * the walk that leads to them; the CPU's own walk of the operand led to the doorbell. Of the slots
 * no more than that the pages are there that are read here, which is what the sequence says.
 *
 * If hot->bell is RIP: whether all is as it was but CR3, EFER and CS, which the caller compares
 * with hot->state, and RFLAGS, where TF and RF must be clear. Not during an event's delivery, nor
 * in an interrupt shadow. No loop: this is the doorbell's path.
 */
#define BELL_ENTRIES 4
static ALWAYS_INLINE bool mmio_bell_holds(const struct mmio_vcpu *v, const struct hot *h, gpa_t gpa)
{
    if (unlikely(gpa.v != h->first || bus_sequence(v->mmio_bus) != h->bus_sequence ||
                 mmu_invalidate_sequence(v->mmu) != h->sequence))
        return false;
    typedef uint64_t __attribute__((aligned(1))) unaligned;
#define DIFFERENCE(i) (*(const volatile uint64_t *)h->entries[i].host ^ h->entries[i].value)
    return likely(!(DIFFERENCE(0) | DIFFERENCE(1) | DIFFERENCE(2) | DIFFERENCE(3) |
                    (*(const volatile unaligned *)h->code ^ h->bytes[0])));
#undef DIFFERENCE
}

/* Then RIP goes on at hot->next, and this rings. */
static ALWAYS_INLINE void mmio_bell_ring(struct mmio_vcpu *v, const struct hot *h)
{
    v->stale_count = 0;
    h->write(h->region.device, v, 0, 0, 0);
}

/* The instruction has just been emulated, and its operand at `linear` is `gpa`, a device: keeps it
 * if it is of the common kind. */
void mmio_hot_keep(struct mmio_vcpu *vcpu, const struct walk_context *context, uint64_t rip,
                   const struct insn *insn, uint64_t linear, gpa_t gpa);
