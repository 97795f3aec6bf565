/* SPDX-License-Identifier: MIT */
/*
 * Interrupt and exception handling: the IDT and TSS, handlers by vector, and try_run(), which turns
 * an exception into a result. Any unexpected exception ends the VM with a failure.
 */
#include "guest/programs/rt/rt.h"

#define GATE_INTERRUPT (0x8eull << 40)
#define GATE_IST       BITS(34, 32)
#define IST_COUNT      7

struct table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

struct tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[IST_COUNT];
    uint64_t reserved2;
    uint16_t reserved3, io_map;
} __attribute__((packed));

extern uint8_t rt_vectors[][16], rt_stack_top[], rt_try_recover[];
extern uint64_t rt_gdt[], rt_try_stack;
int rt_try(void (*run)(void *), void *argument);
void rt_trap(struct frame *frame);

uint64_t rt_idt[512] __attribute__((aligned(4096)));
static struct tss tss __attribute__((aligned(128)));
static uint8_t user_entry_stack[4096] __attribute__((aligned(16)));
static void (*handlers[256])(struct frame *frame);
static struct fault last_fault;

void set_gate(unsigned vector, uint64_t entry)
{
    rt_idt[2 * vector] = (entry & 0xffff) | SEL_CODE64 << 16 | GATE_INTERRUPT |
                         (rt_idt[2 * vector] & GATE_IST) | field_put(entry >> 16, BITS(63, 48));
    rt_idt[2 * vector + 1] = entry >> 32;
}

/* The number of an IST entry that no vector uses. */
static unsigned free_ist(void)
{
    unsigned used = 0, ist = 1;
    for (unsigned v = 0; v < 256; v++)
        used |= 1u << field_get(rt_idt[2 * v], GATE_IST);
    while (used >> ist & 1)
        ist++;
    if (ist > IST_COUNT) {
        print("Bail out! more than %d vectors want a stack\n", IST_COUNT);
        debug_exit(1);
    }
    return ist;
}

void set_stack(unsigned vector, uint64_t top)
{
    rt_idt[2 * vector] &= ~GATE_IST;
    if (top) {
        unsigned ist = free_ist();
        rt_idt[2 * vector] |= field_put(ist, GATE_IST);
        tss.ist[ist - 1] = top;
    }
}

void set_handler(unsigned vector, void (*handler)(struct frame *frame))
{
    handlers[vector] = handler;
}

void load_idt(uint64_t address)
{
    struct table_pointer pointer = {sizeof(rt_idt) - 1, address};

    __asm__ volatile("lidt %0" : : "m"(pointer));
}

void rt_traps_init(void)
{
    uint64_t base = (uint64_t)&tss;

    for (unsigned v = 0; v < 256; v++)
        set_gate(v, (uint64_t)rt_vectors[v]);
    load_idt((uint64_t)rt_idt);
    tss.rsp[0] = (uint64_t)(user_entry_stack + sizeof(user_entry_stack));
    tss.io_map = sizeof(tss);
    rt_gdt[SEL_TSS / 8] = (sizeof(tss) - 1) | field_put(base, BITS(39, 16)) | 0x89ull << 40 |
                          field_put(base >> 24, BITS(63, 56));
    rt_gdt[SEL_TSS / 8 + 1] = base >> 32;
    __asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
}

static uint64_t read_cr2(void)
{
    uint64_t value;
    __asm__ volatile("mov %%cr2, %0" : "=r"(value));
    return value;
}

struct seen seen;

static void saw(struct frame *frame)
{
    seen.count = seen.count + 1;
    seen.rip = frame->rip;
    seen.error = frame->error;
    seen.cr2 = read_cr2();
    __asm__ volatile("mov %%dr6, %0" : "=r"(seen.dr6));
    frame->rip += seen.skip;
    frame->rflags &= ~BIT(8); /* TF */
}

void look_for(unsigned vector, uint64_t skip)
{
    seen.count = 0;
    seen.skip = skip;
    set_handler(vector, saw);
}

/* Called by vectors.S. */
void rt_trap(struct frame *frame)
{
    if (handlers[frame->vector]) {
        handlers[frame->vector](frame);
        return;
    }
    if (!rt_try_stack || frame->vector >= 32) {
        print("Bail out! unexpected vector %lu error 0x%lx at rip 0x%lx cr2 0x%lx rsp 0x%lx\n",
              frame->vector, frame->error, frame->rip, read_cr2(), frame->rsp);
        debug_exit(1);
    }
    last_fault = (struct fault){true, frame->vector, frame->error, frame->rip, read_cr2()};
    frame->rip = (uint64_t)rt_try_recover;
    frame->cs = SEL_CODE64;
    frame->ss = SEL_DATA;
    frame->rsp = rt_try_stack;
    frame->rflags = 2;
}

struct fault try_run(void (*run)(void *), void *argument)
{
    if (!rt_try(run, argument))
        return (struct fault){0};
    return last_fault;
}
