/* SPDX-License-Identifier: MIT */
/* The task switch itself, in the order of SDM 3, 8.3; see vm/task.h. */
#include "vm/task.h"

#include "lib/string.h"
#include "vmx/event.h"

#define SELECTOR_TI    BIT(2)
#define SELECTOR_RPL   3u
#define ERROR_SELECTOR 0xfffcu
#define ERROR_EXT      1u

/* Bits of the byte of a descriptor that has the low byte of its access rights, at offset 5. */
#define DESCRIPTOR_RIGHTS   5u
#define DESCRIPTOR_ACCESSED 0x01u
#define DESCRIPTOR_BUSY     0x02u

/* Access rights, as in the VMCS. */
#define AR_DESCRIPTOR 0xf0ffu /* the bits that a descriptor contains */
#define AR_WRITABLE   0x2u    /* of a data segment; of a code segment: readable */
#define AR_CONFORMING 0x4u    /* of a code segment; of a data segment: expands down */
#define AR_CODE       0x8u
#define AR_BUSY_TSS16 0x83u
#define AR_BUSY_TSS32 0x8bu
#define AR_LDT        0x82u
#define AR_V8086      0xf3u
#define AR_CODE_R3    0xfbu
#define AR_SYSTEM     (SEG_AR_TYPE | SEG_AR_S | SEG_AR_P)

#define EFLAGS_FIXED BIT(1)
#define EFLAGS_NT    BIT(14)
#define EFLAGS_VM    BIT(17)
#define EFLAGS_VALID 0x3f7fd7u
#define DR7_LOCAL    0x155u /* L0 to L3, LE */
#define CR3_OFFSET   0x1cu
#define TRAP_OFFSET  0x64u
#define TSS_MAX      0x68u

/* The offsets of fields in a TSS (SDM 3, figures 8-2 and 8-10). */
struct layout {
    uint8_t width; /* of a register, in bytes: 2 or 4 */
    uint8_t eip, eflags, gpr, ldt;
    uint8_t segments[SEG_COUNT]; /* 0: this TSS has no such field */
    uint8_t saved_end;           /* end of the saved state, which begins at EIP */
    uint8_t size;
};

static const struct layout layout32 = {
    .width = 4,
    .eip = 0x20,
    .eflags = 0x24,
    .gpr = 0x28,
    .ldt = 0x60,
    .segments = {[SEG_ES] = 0x48,
                 [SEG_CS] = 0x4c,
                 [SEG_SS] = 0x50,
                 [SEG_DS] = 0x54,
                 [SEG_FS] = 0x58,
                 [SEG_GS] = 0x5c},
    .saved_end = 0x60,
    .size = TSS_MAX,
};

static const struct layout layout16 = {
    .width = 2,
    .eip = 0x0e,
    .eflags = 0x10,
    .gpr = 0x12,
    .ldt = 0x2a,
    .segments = {[SEG_ES] = 0x22, [SEG_CS] = 0x24, [SEG_SS] = 0x26, [SEG_DS] = 0x28},
    .saved_end = 0x2a,
    .size = 0x2c,
};

struct switching {
    struct task_cpu *cpu;
    const struct task_request *request;
    const struct task_memory *memory;
    const struct layout *layout; /* of the new TSS */
    struct task_segment tss;     /* the new value of TR */
    uint16_t code;               /* the selector of the new CS */
    struct task_outcome outcome;
};

static const struct layout *layout_of(uint32_t rights)
{
    return rights & AR_CODE ? &layout32 : &layout16; /* bit 3 of the type: a 32-bit TSS */
}

/* In a nested switch, the old task continues after the new one, and stays busy. */
static bool is_nested(const struct switching *s)
{
    return s->request->source == TASK_CALL || s->request->source == TASK_GATE;
}

static bool task_fault(struct switching *s, uint8_t vector, uint32_t error)
{
    s->outcome.result = TASK_FAULT;
    s->outcome.vector = vector;
    s->outcome.error_code = error | (s->request->external ? ERROR_EXT : 0);
    return false;
}

static bool task_invalid_tss(struct switching *s, uint16_t selector)
{
    return task_fault(s, VECTOR_TS, selector & ERROR_SELECTOR);
}

