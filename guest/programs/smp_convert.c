/* SPDX-License-Identifier: MIT */
/*
 * Ends its VM by a memory fault (words `shared=39,vcpus=2,expect=memory-fault`): its peers load
 * from the first of 512 pages while these are converted to the other side; with the argument
 * `back`, from shared to private. A conversion clears pages only when no CPU can reach them any
 * more: a peer that still sees a page afterwards makes the VM end in another way (rule X5).
 */
#include "guest/programs/rt/peers.h"
#include "guest/programs/rt/sides.h"

#define REGION 0x1000000ull
#define PAGES  512u
#define VALUE  0x5ca1ab1e0ddba11ull

static uint64_t *page;

static void load(struct peer *self)
{
    (void)self;
    if (*(volatile uint64_t *)page != VALUE)
        debug_exit(2);
}

static void convert(void)
{
    uint64_t from = *rt_args == 'b' ? shared_bit() : 0;
    map_gpa(REGION | from, PAGES * RT_PAGE);
    map_page(rt_pml4, TEST_VA, REGION | from, PTE_P | PTE_W);
    map_page(rt_pml4, APIC, APIC | shared_bit(), PTE_P | PTE_W);
    page = (uint64_t *)TEST_VA;
    *page = VALUE;
    peers_start(load);
    map_gpa(REGION | (from ^ shared_bit()), PAGES * RT_PAGE);
    peers_turn();
}

void guest_main(void)
{
    run_forbidden("convert", convert);
}
