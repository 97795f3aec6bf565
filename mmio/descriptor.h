/* SPDX-License-Identifier: MIT */
/*
 * Segment descriptors in the guest's GDT and LDT, for emulated instructions that name one. The CPU
 * accesses the tables with supervisor rights at any CPL.
 *
 * Each function returns MMIO_DONE, or an outcome that ends the emulation. The instruction may have
 * read its operand from a device before, but nothing has been written.
 */
#pragma once

#include "mmio/operand.h"

#define SELECTOR_RPL   3u
#define SELECTOR_TI    BIT(2)
#define SELECTOR_INDEX 0xfff8u
#define SELECTOR_ERROR 0xfffcu /* the part that error codes contain */

/* Bits of access rights, in the VMCS's format. */
#define RIGHTS_ACCESSED   0x1u
#define RIGHTS_WRITABLE   0x2u /* of a code segment: readable */
#define RIGHTS_CONFORMING 0x4u /* of a code segment */
#define RIGHTS_CODE       0x8u
#define RIGHTS_TSS_BUSY   0x2u

/* Types of system descriptors. */
#define SYSTEM_TSS_16    1u
#define SYSTEM_LDT       2u
#define SYSTEM_GATE_16   4u
#define SYSTEM_TASK_GATE 5u
#define SYSTEM_TSS       9u
#define SYSTEM_GATE      12u

struct descriptor {
    uint64_t address; /* linear */
    uint64_t base;
    uint32_t limit;  /* in bytes */
    uint32_t rights; /* in the VMCS's format */
    uint16_t selector;
    uint32_t words[4]; /* the upper two belong to system descriptors in IA-32e mode */
};

static inline unsigned descriptor_dpl(const struct descriptor *d)
{
    return (unsigned)field_get(d->rights, SEG_AR_DPL);
}

static inline bool descriptor_is_code(const struct descriptor *d)
{
    return (d->rights & (SEG_AR_S | RIGHTS_CODE)) == (SEG_AR_S | RIGHTS_CODE);
}

static inline bool selector_is_null(uint16_t selector)
{
    return !(selector & SELECTOR_ERROR);
}

/* Reads the descriptor of a selector. `*exists` becomes false if the selector is null, or if there
 * is no such table or entry. A system descriptor of IA-32e mode has 16 bytes. */
enum mmio_outcome descriptor_read(struct emulation *e, uint16_t selector, struct descriptor *d,
                                  bool *exists) MUST_CHECK;

/* The same, and raises `vector` with the selector as its error code if there is no descriptor. */
enum mmio_outcome descriptor_need(struct emulation *e, uint16_t selector, uint8_t vector,
                                  struct descriptor *d) MUST_CHECK;

/* Sets bits of the descriptor's access rights, in memory and in *d, where a locked instruction
 * would. */
enum mmio_outcome descriptor_set(struct emulation *e, struct descriptor *d,
                                 uint32_t rights) MUST_CHECK;

/* Raises a fault with the selector as its error code. */
enum mmio_outcome descriptor_fault(struct emulation *e, uint8_t vector, uint16_t selector);

/* Loads a segment register or a register of a system segment with a descriptor. */
void descriptor_load(struct emulation *e, unsigned segment, const struct descriptor *d);