static bool task_memory_done(struct switching *s, bool ok)
{
    if (!ok)
        s->outcome.result = TASK_MEMORY;
    return ok;
}

/* ---- Descriptors ----------------------------------------------------------------------------- */

/* Stores the address of a selector's descriptor in *address. Returns false if there is no such
 * table, or if the descriptor is beyond the limit of the table. */
static bool descriptor_locate(const struct task_cpu *cpu, uint16_t selector, uint32_t *address)
{
    bool local = selector & SELECTOR_TI;
    uint64_t base = local ? cpu->ldtr.base : cpu->gdt_base;
    uint32_t limit = local ? cpu->ldtr.limit : cpu->gdt_limit, offset = selector & 0xfff8u;
    if (local && cpu->ldtr.rights & SEG_AR_UNUSABLE)
        return false;
    *address = (uint32_t)base + offset;
    return offset + 7 <= limit;
}

static struct task_segment descriptor_parse(uint16_t selector, const uint32_t words[2])
{
    uint32_t limit = (words[1] & 0xf0000) | (words[0] & 0xffff);
    if (words[1] >> 8 & SEG_AR_G)
        limit = limit << 12 | 0xfff;
    return (struct task_segment){
        .selector = selector,
        .rights = words[1] >> 8 & AR_DESCRIPTOR,
        .limit = limit,
        .base = words[0] >> 16 | (words[1] & 0xff) << 16 | (words[1] & 0xff000000),
    };
}

/* Reads the descriptor of a selector that is not null. If there is none, the fault is #TS. */
static bool descriptor_fetch(struct switching *s, uint16_t selector, struct task_segment *segment)
{
    uint32_t address, words[2];
    if (!descriptor_locate(s->cpu, selector, &address))
        return task_invalid_tss(s, selector);
    if (!task_memory_done(s, s->memory->read(s->memory->context, address, words, sizeof(words))))
        return false;
    *segment = descriptor_parse(selector, words);
    return true;
}

static bool descriptor_change(struct switching *s, uint16_t selector, uint8_t clear, uint8_t set)
{
    uint32_t address;
    if (!descriptor_locate(s->cpu, selector, &address))
        return task_invalid_tss(s, selector);
    return task_memory_done(
        s, s->memory->change(s->memory->context, address + DESCRIPTOR_RIGHTS, clear, set));
}

/* Sets the accessed bit of a descriptor that is loaded. */
static bool descriptor_set_accessed(struct switching *s, struct task_segment *segment)
{
    if (segment->rights & DESCRIPTOR_ACCESSED)
        return true;
    segment->rights |= DESCRIPTOR_ACCESSED;
    return descriptor_change(s, segment->selector, 0, DESCRIPTOR_ACCESSED);
}

static unsigned segment_dpl(const struct task_segment *segment)
{
    return (unsigned)field_get(segment->rights, SEG_AR_DPL);
}

static bool selector_is_null(uint16_t selector)
{
    return !(selector & ERROR_SELECTOR);
}

/* ---- The two TSSs ---------------------------------------------------------------------------- */

static uint32_t tss_get(const uint8_t *image, unsigned offset, unsigned width)
{
    uint32_t value = 0;
    memcpy(&value, image + offset, width);
    return value;
}

/* The CPU has checked all this before the exit, but other CPUs can have changed the table since. */
static bool find_new_tss(struct switching *s)
{
    uint16_t selector = s->request->selector;
    uint32_t not_busy = s->request->source == TASK_IRET ? 0 : DESCRIPTOR_BUSY;
    if (selector & SELECTOR_TI)
        return task_invalid_tss(s, selector);
    if (!descriptor_fetch(s, selector, &s->tss))
        return false;
    uint32_t system = (s->tss.rights & AR_SYSTEM) ^ not_busy;
    if (system != AR_BUSY_TSS32 && system != AR_BUSY_TSS16)
        return task_invalid_tss(s, selector);
    s->layout = layout_of(s->tss.rights);
    s->tss.rights |= DESCRIPTOR_BUSY;
    return s->tss.limit >= s->layout->size - 1u || task_invalid_tss(s, selector);
}

