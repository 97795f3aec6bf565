/*
 * Emulation of one instruction. Called by the flow once it is known that the answer is "emulate".
 * Pure: registers by vmx/regs.h, guest memory by mmu/mmu.h, devices by the bus.
 */
#include "mmio/emulate.h"

#include "lib/errno.h"
#include "lib/string.h"
#include "lib/trace.h"
#include "mmio/hot.h"
#include "mmio/segment.h"

#define RFLAGS_TF BIT(8)
#define RFLAGS_RF BIT(16)

/* Exits in a row at one RIP that INVVPID may answer; then something else is wrong. */
#define STALE_LIMIT 8

/* The part of an access that lies in one page. */
struct fragment {
    gpa_t gpa;
    unsigned size;
};

static enum mmio_outcome stale(struct mmio_vcpu *v, uint64_t rip, gpa_t gpa)
{
    v->stats.stale_translations++;
    if (v->stale_rip != rip)
        v->stale_count = 0;
    v->stale_rip = rip;
    if (v->stale_count++ < STALE_LIMIT)
        return MMIO_STALE;
    return mmio_end(v, MMIO_END_STALE, gpa,
                    "the instruction does not lead to the address that it touched",
                    "flush the TLB of code and data after page table changes");
}

/* Bytes that are not in the table may be new ones, over an instruction that the CPU still holds. */
static COLD enum mmio_outcome unknown(struct mmio_vcpu *v, uint64_t rip, gpa_t gpa)
{
    bool enough = v->stale_rip == rip && v->stale_count >= STALE_LIMIT;
    return v->end != MMIO_END_UNSUPPORTED || enough ? MMIO_END : stale(v, rip, gpa);
}

/* Translates the pages of the access; there is a second one only if it crosses. */
static enum mmio_outcome translate(struct mmio_vcpu *v, const struct walk_context *context,
                                   const struct insn *insn, uint64_t linear,
                                   struct fragment fragments[2])
{
    uint64_t access = insn->write ? KEY_WRITE : 0;
    uint64_t in_page = PAGE_SIZE - page_offset(linear);
    unsigned size = insn->size;
    fragments[1].size = 0;
    fragments[0].size = size;
    if (unlikely(in_page < size)) {
        fragments[0].size = (unsigned)in_page;
        fragments[1].size = size - (unsigned)in_page;
    }
    for (unsigned i = 0; i < 2 && fragments[i].size; i++) {
        uint64_t at = i ? linear + in_page : linear;
        if (i && mmio_code_size(context) != CODE_64)
            at = (uint32_t)at;
        struct translation t;
        enum walk_result result = mmio_cache_translate(&v->cache, context, GVA(at), access, &t);
        if (unlikely(result != WALK_OK))
            return mmio_walk_failed(v, context, result, at, &t);
        fragments[i].gpa = t.gpa;
    }
    return MMIO_DONE;
}

/* Which fragment the exit was for, or -1: neither. The CPU reports the second page of a crossing
 * access when the first one is RAM. */
static int touched(const struct fragment fragments[2], gpa_t gpa)
{
    if (likely(gpa.v - fragments[0].gpa.v < fragments[0].size))
        return 0;
    if (fragments[1].size && gpa.v - fragments[1].gpa.v < fragments[1].size)
        return 1;
    return -1;
}

/* One fragment: known MMIO goes to the bus, other memory is tried first. */
static int fragment_read(struct mmio_vcpu *v, const struct fragment *f, bool device,
                         uint64_t *value)
{
    *value = 0;
    if (!device) {
        int error = guest_read(v->mmu, f->gpa, value, f->size, ACCESS_READ);
        if (error != -EFAULT)
            return error;
    }
    *value = bus_read(v->mmio_bus, v, f->gpa.v, f->size);
    trace(mmio, TRACE_MMIO_READ, f->size, f->gpa.v, *value);
    return 0;
}

static int fragment_write(struct mmio_vcpu *v, const struct fragment *f, bool device,
                          uint64_t value)
{
    if (!device) {
        int error = guest_write(v->mmu, f->gpa, &value, f->size);
        if (error != -EFAULT)
            return error;
    }
    trace(mmio, TRACE_MMIO_WRITE, f->size, f->gpa.v, value);
    bus_write(v->mmio_bus, v, f->gpa.v, f->size, value);
    return 0;
}

static uint64_t source(struct cpu_regs *cpu, const struct insn *insn)
{
    if (insn->has_imm)
        return insn->imm;
    return cpu_gpr(cpu, insn->reg) >> (insn->high_byte ? 8 : 0);
}

