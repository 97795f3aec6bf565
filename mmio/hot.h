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

/* The instruction has just been emulated, and its operand at `linear` is `gpa`, a device: keeps it
 * if it is of the common kind. */
void mmio_hot_keep(struct mmio_vcpu *vcpu, const struct walk_context *context, uint64_t rip,
                   const struct insn *insn, uint64_t linear, gpa_t gpa);
