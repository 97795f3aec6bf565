/* SPDX-License-Identifier: MIT */
/*
 * Ends its VM by a triple fault (expect=triple-fault): with no argument by an exception without an
 * IDT; with `page` by a page fault without a gate for it; with `stack` by a stack that has no
 * memory; with `code` by a gate without a code segment; with `idt` by an IDT without memory; and
 * without an IDT with `int` by INT n, with `sent` by an interrupt, with `nmi` by an NMI, and with
 * `msr` by an instruction that the hypervisor refuses.
 */
#include "guest/programs/rt/rt.h"

#define GATE_PRESENT BIT(47)
#define VECTOR_DF    8
#define NO_SUCH_MSR  0x12345678u

static void limit_idt(uint64_t base, uint16_t limit)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) idt = {limit, base};
    __asm__ volatile("lidt %0" : : "m"(idt));
}

static void without_gate(void)
{
    rt_idt[2 * VECTOR_PF] &= ~GATE_PRESENT;
    rt_idt[2 * VECTOR_DF] &= ~GATE_PRESENT;
    write32(TEST_VA, 0);
}

static void without_stack(void)
{
    __asm__ volatile("movq %0, %%rsp\n\tpushq $0" : : "r"(TEST_VA) : "memory");
}

static void without_code(void)
{
    rt_idt[2 * VECTOR_PF] &= ~BITS(31, 16); /* the null selector */
    rt_idt[2 * VECTOR_DF] &= ~BITS(31, 16);
    write32(TEST_VA, 0);
}

static void without_idt(void)
{
    limit_idt(0, 0);
    switch (*rt_args) {
    case 'i':
        __asm__ volatile("int $0x80");
        break;
    case 's':
        hc_inject(EVENT(EVENT_INTERRUPT, 0x50), 0, 0);
        __asm__ volatile("sti\n\tnop\n\tnop");
        break;
    case 'n':
        hc_inject(EVENT(EVENT_NMI, VECTOR_NMI), 0, 0);
        break;
    case 'm':
        wrmsr(NO_SUCH_MSR, 0x1122334455667788);
        break;
    default:
        __asm__ volatile("ud2");
    }
}

static void triple_fault(void)
{
    const char *how = rt_args;
    if (how[0] == 'p')
        without_gate();
    else if (how[0] == 's' && how[1] == 't')
        without_stack();
    else if (how[0] == 'c')
        without_code();
    else if (how[0] == 'i' && how[1] == 'd')
        limit_idt(TEST_VA, 0xfff), read32(TEST_VA + 2 * RT_PAGE);
    else
        without_idt();
}

void guest_main(void)
{
    run_forbidden("triple_fault", triple_fault);
}
