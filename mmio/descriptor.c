/* SPDX-License-Identifier: MIT */
/* See the header. Pure. */
#include "mmio/descriptor.h"

#include "lib/errno.h"

#define RIGHTS_OFFSET    5u      /* of the byte with type, S, DPL and P */
#define RIGHTS_IN_MEMORY 0xf0ffu /* the bits that a descriptor contains */
#define LOCKED_TRIES     8

/* Opens bytes at a linear address with supervisor rights (SDM 3, 4.6.1). */
static enum mmio_outcome system_open(struct emulation *e, struct operand *operand, uint64_t linear,
                                     unsigned size, bool write)
{
    struct walk_context context = *e->context;
    context.key &= ~(KEY_USER | KEY_AC);
    operand->linear = context.key & KEY_LMA ? linear : (uint32_t)linear;
    operand->size = size;
    return operand_translate(e->vcpu, &context, operand->linear, size, write, operand->fragments);
}

static void parse(struct descriptor *d)
{
    const uint32_t *w = d->words;
    d->limit = (w[1] & 0xf0000) | (w[0] & 0xffff);
    d->rights = w[1] >> 8 & RIGHTS_IN_MEMORY;
    if (d->rights & SEG_AR_G)
        d->limit = d->limit << 12 | 0xfff;
    d->base = w[0] >> 16 | (w[1] & 0xff) << 16 | (w[1] & 0xff000000) | (uint64_t)w[2] << 32;
}

enum mmio_outcome descriptor_read(struct emulation *e, uint16_t selector, struct descriptor *d,
                                  bool *exists)
{
    struct cpu_regs *cpu = e->vcpu->cpu;
    bool local = selector & SELECTOR_TI;
    uint64_t base = cpu_reg(cpu, local ? REG_SEG_BASE + SEG_LDTR : REG_GDTR_BASE);
    uint64_t limit = cpu_reg(cpu, local ? REG_SEG_LIMIT + SEG_LDTR : REG_GDTR_LIMIT);
    unsigned offset = selector & SELECTOR_INDEX;
    struct operand operand;

    *exists = !selector_is_null(selector) && offset + 7 <= limit &&
              !(local && cpu_reg(cpu, REG_SEG_AR + SEG_LDTR) & SEG_AR_UNUSABLE);
    if (!*exists)
        return MMIO_DONE;
    *d = (struct descriptor){.selector = selector, .address = base + offset};
    enum mmio_outcome outcome = system_open(e, &operand, d->address, 8, false);
    if (outcome == MMIO_DONE)
        outcome = operand_read(e, &operand, d->words);
    if (outcome != MMIO_DONE)
        return outcome;
    parse(d);
    if (d->rights & SEG_AR_S || !(e->context->key & KEY_LMA))
        return MMIO_DONE;
    *exists = offset + 15 <= limit;
    if (!*exists)
        return MMIO_DONE;
    outcome = system_open(e, &operand, d->address + 8, 8, false);
    if (outcome == MMIO_DONE)
        outcome = operand_read(e, &operand, d->words + 2);
    parse(d);
    return outcome;
}

enum mmio_outcome descriptor_need(struct emulation *e, uint16_t selector, uint8_t vector,
                                  struct descriptor *d)
{
    bool exists;
    enum mmio_outcome outcome = descriptor_read(e, selector, d, &exists);
    if (outcome == MMIO_DONE && !exists)
        return descriptor_fault(e, vector, selector);
    return outcome;
}

enum mmio_outcome descriptor_set(struct emulation *e, struct descriptor *d, uint32_t rights)
{
    struct operand byte;
    uint64_t old;
    if ((d->rights & rights) == rights)
        return MMIO_DONE;
    enum mmio_outcome outcome = system_open(e, &byte, d->address + RIGHTS_OFFSET, 1, true);
    if (outcome != MMIO_DONE)
        return outcome;
    d->rights |= rights;
    for (unsigned i = 0; i < LOCKED_TRIES; i++) {
        int error = operand_peek(e, &byte, &old);
        if (!error)
            error = operand_exchange(e, &byte, old, old | rights);
        if (error == -EINVAL) /* the table is a device's */
            return operand_write(e, &byte, &d->rights);
        if (error != -EAGAIN)
            return error ? mmio_refused(e->vcpu, byte.fragments[0].gpa, ACCESS_WRITE, error)
                         : MMIO_DONE;
    }
    return MMIO_REENTER;
}

enum mmio_outcome descriptor_fault(struct emulation *e, uint8_t vector, uint16_t selector)
{
    return mmio_inject(e->vcpu, e->context, vector, selector & SELECTOR_ERROR);
}

void descriptor_load(struct emulation *e, unsigned segment, const struct descriptor *d)
{
    struct cpu_regs *cpu = e->vcpu->cpu;
    cpu_set_reg(cpu, REG_SEG_SELECTOR + segment, d->selector);
    cpu_set_reg(cpu, REG_SEG_BASE + segment, d->base);
    cpu_set_reg(cpu, REG_SEG_LIMIT + segment, d->limit);
    cpu_set_reg(cpu, REG_SEG_AR + segment, d->rights);
}
