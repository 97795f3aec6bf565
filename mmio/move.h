/* SPDX-License-Identifier: MIT */
/*
 * Plain moves between a general register or an immediate and memory, in the compact form that the
 * fast paths need: 64-bit code, flat segments, and no register outside cpu_regs.gpr. Computed once
 * for each decoded instruction; used by mmio/replay.c and mmio/known.c.
 */
#pragma once

#include "lib/bits.h"
#include "mmio/bus.h"
#include "mmio/decode.h"

struct move {
    int32_t imm;
    uint8_t flags;  /* MOVE_ */
    uint8_t length; /* of the instruction; 0: not such a move */
    uint8_t size;   /* of the access: 1, 2, 4 or 8 bytes */
    uint8_t reg_size;
    uint8_t base;  /* a general register, or INSN_NO_REG */
    uint8_t index; /* MOVE_INDEX and MOVE_SHIFT, or INSN_NO_REG */
    uint8_t reg;
};

#define MOVE_WRITE    BIT(0)
#define MOVE_IMM      BIT(1) /* a write of `imm` instead of a register */
#define MOVE_WHOLE    BIT(2) /* a zero-extending load of the whole register */
#define MOVE_SIGNED   BIT(3) /* a sign-extending load */
#define MOVE_RELATIVE BIT(4) /* RIP-relative */

#define MOVE_INDEX BITS(4, 0)
#define MOVE_SHIFT BITS(6, 5)

/* The compact form of an instruction; its length is 0 if the instruction is not such a move. */
struct move move_of(const struct insn *insn);

/* The sum of base and scaled index. */
static ALWAYS_INLINE uint64_t move_registers(const struct cpu_regs *cpu, const struct move *m)
{
    uint64_t sum = cpu->gpr[m->base];
    if (unlikely(m->index != INSN_NO_REG))
        sum += cpu->gpr[field_get(m->index, MOVE_INDEX)] << field_get(m->index, MOVE_SHIFT);
    return sum;
}

/* A move and the device that it accesses. */
struct move_access {
    void *device;
    union {
        __typeof__(((struct bus_ops *)0)->read) read;
        __typeof__(((struct bus_ops *)0)->write) write; /* MOVE_WRITE */
    };
    uint32_t offset;
    struct move move;
};

/* Combines a move with the region that holds `address`. False: the offset exceeds 32 bits. */
bool move_to(struct move_access *access, const struct move *move, const struct bus_region *region,
             uint64_t address) MUST_CHECK;

/* The mask of the bytes of an access, by its size. */
extern const uint64_t move_masks[9];

/* Makes a load, or any access, and writes the destination register of a load. */
void move_load(struct mmio_vcpu *vcpu, struct cpu_regs *cpu, const struct move_access *access);

static ALWAYS_INLINE void move_make(struct mmio_vcpu *vcpu, struct cpu_regs *cpu,
                                    const struct move_access *access)
{
    const struct move *m = &access->move;
    if (!(m->flags & MOVE_WRITE)) {
        move_load(vcpu, cpu, access);
        return;
    }
    uint64_t value = m->flags & MOVE_IMM ? (uint64_t)m->imm : cpu->gpr[m->reg];
    access->write(access->device, vcpu, access->offset, m->size, value & move_masks[m->size]);
}
