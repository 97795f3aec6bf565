/* SPDX-License-Identifier: MIT */
/* Memory operands. Called by the functions of mmio/execute.h and by mmio/invpcid.c. Pure. */
#include "mmio/operand.h"

#include "arch/x86/reg_bits.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "lib/trace.h"

#define VECTOR_GP 13
#define VECTOR_AC 17

enum mmio_outcome operand_translate(struct mmio_vcpu *vcpu, const struct walk_context *context,
                                    uint64_t linear, unsigned size, bool write,
                                    struct fragment fragments[2])
{
    uint64_t access = write ? KEY_WRITE : 0;
    uint64_t in_page = PAGE_SIZE - page_offset(linear);
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
        enum walk_result result = mmio_cache_translate(&vcpu->cache, context, GVA(at), access, &t);
        if (unlikely(result != WALK_OK))
            return mmio_walk_failed(vcpu, context, result, at, &t);
        fragments[i].gpa = t.gpa;
        fragments[i].device = false;
    }
    return MMIO_DONE;
}

bool operand_touched(struct fragment fragments[2], gpa_t gpa, enum mmio_target target)
{
    for (unsigned i = 0; i < 2 && fragments[i].size; i++)
        if (gpa.v - fragments[i].gpa.v < fragments[i].size) {
            fragments[i].device = target != TARGET_MEMORY;
            return true;
        }
    return false;
}

bool operand_checks_alignment(const struct walk_context *context, struct cpu_regs *cpu)
{
    return unlikely(context->rflags & RFLAGS_AC) && context->key & KEY_USER &&
           cpu_reg(cpu, REG_CR0) & CR0_AM;
}

/* Whether the instruction requires alignment regardless of CR0.AM. */
static bool must_be_aligned(const struct insn *insn)
{
    return insn_row(insn)->flags & INSN_ALIGNED ||
           (insn->op == INSN_CMPXCHG_PAIR && insn->size == 16);
}

/* The bits of an address that alignment checking looks at (SDM 3, table 6-7). */
static unsigned alignment_mask(const struct insn *insn, unsigned size)
{
    if (insn_row(insn)->memory == SIZE_POINTER && size == 4)
        return 1;
    return size & (size - 1) ? 3 : size - 1; /* not a power of two: a 48-bit pointer, a table */
}

enum mmio_outcome operand_open(struct emulation *e, struct operand *operand, unsigned segment,
                               uint64_t offset, unsigned size, bool write)
{
    uint8_t vector;
    operand->size = size;
    if (!mmio_segment(e->vcpu->cpu, e->context, segment, offset, size, write, &operand->linear,
                      &vector))
        return mmio_inject(e->vcpu, e->context, vector, 0);
    if (must_be_aligned(e->insn) && operand->linear & (size - 1))
        return mmio_inject(e->vcpu, e->context, VECTOR_GP, 0);
    enum mmio_outcome outcome =
        operand_translate(e->vcpu, e->context, operand->linear, size, write, operand->fragments);
    if (outcome != MMIO_DONE)
        return outcome;
    if (size <= 8 && operand_checks_alignment(e->context, e->vcpu->cpu) &&
        operand->linear & alignment_mask(e->insn, size))
        return mmio_inject(e->vcpu, e->context, VECTOR_AC, 0);
    e->touched |= operand_touched(operand->fragments, e->gpa, e->target);
    e->breakpoints |= operand_breakpoints(e->vcpu, operand->linear, size, write);
    return MMIO_DONE;
}

enum mmio_outcome operand_open_memory(struct emulation *e, struct operand *operand)
{
    const struct insn *insn = e->insn;
    uint64_t offset = mmio_effective(e->vcpu->cpu, insn, e->next);
    return operand_open(e, operand, insn->segment, offset, insn->size, insn->write);
}

enum mmio_outcome operand_open_only(struct emulation *e, struct operand *operand)
{
    enum mmio_outcome outcome = operand_open_memory(e, operand);
    return outcome == MMIO_DONE && !e->touched ? MMIO_STALE : outcome;
}

int fragment_read(struct mmio_vcpu *vcpu, const struct fragment *fragment, uint64_t *value)
{
    *value = 0;
    if (!fragment->device) {
        int error = guest_read(vcpu->mmu, fragment->gpa, value, fragment->size, ACCESS_READ);
        if (error != -EFAULT)
            return error;
    }
    *value = bus_read(vcpu->mmio_bus, vcpu, fragment->gpa.v, fragment->size);
    trace(mmio, TRACE_MMIO_READ, fragment->size, fragment->gpa.v, *value);
    return 0;
}

