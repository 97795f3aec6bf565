/* SPDX-License-Identifier: MIT */
/* Plain moves. Called by the fast paths and the fetch. Pure. */
#include "mmio/move.h"

#include "mmio/execute.h"

const uint64_t move_masks[] = {[1] = 0xff, [2] = 0xffff, [4] = 0xffffffff, [8] = ~0ull};

struct move move_of(const struct insn *insn)
{
    struct move m = {.length = 0};
    if (insn->op > INSN_LAST_MOV || insn->code != CODE_64 || insn->segment >= SEG_FS ||
        insn->address_mask != ~0ull || insn->high_byte || insn->base == GPR_RSP ||
        insn->reg == GPR_RSP)
        return m;
    m = (struct move){
        .imm = (int32_t)insn->imm,
        .flags = (uint8_t)((insn->write ? MOVE_WRITE : 0) | (insn->has_imm ? MOVE_IMM : 0) |
                           (insn->base == INSN_RIP ? MOVE_RELATIVE : 0)),
        .length = insn->length,
        .size = insn->size,
        .reg_size = insn->reg_size,
        .base = insn->base == INSN_RIP ? INSN_NO_REG : insn->base,
        .index = (uint8_t)(insn->index | field_put(insn->shift, MOVE_SHIFT)),
        .reg = insn->reg,
    };
    if (insn->op == INSN_SIGN_EXTEND)
        m.flags |= MOVE_SIGNED;
    else if (insn->reg_size >= 4)
        m.flags |= MOVE_WHOLE;
    return m;
}

bool move_to(struct move_access *access, const struct move *move, const struct bus_region *region,
             uint64_t address)
{
    uint64_t offset = address - region->start;
    access->device = region->device;
    access->offset = (uint32_t)offset;
    access->move = *move;
    if (move->flags & MOVE_WRITE)
        access->write = region->ops->write;
    else
        access->read = region->ops->read;
    return !(offset >> 32);
}

void move_load(struct mmio_vcpu *vcpu, struct cpu_regs *cpu, const struct move_access *access)
{
    const struct move *m = &access->move;
    uint64_t value = access->read(access->device, vcpu, access->offset, m->size);
    value &= move_masks[m->size];
    if (likely(m->flags & MOVE_WHOLE)) {
        cpu->gpr[m->reg] = value;
        return;
    }
    uint64_t sign = BIT(8 * m->size - 1);
    gpr_write(cpu, m->reg, m->reg_size, false,
              m->flags & MOVE_SIGNED ? (value ^ sign) - sign : value);
}
