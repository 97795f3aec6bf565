/* SPDX-License-Identifier: MIT */
/* Effective addresses and segmentation. Called by the emulator. Pure; only reads registers. */
#include "mmio/segment.h"

#include "arch/x86/reg_bits.h"
#include "lib/bits.h"
#include "lib/compiler.h"

#define VECTOR_SS 12
#define VECTOR_GP 13

/* Bits of the type of a code or data segment (SDM 3, 3.4.5.1). */
#define TYPE_CODE        BIT(3)
#define TYPE_EXPAND_DOWN BIT(2) /* of a data segment */
#define TYPE_WRITABLE    BIT(1) /* of a data segment; of a code segment: readable */

uint64_t mmio_effective(struct cpu_regs *cpu, const struct insn *insn, uint64_t next)
{
    uint64_t address = insn->disp;
    if (insn->base < GPR_COUNT)
        address += cpu_gpr(cpu, insn->base);
    else if (insn->base == INSN_RIP)
        address += next;
    if (insn->index < GPR_COUNT)
        address += cpu_gpr(cpu, insn->index) << insn->shift;
    return address & insn->address_mask;
}

/* Whether the type of the segment allows the access. Real and virtual-8086 mode check only limits.
 */
static bool segment_type_allows(const struct walk_context *context, uint64_t rights, bool write)
{
    if (rights & SEG_AR_UNUSABLE)
        return false;
    if (!context->protected || context->rflags & RFLAGS_VM)
        return true;
    if (rights & TYPE_CODE)
        return !write && rights & TYPE_WRITABLE;
    return !write || rights & TYPE_WRITABLE;
}

/* Whether the bytes `first` to `last` lie inside the segment; bytes that wrap at 4 GiB do not. */
static bool segment_limit_allows(uint64_t rights, uint64_t limit, uint64_t first, uint64_t last)
{
    if ((rights & (TYPE_CODE | TYPE_EXPAND_DOWN)) == TYPE_EXPAND_DOWN)
        return first > limit && last <= (rights & SEG_AR_DB ? 0xffffffffu : 0xffffu);
    return last <= limit;
}

bool mmio_segment(struct cpu_regs *cpu, const struct walk_context *context, unsigned segment,
                  uint64_t offset, unsigned size, bool write, uint64_t *linear, uint8_t *vector)
{
    *vector = segment == SEG_SS ? VECTOR_SS : VECTOR_GP;
    if (likely(mmio_code_size(context) == CODE_64)) {
        if (segment >= SEG_FS)
            offset += cpu_reg(cpu, REG_SEG_BASE + segment);
        *linear = offset;
        return address_is_canonical(offset) && address_is_canonical(offset + size - 1);
    }
    uint64_t rights = cpu_reg(cpu, REG_SEG_AR + segment);
    uint64_t limit = (uint32_t)cpu_reg(cpu, REG_SEG_LIMIT + segment);
    *linear = (uint32_t)(offset + cpu_reg(cpu, REG_SEG_BASE + segment));
    return segment_type_allows(context, rights, write) &&
           segment_limit_allows(rights, limit, offset, offset + size - 1);
}