int fragment_write(struct mmio_vcpu *vcpu, const struct fragment *fragment, uint64_t value)
{
    if (!fragment->device) {
        int error = guest_write(vcpu->mmu, fragment->gpa, &value, fragment->size);
        if (error != -EFAULT)
            return error;
    }
    trace(mmio, TRACE_MMIO_WRITE, fragment->size, fragment->gpa.v, value);
    bus_write(vcpu->mmio_bus, vcpu, fragment->gpa.v, fragment->size, value);
    return 0;
}

/* The value of an access in a trace event: its first 8 bytes. */
static uint64_t operand_trace_value(const uint8_t *bytes, unsigned size)
{
    uint64_t value = 0;
    memcpy(&value, bytes, size < 8 ? size : 8);
    return value;
}

enum mmio_outcome operand_read(struct emulation *e, const struct operand *operand, void *bytes)
{
    struct mmio_vcpu *v = e->vcpu;
    uint8_t *to = bytes;
    for (unsigned i = 0; i < 2 && operand->fragments[i].size; i++) {
        const struct fragment *f = &operand->fragments[i];
        int error = -EFAULT;
        if (!f->device)
            error = guest_read(v->mmu, f->gpa, to, f->size, ACCESS_READ);
        if (error == -EFAULT) {
            bus_read_bytes(v->mmio_bus, v, f->gpa.v, to, f->size);
            trace(mmio, TRACE_MMIO_READ, f->size, f->gpa.v, operand_trace_value(to, f->size));
        } else if (error) {
            return mmio_refused(v, f->gpa, ACCESS_READ, error);
        }
        to += f->size;
    }
    return MMIO_DONE;
}

enum mmio_outcome operand_write(struct emulation *e, const struct operand *operand,
                                const void *bytes)
{
    struct mmio_vcpu *v = e->vcpu;
    const uint8_t *from = bytes;
    for (unsigned i = 0; i < 2 && operand->fragments[i].size; i++) {
        const struct fragment *f = &operand->fragments[i];
        int error = -EFAULT;
        if (!f->device)
            error = guest_write(v->mmu, f->gpa, from, f->size);
        if (error == -EFAULT) {
            trace(mmio, TRACE_MMIO_WRITE, f->size, f->gpa.v, operand_trace_value(from, f->size));
            bus_write_bytes(v->mmio_bus, v, f->gpa.v, from, f->size);
        } else if (error) {
            return mmio_refused(v, f->gpa, ACCESS_WRITE, error);
        }
        from += f->size;
    }
    return MMIO_DONE;
}

/* The aligned quadword that contains an operand. */
struct quadword {
    gpa_t gpa;
    unsigned shift; /* bit position of the operand in the quadword */
    uint64_t mask;
    uint64_t value;
};

static int operand_read_quadword(struct emulation *e, const struct operand *operand,
                                 struct quadword *quad)
{
    const struct fragment *f = &operand->fragments[0];
    quad->shift = 8 * (f->gpa.v & 7);
    if (f->device || quad->shift + 8 * operand->size > 64) /* true for two pages as well */
        return -EINVAL;
    quad->gpa = GPA(f->gpa.v & ~7ull);
    quad->mask = ~0ull >> (64 - 8 * operand->size) << quad->shift;
    int error = guest_read(e->vcpu->mmu, quad->gpa, &quad->value, 8, ACCESS_READ);
    return error == -EFAULT ? -EINVAL : error;
}

int operand_peek(struct emulation *e, const struct operand *operand, uint64_t *value)
{
    struct quadword quad;
    int error = operand_read_quadword(e, operand, &quad);
    if (!error)
        *value = (quad.value & quad.mask) >> quad.shift;
    return error;
}

int operand_exchange(struct emulation *e, const struct operand *operand, uint64_t old, uint64_t new)
{
    struct quadword quad;
    int error = operand_read_quadword(e, operand, &quad);
    if (error)
        return error;
    if ((quad.value ^ old << quad.shift) & quad.mask)
        return -EAGAIN;
    error = guest_cmpxchg(e->vcpu->mmu, quad.gpa, 8, quad.value,
                          (quad.value & ~quad.mask) | (new << quad.shift &quad.mask));
    return error == -EFAULT ? -EINVAL : error;
}