/* Write-back (SDM 1, 3.4.1.1): 32 bits clear the upper half, 8 and 16 bits leave the rest alone. */
void mmio_write_back(struct cpu_regs *cpu, const struct insn *insn, uint64_t value)
{
    uint64_t old = cpu_gpr(cpu, insn->reg);
    if (insn->op == INSN_SIGN_EXTEND) {
        unsigned unused = 64 - 8u * insn->size;
        value = (uint64_t)((int64_t)(value << unused) >> unused);
    }
    switch (insn->reg_size) {
    case 8:
        break;
    case 4:
        value = (uint32_t)value;
        break;
    case 2:
        value = (old & ~0xffffull) | (value & 0xffff);
        break;
    default: {
        unsigned shift = insn->high_byte ? 8 : 0;
        value = (old & ~(0xffull << shift)) | (value & 0xff) << shift;
    }
    }
    cpu_set_gpr(cpu, insn->reg, value);
}

/* Everything is decided; only the lack of host memory can still fail, and that ends the VM. */
static int perform(struct mmio_vcpu *v, const struct insn *insn, const struct fragment fragments[2],
                   unsigned device)
{
    uint64_t value = insn->write ? source(v->cpu, insn) : 0;
    for (unsigned i = 0, shift = 0; i < 2 && fragments[i].size; i++) {
        uint64_t part = insn->write ? value >> shift : 0;
        int error = insn->write ? fragment_write(v, &fragments[i], i == device, part)
                                : fragment_read(v, &fragments[i], i == device, &part);
        if (unlikely(error))
            return error;
        if (!insn->write)
            value |= part << shift;
        shift += 8 * fragments[i].size;
    }
    if (!insn->write)
        mmio_write_back(v->cpu, insn, value);
    return 0;
}

/* RIP, and RF and TF as after any instruction (SDM 3, 18.3.1.1). Outside 64-bit code EIP has 32
 * bits, in 16-bit code too: running off 64 KiB is the next fetch's limit fault, not a wrap. */
static void advance(struct mmio_vcpu *v, const struct walk_context *context, uint64_t next)
{
    cpu_set_reg(v->cpu, REG_RIP, next);
    v->single_step = context->rflags & RFLAGS_TF;
    if (unlikely(context->rflags & RFLAGS_RF))
        cpu_set_reg(v->cpu, REG_RFLAGS, context->rflags & ~RFLAGS_RF);
    v->stale_count = 0;
}

enum mmio_outcome mmio_emulate(struct mmio_vcpu *vcpu, gpa_t gpa, enum mmio_target target,
                               bool *rings)
{
    struct walk_context context;
    walk_context_load(&context, vcpu->cpu, vcpu->mmu);
    uint64_t rip = cpu_reg(vcpu->cpu, REG_RIP), known = vcpu->cache.gva_hits;
    const struct insn *insn;
    bool memory;
    enum mmio_outcome outcome = mmio_fetch(vcpu, &context, rip, gpa, &insn, &memory);
    if (unlikely(outcome == MMIO_END))
        return unknown(vcpu, rip, gpa);
    if (unlikely(outcome != MMIO_DONE))
        return outcome;
    if (unlikely(!memory))
        return stale(vcpu, rip, gpa);

    uint64_t next = rip + insn->length;
    if (mmio_code_size(&context) != CODE_64)
        next = (uint32_t)next;
    uint64_t linear;
    uint8_t vector;
    if (unlikely(!mmio_linear(vcpu->cpu, &context, insn, next, &linear, &vector)))
        return mmio_inject(vcpu, &context, vector, 0);

    struct fragment fragments[2];
    outcome = translate(vcpu, &context, insn, linear, fragments);
    if (unlikely(outcome != MMIO_DONE))
        return outcome;
    int device = touched(fragments, gpa);
    if (unlikely(device < 0) && vcpu->cache.mode == GVA_CACHE_EXITS) {
        /* The guest has not flushed yet, but the CPU forgot on its own: forget as well. */
        mmio_cache_clear_gva(&vcpu->cache);
        outcome = translate(vcpu, &context, insn, linear, fragments);
        if (outcome != MMIO_DONE)
            return outcome;
        device = touched(fragments, gpa);
    }
    if (unlikely(device < 0))
        return stale(vcpu, rip, gpa);

    if (unlikely(target == TARGET_DOORBELL)) {
        *rings = insn->write && !fragments[1].size && fragments[0].gpa.v == gpa.v;
        if (!*rings)
            return MMIO_REENTER;
    }
    if (unlikely(target == TARGET_MEMORY))
        device = -1;
    if (unlikely(perform(vcpu, insn, fragments, (unsigned)device)))
        return mmio_end(vcpu, MMIO_END_MEMORY, gpa, "no host memory for the RAM half of an access",
                        "give the machine more memory");
    if (known != vcpu->cache.gva_hits && target != TARGET_MEMORY && !fragments[1].size)
        mmio_hot_keep(vcpu, &context, rip, insn, linear, gpa);
    advance(vcpu, &context, next);
    vcpu->stats.emulated++;
    return MMIO_DONE;
}
