/* SPDX-License-Identifier: MIT */
/*
 * Ends its VM by a #VE that can't be delivered. With no argument or `stack`, the IDT or a handler's
 * stack lies in MMIO (words `shared=39,ve,expect=mmio-during-delivery`); with `real`, code in real
 * mode touches MMIO (words `ve,expect=memory-fault`). In each case #VE came from that page before.
 */
#include "guest/programs/rt/sides.h"

#define HOLE 0xd0000000ull /* no slot and no device */

static volatile unsigned converted;

static void on_ve(struct frame *frame)
{
    converted++;
    frame->rip += 2; /* skips the instruction of load2() */
    VE_INFO->busy = 0;
}

/* The cached flat segments stay loaded, so only CR0 changes. */
static void load_in_real_mode(void)
{
    __asm__ volatile("pushq %0\n\tleaq 1f, %%rax\n\tpushq %%rax\n\tlretq\n\t"
                     ".code32\n"
                     "1:\tmovl %%cr0, %%eax\n\tandl $0x7ffffffe, %%eax\n\tmovl %%eax, %%cr0\n\t"
                     "movl (%%ebx), %%eax\n\thlt\n\t"
                     ".code64"
                     :
                     : "i"(SEL_CODE32), "b"(HOLE)
                     : "rax", "memory");
}

static void take_event_through_mmio(uint64_t va)
{
    if (*rt_args == 's')
        set_stack(0x50, va + RT_PAGE);
    else
        load_idt(va);
    __asm__ volatile("int $0x50" : : : "memory");
}

static void deed(void)
{
    set_handler(VECTOR_VE, on_ve);
    VE_INFO->busy = 0;
    map_page(rt_pml4, TEST_VA, HOLE | shared_bit(), PTE_P | PTE_W);
    load2(TEST_VA);
    load2(TEST_VA);
    if (converted != 2)
        debug_exit(2);
    if (*rt_args == 'r')
        load_in_real_mode();
    else
        take_event_through_mmio(TEST_VA);
}

void guest_main(void)
{
    run_forbidden("ve", deed);
}
