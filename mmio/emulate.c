/* SPDX-License-Identifier: MIT */
/*
 * Emulation of one instruction. Called by the flow once it has decided to emulate. This file
 * emulates the plain moves, which drivers use most; mmio/execute.h has the other instructions.
 * Pure: registers by arch/x86/regs.h, guest memory by mmu/mmu.h, devices by the bus.
 */
#include "mmio/emulate.h"

#include "arch/x86/reg_bits.h"
#include "lib/string.h"
#include "mmio/execute.h"
#include "mmio/known.h"

#define VECTOR_AC 17

/* Consecutive MMIO_STALE outcomes at one RIP before the VM is ended. */
#define STALE_LIMIT 8

/* The instruction does not lead to the GPA of the exit. In tracked RAM, the CPU can make the access
 * itself, whatever the access is. */
static enum mmio_outcome emulate_stale(struct mmio_vcpu *v, uint64_t rip, gpa_t gpa,
                                       enum mmio_target target)
{
    if (target == TARGET_MEMORY)
        return MMIO_PASS;
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

/* The instruction is not emulated, or its fetch ended the VM. Unsupported bytes may have replaced
 * the instruction that the CPU executed: let the CPU fetch them before the VM is ended. */
static COLD enum mmio_outcome emulate_unknown(struct mmio_vcpu *v, uint64_t rip, gpa_t gpa,
                                              enum mmio_target target)
{
    bool enough = v->stale_rip == rip && v->stale_count >= STALE_LIMIT;
    if (v->end != MMIO_END_UNSUPPORTED || (enough && target != TARGET_MEMORY))
        return MMIO_END;
    return emulate_stale(v, rip, gpa, target);
}

/* ---- The plain moves ------------------------------------------------------------------------- */

static uint64_t emulate_source(struct cpu_regs *cpu, const struct insn *insn)
{
    if (insn->has_imm)
        return insn->imm;
    return cpu_gpr(cpu, insn->reg) >> (insn->high_byte ? 8 : 0);
}

void mmio_fill_register(struct cpu_regs *cpu, unsigned gpr, unsigned size, unsigned signed_size,
                        uint64_t value)
{
    if (signed_size) {
        unsigned unused = 64 - 8 * signed_size;
        value = (uint64_t)((int64_t)(value << unused) >> unused);
    }
    gpr_write(cpu, gpr, size, false, value);
}

static void emulate_write_back(struct cpu_regs *cpu, const struct insn *insn, uint64_t value)
{
    if (insn->high_byte)
        gpr_write(cpu, insn->reg, 1, true, value);
    else
        mmio_fill_register(cpu, insn->reg, insn->reg_size,
                           insn->op == INSN_SIGN_EXTEND ? insn->size : 0, value);
}

/* Makes the access. All faults have been raised before; only a lack of host memory can still fail
 * here, which ends the VM. */
static int emulate_access(struct mmio_vcpu *v, const struct insn *insn,
                          const struct fragment fragments[2])
{
    uint64_t value = insn->write ? emulate_source(v->cpu, insn) : 0;
    for (unsigned i = 0, shift = 0; i < 2 && fragments[i].size; i++) {
        uint64_t part = insn->write ? value >> shift : 0;
        int error = insn->write ? fragment_write(v, &fragments[i], part)
                                : fragment_read(v, &fragments[i], &part);
        if (unlikely(error))
            return error;
        if (!insn->write)
            value |= part << shift;
        shift += 8 * fragments[i].size;
    }
    if (!insn->write)
        emulate_write_back(v->cpu, insn, value);
    return 0;
}

static enum mmio_outcome emulate_move(struct mmio_vcpu *vcpu, const struct walk_context *context,
                                      const struct insn *insn, uint64_t rip, uint64_t next,
                                      gpa_t gpa, enum mmio_target target, bool *rings)
{
    uint64_t linear, offset = mmio_effective(vcpu->cpu, insn, next);
    uint8_t vector;
    if (unlikely(!mmio_segment(vcpu->cpu, context, insn->segment, offset, insn->size, insn->write,
                               &linear, &vector)))
        return mmio_inject(vcpu, context, vector, 0);

    struct fragment fragments[2];
    enum mmio_outcome outcome =
        operand_translate(vcpu, context, linear, insn->size, insn->write, fragments);
    if (unlikely(outcome != MMIO_DONE))
        return outcome;
    bool touched = operand_touched(fragments, gpa, target);
    if (unlikely(!touched) && vcpu->cache.mode == GVA_CACHE_EXITS) {
        /* The guest has not flushed, but the CPU has dropped the translation: drop it as well. */
        mmio_cache_clear_gva(&vcpu->cache);
        outcome = operand_translate(vcpu, context, linear, insn->size, insn->write, fragments);
        if (outcome != MMIO_DONE)
            return outcome;
        touched = operand_touched(fragments, gpa, target);
    }
    if (unlikely(!touched))
        return emulate_stale(vcpu, rip, gpa, target);
    if (unlikely(operand_checks_alignment(context, vcpu->cpu) && linear & (insn->size - 1u)))
        return mmio_inject(vcpu, context, VECTOR_AC, 0);

    if (unlikely(target == TARGET_DOORBELL)) {
        *rings = insn->write && !fragments[1].size && fragments[0].gpa.v == gpa.v;
        if (!*rings)
            return MMIO_REENTER;
    }
    int error = emulate_access(vcpu, insn, fragments);
    if (unlikely(error)) /* of the fragment that is RAM */
        return mmio_refused(vcpu, fragments[fragments[0].device].gpa,
                            insn->write ? ACCESS_WRITE : ACCESS_READ, error);
    if (target != TARGET_MEMORY && !fragments[1].size)
        mmio_known_keep(vcpu, context, rip, gpa, target);
    mmio_advance(vcpu, next, context->rflags);
    vcpu->breakpoints_met = operand_breakpoints(vcpu, linear, insn->size, insn->write);
    vcpu->stats.emulated++;
    return MMIO_DONE;
}

/* ---- The others ------------------------------------------------------------------------------ */

static enum mmio_outcome emulate_execute(struct emulation *e)
{
    e->touched = false;
    e->breakpoints = 0;
    switch (e->insn->op) {
    case INSN_MOVS:
    case INSN_CMPS:
    case INSN_STOS:
    case INSN_LODS:
    case INSN_SCAS:
        return execute_string(e);
    case INSN_PUSH:
    case INSN_POP:
    case INSN_CALL:
    case INSN_JMP:
        return execute_stack(e);
    case INSN_PUSH_VALUE ... INSN_LEAVE:
        return execute_stack_only(e);
    case INSN_SLDT ... INSN_LSL:
        return execute_system(e);
    case INSN_LOAD_SEGMENT ... INSN_CALL_FAR:
        return execute_far(e);
    case INSN_MMX:
        return execute_mmx(e);
    case INSN_VECTOR:
    case INSN_VECTOR_LOW:
    case INSN_VECTOR_HIGH:
        return execute_vector(e);
    default:
        return execute_integer(e);
    }
}

/* RF stays set between iterations of a repeated instruction, so that an instruction breakpoint is
 * not met again when the instruction continues after an interrupt (SDM 3, 18.3.1.1). */
static void emulate_finish(struct emulation *e)
{
    struct mmio_vcpu *v = e->vcpu;
    if (e->paused)
        e->rflags |= RFLAGS_RF;
    else
        cpu_set_reg(v->cpu, REG_RIP, e->next);
    v->single_step = e->context->rflags & RFLAGS_TF;
    v->breakpoints_met = e->breakpoints;
    v->stale_count = 0;
    v->stats.emulated++;
}

static NOINLINE enum mmio_outcome emulate_other(struct mmio_vcpu *vcpu,
                                                const struct walk_context *context,
                                                const struct insn *insn, uint64_t rip,
                                                uint64_t next, gpa_t gpa, enum mmio_target target)
{
    struct emulation e = {
        .vcpu = vcpu,
        .context = context,
        .insn = insn,
        .rip = rip,
        .next = next,
        .rflags = context->rflags & ~RFLAGS_RF,
        .gpa = gpa,
        .target = target,
    };
    enum mmio_outcome outcome = emulate_execute(&e);
    if (outcome == MMIO_STALE && vcpu->cache.mode == GVA_CACHE_EXITS) {
        mmio_cache_clear_gva(&vcpu->cache);
        outcome = emulate_execute(&e);
    }
    if (outcome == MMIO_STALE)
        return emulate_stale(vcpu, rip, gpa, target);
    if (outcome == MMIO_DONE)
        emulate_finish(&e);
    /* A fault may follow completed iterations. */
    if (e.rflags != context->rflags && (outcome == MMIO_DONE || outcome == MMIO_INJECT))
        cpu_set_reg(vcpu->cpu, REG_RFLAGS, e.rflags);
    return outcome;
}

static NOINLINE enum mmio_outcome emulate_slow_path(struct mmio_vcpu *vcpu, gpa_t gpa,
                                                    enum mmio_target target, bool *rings)
{
    struct walk_context context;
    walk_context_load(&context, vcpu->cpu, vcpu->mmu);
    mmio_known_mode(vcpu, &context);
    uint64_t rip = cpu_reg(vcpu->cpu, REG_RIP);
    const struct insn *insn;
    bool memory;
    enum mmio_outcome outcome = mmio_fetch(vcpu, &context, rip, gpa, &insn, &memory);
    if (unlikely(outcome == MMIO_END))
        return emulate_unknown(vcpu, rip, gpa, target);
    if (unlikely(outcome != MMIO_DONE))
        return outcome;
    if (unlikely(!memory))
        return emulate_stale(vcpu, rip, gpa, target);

    /* Outside 64-bit code EIP has 32 bits, also in 16-bit code: beyond 64 KiB, the next fetch
     * raises the limit fault instead of wrapping. */
    uint64_t next = rip + insn->length;
    if (mmio_code_size(&context) != CODE_64)
        next = (uint32_t)next;
    if (likely(insn->op <= INSN_LAST_MOV))
        return emulate_move(vcpu, &context, insn, rip, next, gpa, target, rings);
    if (unlikely(target == TARGET_DOORBELL)) {
        *rings = false; /* a write rings through the bus */
        return MMIO_REENTER;
    }
    return emulate_other(vcpu, &context, insn, rip, next, gpa, target);
}

enum mmio_outcome mmio_emulate(struct mmio_vcpu *vcpu, gpa_t gpa, enum mmio_target target,
                               bool *rings)
{
    if (likely(mmio_known_move(vcpu, gpa, target)))
        return MMIO_DONE;
    return emulate_slow_path(vcpu, gpa, target, rings);
}
