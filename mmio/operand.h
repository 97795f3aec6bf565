/* SPDX-License-Identifier: MIT */
/*
 * A memory operand of the instruction that is being emulated: translation of its segment and offset
 * to one or two pages, each of RAM or of a device, and the reads and writes.
 *
 * Opening an operand performs all checks and raises all faults, and changes nothing but accessed
 * and dirty bits. So an instruction opens all its operands before it reads or writes one.
 */
#pragma once

#include "mmio/emulate.h"
#include "mmio/segment.h"

#define OPERAND_MAX 32 /* bytes */

/* The part of an access inside one page. */
struct fragment {
    gpa_t gpa;
    unsigned size;
    bool device; /* known to be MMIO; if false, RAM is tried first */
};

struct operand {
    uint64_t linear;
    unsigned size;                /* 1 to 32 */
    struct fragment fragments[2]; /* the second has size 0 if the operand has one page */
};

/* The state of the emulation of one instruction. */
struct emulation {
    struct mmio_vcpu *vcpu;
    const struct walk_context *context;
    const struct insn *insn;
    uint64_t rip, next; /* RIP, and its value after the instruction */
    uint64_t rflags;    /* the value after the instruction */
    gpa_t gpa;          /* of the exit */
    enum mmio_target target;
    uint64_t breakpoints; /* met by the operands opened so far; and BREAKPOINTS_MOV_SS */
    bool touched;         /* an operand opened so far contains the byte that the exit was for */
    bool paused;          /* iterations remain: RIP stays at the instruction */
};

/* Translates the page of `size` bytes at `linear`, and the next page if the bytes cross into it. */
enum mmio_outcome operand_translate(struct mmio_vcpu *vcpu, const struct walk_context *context,
                                    uint64_t linear, unsigned size, bool write,
                                    struct fragment fragments[2]) MUST_CHECK;

/* Whether the exit was for a byte of the fragments; if so, marks the fragment with this byte as a
 * device, unless the exit was for memory. If an access crosses pages and the first page is RAM, the
 * CPU reports the second page. */
bool operand_touched(struct fragment fragments[2], gpa_t gpa, enum mmio_target target);

/* Whether alignment checking is on: CPL 3 with RFLAGS.AC and CR0.AM (SDM 3, 6.15, #AC). */
bool operand_checks_alignment(const struct walk_context *context, struct cpu_regs *cpu);

/* Opens `size` bytes at `offset` of `segment`. MMIO_DONE; or MMIO_INJECT, MMIO_END or MMIO_REENTER.
 * `write`: the instruction writes the operand, whether or not it also reads it. */
enum mmio_outcome operand_open(struct emulation *e, struct operand *operand, unsigned segment,
                               uint64_t offset, unsigned size, bool write) MUST_CHECK;

/* Opens the operand that ModRM or moffs names, with the instruction's size and direction. */
enum mmio_outcome operand_open_memory(struct emulation *e, struct operand *operand) MUST_CHECK;

/* Opens this operand for an instruction that has no other one in memory. MMIO_STALE, too: the exit
 * was not for this operand. */
enum mmio_outcome operand_open_only(struct emulation *e, struct operand *operand) MUST_CHECK;

/* The breakpoints that the access meets, in the format of breakpoints_compare(). */
static inline uint64_t operand_breakpoints(struct mmio_vcpu *vcpu, uint64_t linear, unsigned size,
                                           bool write)
{
    return breakpoints_met(&vcpu->breakpoints, vcpu->cpu, linear, size,
                           write ? BREAKPOINT_WRITE : BREAKPOINT_READ);
}

/* Reads or writes one fragment of up to 8 bytes. 0, or the error of guest_read() and guest_write()
 * except -EFAULT. */
int fragment_read(struct mmio_vcpu *vcpu, const struct fragment *fragment, uint64_t *value);
int fragment_write(struct mmio_vcpu *vcpu, const struct fragment *fragment, uint64_t value);

/* Reads or writes the whole operand, page by page. MMIO_DONE or MMIO_END. */
enum mmio_outcome operand_read(struct emulation *e, const struct operand *operand,
                               void *bytes) MUST_CHECK;
enum mmio_outcome operand_write(struct emulation *e, const struct operand *operand,
                                const void *bytes) MUST_CHECK;

/* Reads, or atomically exchanges, an operand of a locked instruction. -EINVAL unless the operand is
 * RAM inside one aligned quadword; -EAGAIN if its value is no longer `old`; -ENOMEM. Neither
 * function accesses a device. */
int operand_peek(struct emulation *e, const struct operand *operand, uint64_t *value) MUST_CHECK;
int operand_exchange(struct emulation *e, const struct operand *operand, uint64_t old,
                     uint64_t new) MUST_CHECK;