static bool descriptor_check(struct switching *s, uint16_t selector)
{
    uint32_t address;
    if (!descriptor_locate(s->cpu, selector, &address))
        return task_invalid_tss(s, selector);
    return task_memory_done(s,
                            s->memory->check(s->memory->context, address + DESCRIPTOR_RIGHTS, 1));
}

/* Checks that everything that is written later can be written, because a fault at this point is one
 * of the old task. */
static bool task_check(struct switching *s, const struct layout *old)
{
    const struct task_memory *m = s->memory;
    uint32_t old_base = (uint32_t)s->cpu->tr.base, new_base = (uint32_t)s->tss.base;
    bool links = is_nested(s);
    uint8_t image[TSS_MAX];

    if (s->cpu->tr.limit < old->saved_end - 1u)
        return task_invalid_tss(s, s->cpu->tr.selector);
    if (!task_memory_done(s,
                          m->check(m->context, old_base + old->eip, old->saved_end - old->eip)) ||
        !task_memory_done(s, m->read(m->context, new_base, image, s->layout->size)) ||
        (links && !task_memory_done(s, m->check(m->context, new_base, 2))))
        return false;
    return (links || descriptor_check(s, s->cpu->tr.selector)) &&
           (s->request->source == TASK_IRET || descriptor_check(s, s->request->selector));
}

static bool task_save_old(struct switching *s, const struct layout *old)
{
    const struct task_cpu *cpu = s->cpu;
    const struct task_memory *m = s->memory;
    uint32_t address = (uint32_t)cpu->tr.base + old->eip, size = old->saved_end - old->eip;
    uint32_t eflags = cpu->eflags;
    uint8_t image[TSS_MAX];

    if (s->request->source == TASK_IRET)
        eflags &= ~(uint32_t)EFLAGS_NT;
    /* The reserved fields between the selectors keep their values. */
    if (!task_memory_done(s, m->read(m->context, address, image + old->eip, size)))
        return false;
    memcpy(image + old->eip, &cpu->eip, old->width);
    memcpy(image + old->eflags, &eflags, old->width);
    for (unsigned i = 0; i < ARRAY_SIZE(cpu->gpr); i++)
        memcpy(image + old->gpr + i * old->width, &cpu->gpr[i], old->width);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        if (old->segments[i])
            memcpy(image + old->segments[i], &cpu->segments[i].selector, 2);
    return task_memory_done(s, m->write(m->context, address, image + old->eip, size));
}

/* Writes what others can see of the switch: the busy bits, the link to the old task, and the old
 * task's state. */
static bool task_leave_old(struct switching *s, const struct layout *old)
{
    const struct task_memory *m = s->memory;
    uint16_t link = s->cpu->tr.selector;

    if (!is_nested(s) && !descriptor_change(s, link, DESCRIPTOR_BUSY, 0))
        return false;
    if (!task_save_old(s, old))
        return false;
    if (is_nested(s) &&
        !task_memory_done(s, m->write(m->context, (uint32_t)s->tss.base, &link, sizeof(link))))
        return false;
    return s->request->source == TASK_IRET ||
           descriptor_change(s, s->request->selector, 0, DESCRIPTOR_BUSY);
}

/* ---- The new task ---------------------------------------------------------------------------- */

/* A segment register with a selector, but without a descriptor. */
static struct task_segment segment_unusable(uint16_t selector)
{
    return (struct task_segment){.selector = selector, .rights = SEG_AR_UNUSABLE};
}

static struct task_segment segment_v8086(uint16_t selector)
{
    return (struct task_segment){selector, AR_V8086, 0xffff, (uint64_t)selector << 4};
}

/* Until CS is loaded, the RPL of its selector stays the CPL. Access rights of virtual-8086 mode are
 * replaced, because they are not valid in protected mode. */
static void keep_code(struct task_segment *cs, unsigned cpl, bool was_v8086)
{
    cs->selector = (uint16_t)((cs->selector & ~SELECTOR_RPL) | cpl);
    if (was_v8086)
        cs->rights = AR_CODE_R3;
}

