/*
 * A memory operand of the instruction that is being emulated: from a segment and an offset to the
 * one or two pages that hold it, each of them RAM or a device, and reading and writing there.
 *
 * Opening an operand makes all the checks and finds all the faults, and changes nothing but
 * accessed and dirty bits. So an instruction opens all of its operands first.
 */
#pragma once

#include "mmio/emulate.h"
#include "mmio/segment.h"

#define OPERAND_MAX 32 /* bytes */

/* The part of an access that lies in one page. */
struct fragment {
    gpa_t gpa;
    unsigned size;
    bool device; /* known to be MMIO; else memory is tried first */
};

struct operand {
    uint64_t linear;
    unsigned size;                /* 1 to 32 */
    struct fragment fragments[2]; /* the second has size 0 if there is none */
};

/* One instruction on its way. */
struct emulation {
    struct mmio_vcpu *vcpu;
    const struct walk_context *context;
    const struct insn *insn;
    uint64_t rip, next;
    uint64_t rflags; /* as they will be */
    gpa_t gpa;       /* of the exit */
    enum mmio_target target;
    uint64_t breakpoints; /* that operands opened so far meet */
    bool touched;         /* an operand opened so far holds the byte that the exit was for */
    bool paused;          /* a repetition that goes on later: RIP stays */
};

/* Translates the pages of `size` bytes; there is a second one only if they cross. */
enum mmio_outcome operand_translate(struct mmio_vcpu *vcpu, const struct walk_context *context,
                                    uint64_t linear, unsigned size, bool write,
                                    struct fragment fragments[2]) MUST_CHECK;

/* Whether the exit was for a byte of these; if so, notes that it is MMIO, unless the exit was for
 * memory. The CPU reports the second page of a crossing access when the first one is RAM. */
bool operand_touched(struct fragment fragments[2], gpa_t gpa, enum mmio_target target);

/* Whether accesses of this code must be aligned (SDM 3, 6.15, #AC). */
bool operand_checks_alignment(const struct walk_context *context, struct cpu_regs *cpu);

/* Opens `size` bytes at `offset`. MMIO_DONE, or the fault and so on. `write`: it will be written,
 * read before or not. */
enum mmio_outcome operand_open(struct emulation *e, struct operand *operand, unsigned segment,
                               uint64_t offset, unsigned size, bool write) MUST_CHECK;

/* The operand that ModRM or moffs names, of the instruction's size and direction. */
enum mmio_outcome operand_open_memory(struct emulation *e, struct operand *operand) MUST_CHECK;

/* The breakpoints that the access meets; see mmio/breakpoints.h. */
static inline uint64_t operand_breakpoints(struct mmio_vcpu *vcpu, uint64_t linear, unsigned size,
                                           bool write)
{
    return breakpoints_met(&vcpu->breakpoints, vcpu->cpu, linear, size,
                           write ? BREAKPOINT_WRITE : BREAKPOINT_READ);
}

/* One fragment of up to 8 bytes. 0, or the MMU's error: no host memory. */
int fragment_read(struct mmio_vcpu *vcpu, const struct fragment *fragment, uint64_t *value);
int fragment_write(struct mmio_vcpu *vcpu, const struct fragment *fragment, uint64_t value);

/* All of an operand, page by page. MMIO_DONE, or MMIO_END. */
enum mmio_outcome operand_read(struct emulation *e, const struct operand *operand,
                               void *bytes) MUST_CHECK;
enum mmio_outcome operand_write(struct emulation *e, const struct operand *operand,
                                const void *bytes) MUST_CHECK;

/* For locked instructions, if the operand is RAM alone and lies in one aligned word of 8 bytes: its
 * value, and exchanging it in one step, so that no other CPU sees the middle. -EINVAL if it does
 * not, -EAGAIN if it is no longer `old`, -ENOMEM. Devices are not touched. */
int operand_peek(struct emulation *e, const struct operand *operand, uint64_t *value) MUST_CHECK;
int operand_exchange(struct emulation *e, const struct operand *operand, uint64_t old,
                     uint64_t new) MUST_CHECK;
