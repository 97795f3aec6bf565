/* SPDX-License-Identifier: MIT */
/* INVPCID. Called by vm/flushes.c. Pure. */
#include "mmio/invpcid.h"

#include "arch/x86/reg_bits.h"
#include "lib/errno.h"
#include "mmio/operand.h"

#define VECTOR_GP 13

#define INFO_SCALE         BITS(1, 0)
#define INFO_ADDRESS_SIZE  BITS(9, 7) /* 0: 16 bits, 1: 32, 2: 64 */
#define INFO_SEGMENT       BITS(17, 15)
#define INFO_INDEX         BITS(21, 18)
#define INFO_INDEX_INVALID BIT(22)
#define INFO_BASE          BITS(26, 23)
#define INFO_BASE_INVALID  BIT(27)
#define INFO_TYPE_GPR      BITS(31, 28)

#define PCID_BITS BITS(11, 0)

#define DESCRIPTOR_SIZE 16u

/* The effective address, as mmio_effective() computes it for a decoded instruction. */
static uint64_t invpcid_offset(struct cpu_regs *cpu, uint64_t info, uint64_t displacement)
{
    static const uint64_t masks[] = {0xffff, 0xffffffff, ~0ull, ~0ull};
    uint64_t offset = displacement;

    if (!(info & INFO_BASE_INVALID))
        offset += cpu_gpr(cpu, (unsigned)field_get(info, INFO_BASE));
    if (!(info & INFO_INDEX_INVALID))
        offset += cpu_gpr(cpu, (unsigned)field_get(info, INFO_INDEX))
                  << field_get(info, INFO_SCALE);
    return offset & masks[field_get(info, INFO_ADDRESS_SIZE) & 3];
}

static enum mmio_outcome invpcid_read_descriptor(struct mmio_vcpu *v,
                                                 const struct walk_context *context, uint64_t info,
                                                 uint64_t displacement, uint64_t descriptor[2])
{
    struct fragment fragments[2];
    uint8_t vector, *to = (uint8_t *)descriptor;
    uint64_t linear, offset = invpcid_offset(v->cpu, info, displacement);

    if (!mmio_segment(v->cpu, context, (unsigned)field_get(info, INFO_SEGMENT), offset,
                      DESCRIPTOR_SIZE, false, &linear, &vector))
        return mmio_inject(v, context, vector, 0);
    v->breakpoints_met = operand_breakpoints(v, linear, DESCRIPTOR_SIZE, false);
    enum mmio_outcome outcome =
        operand_translate(v, context, linear, DESCRIPTOR_SIZE, false, fragments);
    for (unsigned i = 0; i < 2 && outcome == MMIO_DONE && fragments[i].size; i++) {
        const struct fragment *f = &fragments[i];
        int error = guest_read(v->mmu, f->gpa, to, f->size, ACCESS_READ);
        if (error == -EFAULT)
            bus_read_bytes(v->mmio_bus, v, f->gpa.v, to, f->size);
        else if (error)
            outcome = mmio_refused(v, f->gpa, ACCESS_READ, error);
        to += f->size;
    }
    return outcome;
}

static bool invpcid_is_valid(struct mmio_vcpu *v, uint64_t type, const uint64_t descriptor[2])
{
    uint64_t pcid = descriptor[0];
    if (type > INVPCID_ALL_BUT_GLOBALS || pcid & ~PCID_BITS)
        return false;
    if (type <= INVPCID_PCID && pcid && !(cpu_reg(v->cpu, REG_CR4) & CR4_PCIDE))
        return false;
    return type != INVPCID_ADDRESS || address_is_canonical(descriptor[1]);
}

enum mmio_outcome mmio_invpcid(struct mmio_vcpu *vcpu, uint64_t info, uint64_t displacement,
                               struct invpcid *invpcid)
{
    struct walk_context context;
    uint64_t descriptor[2], type = cpu_gpr(vcpu->cpu, (unsigned)field_get(info, INFO_TYPE_GPR));

    walk_context_load(&context, vcpu->cpu, vcpu->mmu);
    if (mmio_code_size(&context) != CODE_64)
        type = (uint32_t)type;
    if (cpu_cpl(vcpu->cpu)) /* includes virtual-8086 mode, whose CPL is 3 */
        return mmio_inject(vcpu, &context, VECTOR_GP, 0);
    enum mmio_outcome outcome =
        invpcid_read_descriptor(vcpu, &context, info, displacement, descriptor);
    if (outcome != MMIO_DONE)
        return outcome;
    if (!invpcid_is_valid(vcpu, type, descriptor))
        return mmio_inject(vcpu, &context, VECTOR_GP, 0);
    *invpcid = (struct invpcid){
        .type = (enum invpcid_type)type, .pcid = descriptor[0], .address = descriptor[1]};
    return MMIO_DONE;
}