/* Loads the new task's registers, and the selectors of its segment registers. */
static void task_load_new(struct switching *s, const uint8_t *image)
{
    struct task_cpu *cpu = s->cpu;
    const struct layout *new = s->layout;
    bool was_v8086 = cpu->eflags & EFLAGS_VM;
    uint32_t high = new->width == 2 ? 0xffff0000 : 0; /* as CPUs with 16-bit tasks did */

    cpu->tr = s->tss;
    cpu->dr7 &= ~(uint64_t)DR7_LOCAL;
    cpu->eip = tss_get(image, new->eip, new->width);
    cpu->eflags = (tss_get(image, new->eflags, new->width) & EFLAGS_VALID) | (uint32_t)EFLAGS_FIXED;
    if (is_nested(s))
        cpu->eflags |= (uint32_t)EFLAGS_NT;
    for (unsigned i = 0; i < ARRAY_SIZE(cpu->gpr); i++)
        cpu->gpr[i] = high | tss_get(image, new->gpr + i *new->width, new->width);
    cpu->ldtr = segment_unusable((uint16_t)tss_get(image, new->ldt, 2));
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        uint16_t selector = new->segments[i] ? (uint16_t)tss_get(image, new->segments[i], 2) : 0;
        if (cpu->eflags & EFLAGS_VM)
            cpu->segments[i] = segment_v8086(selector);
        else if (i == SEG_CS || i == SEG_SS)
            cpu->segments[i].selector = selector;
        else
            cpu->segments[i] = segment_unusable(selector);
    }
    s->code = cpu->segments[SEG_CS].selector;
    if (!(cpu->eflags & EFLAGS_VM))
        keep_code(&cpu->segments[SEG_CS], segment_dpl(&cpu->segments[SEG_SS]), was_v8086);
    s->outcome.switched = true;
}

static bool load_ldtr(struct switching *s)
{
    uint16_t selector = s->cpu->ldtr.selector;
    struct task_segment segment;
    if (selector_is_null(selector))
        return true;
    if (selector & SELECTOR_TI)
        return task_invalid_tss(s, selector);
    if (!descriptor_fetch(s, selector, &segment))
        return false;
    if ((segment.rights & AR_SYSTEM) != AR_LDT)
        return task_invalid_tss(s, selector);
    s->cpu->ldtr = segment;
    return true;
}

static bool check_code(struct switching *s, const struct task_segment *cs)
{
    unsigned rpl = cs->selector & SELECTOR_RPL;
    if ((cs->rights & (SEG_AR_S | AR_CODE)) != (SEG_AR_S | AR_CODE) ||
        (cs->rights & AR_CONFORMING ? segment_dpl(cs) > rpl : segment_dpl(cs) != rpl))
        return task_invalid_tss(s, cs->selector);
    return cs->rights & SEG_AR_P || task_fault(s, VECTOR_NP, cs->selector & ERROR_SELECTOR);
}

static bool check_stack(struct switching *s, const struct task_segment *ss, unsigned cpl)
{
    if ((ss->rights & (SEG_AR_S | AR_CODE | AR_WRITABLE)) != (SEG_AR_S | AR_WRITABLE) ||
        (ss->selector & SELECTOR_RPL) != cpl || segment_dpl(ss) != cpl)
        return task_invalid_tss(s, ss->selector);
    return ss->rights & SEG_AR_P || task_fault(s, VECTOR_SS, ss->selector & ERROR_SELECTOR);
}

/* CS and SS are loaded together, because VM entry fails if they disagree about the CPL. */
static bool load_code_and_stack(struct switching *s)
{
    struct task_segment *segments = s->cpu->segments, cs, ss;
    uint16_t code = s->code, stack = segments[SEG_SS].selector;
    if (selector_is_null(code) || selector_is_null(stack))
        return task_invalid_tss(s, selector_is_null(code) ? code : stack);
    if (!descriptor_fetch(s, code, &cs) || !check_code(s, &cs) ||
        !descriptor_fetch(s, stack, &ss) || !check_stack(s, &ss, code & SELECTOR_RPL) ||
        !descriptor_set_accessed(s, &cs) || !descriptor_set_accessed(s, &ss))
        return false;
    segments[SEG_CS] = cs;
    segments[SEG_SS] = ss;
    return true;
}

