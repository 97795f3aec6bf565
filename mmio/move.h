/*
 * Plain moves between a general register or an immediate and memory, reduced to what making their
 * access again takes: 64-bit code, flat segments, no register that lies elsewhere. Made once for
 * each decoded instruction; used by mmio/replay.c and mmio/known.c.
 */
#pragma once

#include "lib/bits.h"
#include "mmio/bus.h"
#include "mmio/decode.h"

struct move {
    int32_t imm;
    uint8_t flags;  /* MOVE_ */
    uint8_t length; /* of the instruction; 0: it is none of these */
    uint8_t size;   /* of the access: 1, 2, 4 or 8 bytes */
    uint8_t reg_size;
    uint8_t base, index; /* general registers, or INSN_NO_REG; the index with its shift */
    uint8_t reg;
};

#define MOVE_WRITE    BIT(0)
#define MOVE_IMM      BIT(1) /* of `imm`, not a register */
#define MOVE_WHOLE    BIT(2) /* a load that fills the register as it is */
#define MOVE_SIGNED   BIT(3)
#define MOVE_RELATIVE BIT(4) /* to RIP */

#define MOVE_INDEX BITS(4, 0)
#define MOVE_SHIFT BITS(6, 5)

/* What becomes of an instruction of 64-bit code; length 0 if it is not of this kind. */
struct move move_of(const struct insn *insn);

/* What base and index add to the displacement. */
static ALWAYS_INLINE uint64_t move_registers(const struct cpu_regs *cpu, const struct move *m)
{
    uint64_t sum = cpu->gpr[m->base];
    if (unlikely(m->index != INSN_NO_REG))
        sum += cpu->gpr[field_get(m->index, MOVE_INDEX)] << field_get(m->index, MOVE_SHIFT);
    return sum;
}

/* A move to or from a register of a device. */
struct move_access {
    void *device;
    union {
        __typeof__(((struct bus_ops *)0)->read) read;
        __typeof__(((struct bus_ops *)0)->write) write; /* MOVE_WRITE */
    };
    uint32_t offset;
    struct move move;
};

/* The move at `address` of the bus, which is the region's. False: the offset is too large. */
bool move_to(struct move_access *access, const struct move *move, const struct bus_region *region,
             uint64_t address) MUST_CHECK;

/* Of the bytes of an access, by its size. */
extern const uint64_t move_masks[9];

/* Makes it. What a load reads goes into its register. */
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