static bool load_data(struct switching *s, unsigned which, unsigned cpl)
{
    uint16_t selector = s->cpu->segments[which].selector;
    struct task_segment segment;
    if (selector_is_null(selector))
        return true;
    if (!descriptor_fetch(s, selector, &segment))
        return false;
    bool conforming = (segment.rights & (AR_CODE | AR_CONFORMING)) == (AR_CODE | AR_CONFORMING);
    if (!(segment.rights & SEG_AR_S) ||
        (segment.rights & (AR_CODE | AR_WRITABLE)) == AR_CODE || /* execute-only code */
        (!conforming &&
         (segment_dpl(&segment) < cpl || segment_dpl(&segment) < (selector & SELECTOR_RPL))))
        return task_invalid_tss(s, selector);
    if (!(segment.rights & SEG_AR_P))
        return task_fault(s, VECTOR_NP, selector & ERROR_SELECTOR);
    if (!descriptor_set_accessed(s, &segment))
        return false;
    s->cpu->segments[which] = segment;
    return true;
}

static bool load_segments(struct switching *s)
{
    static const uint8_t data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    if (!load_ldtr(s))
        return false;
    if (s->cpu->eflags & EFLAGS_VM)
        return true;
    if (!load_code_and_stack(s))
        return false;
    unsigned cpl = s->code & SELECTOR_RPL;
    for (unsigned i = 0; i < ARRAY_SIZE(data); i++)
        if (!load_data(s, data[i], cpl))
            return false;
    return true;
}

/* Pushes an exception's error code onto the new task's stack, with the width of the new TSS. */
static bool push_error_code(struct switching *s)
{
    struct task_cpu *cpu = s->cpu;
    const struct task_segment *ss = &cpu->segments[SEG_SS];
    uint32_t size = s->layout->width, mask = ss->rights & SEG_AR_DB ? 0xffffffff : 0xffff;
    uint32_t offset = (cpu->gpr[GPR_RSP] - size) & mask, last = offset + size - 1;
    bool inside = ss->rights & AR_CONFORMING /* expands down */
                      ? offset > ss->limit && last <= mask && last > offset
                      : last <= ss->limit && last > offset;
    if (!inside)
        return task_fault(s, VECTOR_SS, 0);
    if (!task_memory_done(s, s->memory->push(s->memory->context, (uint32_t)ss->base + offset,
                                             &s->request->error_code, size, segment_dpl(ss))))
        return false;
    cpu->gpr[GPR_RSP] = (cpu->gpr[GPR_RSP] & ~mask) | offset;
    return true;
}

static bool task_load_cr3(struct switching *s, const uint8_t *image)
{
    uint32_t cr3 = tss_get(image, CR3_OFFSET, 4);
    if (s->layout->width == 2 || !s->cpu->paging || cr3 == s->cpu->cr3)
        return true;
    if (!s->memory->set_cr3(s->memory->context, cr3))
        return task_fault(s, VECTOR_GP, 0);
    s->cpu->cr3 = cr3;
    return true;
}

static bool switch_to(struct switching *s)
{
    const struct layout *old = layout_of(s->cpu->tr.rights);
    const struct task_memory *m = s->memory;
    uint8_t image[TSS_MAX];

    if (!find_new_tss(s) || !task_check(s, old) || !task_leave_old(s, old) ||
        !task_memory_done(s, m->read(m->context, (uint32_t)s->tss.base, image, s->layout->size)))
        return false;
    task_load_new(s, image);
    if (!task_load_cr3(s, image) || !load_segments(s))
        return false;
    if (s->request->has_error && !push_error_code(s))
        return false;
    if (s->layout->width == 4 && image[TRAP_OFFSET] & 1)
        s->outcome.result = TASK_TRAP;
    return true;
}

struct task_outcome task_switch(struct task_cpu *cpu, const struct task_request *request,
                                const struct task_memory *memory)
{
    struct switching s = {.cpu = cpu, .request = request, .memory = memory};
    (void)switch_to(&s);
    return s.outcome;
}
