/* SPDX-License-Identifier: MIT */
/* The tasks, their descriptors, gates and page tables, for the tests in tasks.c. */
#pragma once

#include "guest/programs/mmio/forms.h"
#include "guest/programs/tasks/tasks.h"

#define NT   0x4000u
#define VM   0x20000u
#define TS   8u
#define BUSY 2u
/* the stack of the second task, at an offset below 64 KiB in its segment */
#define STACK       0x7f000u
#define LOW         0x70000u
#define CR0_UNPAGED 0x33u
#define CR0_PAGED   0x80010033u
#define UNMAPPED    0xd0000000u /* 4 MiB */
#define ALIAS       0xc0000000u /* a second mapping of the 4 MiB that contain the TSSs */

struct registers { /* in the order in which the assembly stores them */
    uint32_t eax, ecx, edx, ebx, esp, ebp, esi, edi;
    uint32_t top, eflags, tr, cr3, cr0, count, more;
};
extern volatile struct registers second, first;
extern volatile struct {
    uint32_t vector, error, eip, cs, eflags, cr2, tr, dr6;
} ended;

struct tss {
    uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags;
    uint32_t eax, ecx, edx, ebx, esp, ebp, esi, edi;
    uint32_t es, cs, ss, ds, fs, gs, ldt;
    uint16_t trap, io_map;
};

/* The assembly also reads these variables. */
extern uint64_t tasks_gdt[T_COUNT], tasks_idt[256];
extern struct tss tasks_a;

uint64_t tasks_gdt[T_COUNT] __attribute__((aligned(8)));
uint64_t tasks_idt[256] __attribute__((aligned(8)));
struct tss tasks_a __attribute__((aligned(256)));
static struct tss tasks_b __attribute__((aligned(256)));
extern uint32_t tasks_deed, tasks_skip;
extern uint64_t rt_gdt[];
extern uint8_t tasks_main[], deed_call[], deed_jmp[], deed_gate[], deed_int[], deed_ud[], deed_gp[],
    deed_pf[], deed_interrupt[], deed_nmi[], deed_again[], deed_step[], deed_fault[];
extern uint8_t other_iret[], other_jmp[], other_error[], other_nmi[], other_int[], other_int_end[];
extern uint8_t fault_ts[], fault_np[], fault_ss[], fault_gp[], fault_pf[], fault_db[], fault_df[],
    fault_callback[];

static inline uint32_t low(const void *address)
{
    return (uint32_t)(uint64_t)address;
}

/* ---- Tables ---------------------------------------------------------------------------------- */

static inline void describe(unsigned selector, uint64_t base, uint64_t limit, uint64_t rights)
{
    tasks_gdt[selector / 8] = (limit & 0xffff) | field_put(base, BITS(39, 16)) |
                              (rights & 0xff) << 40 | field_put(limit >> 16, BITS(51, 48)) |
                              (rights >> 12 & 0xf) << 52 | field_put(base >> 24, BITS(63, 56));
}

static inline uint64_t rights(unsigned selector)
{
    return tasks_gdt[selector / 8] >> 40 & 0xff;
}

static inline void interrupt_gate(unsigned vector, const void *handler, uint64_t dpl)
{
    uint64_t at = low(handler);
    tasks_idt[vector] =
        (at & 0xffff) | SEL_CODE32 << 16 | (0x8e | dpl << 5) << 40 | (at >> 16) << 48;
}

static inline void task_gate(unsigned vector)
{
    tasks_idt[vector] = T_B << 16 | 0xe5ull << 40;
}

/* Maps 4 GiB to themselves, except for UNMAPPED, by two page directories of each kind. They differ
 * at ALIAS, which the first one maps only if a test requests it. */
static uint32_t directories[2][1024] __attribute__((aligned(4096)));
static uint64_t pae_directories[2][4][512] __attribute__((aligned(4096)));
static uint64_t pae_tables[2][4] __attribute__((aligned(32)));

static inline void make_tables(bool pae, bool alias)
{
    uint64_t flags = PTE_P | PTE_W | PTE_PS;
    uint64_t there = (uint64_t)&tasks_b & ~(2 * RT_2M - 1);
    for (unsigned which = 0; which < 2; which++) {
        for (uint64_t i = 0; i < 1024; i++)
            directories[which][i] = (uint32_t)(i << 22 | flags);
        for (uint64_t i = 0; i < 2048; i++)
            pae_directories[which][i / 512][i % 512] = i << 21 | flags;
        for (unsigned i = 0; i < 4; i++)
            pae_tables[which][i] = (uint64_t)pae_directories[which][i] | PTE_P;
        uint64_t entry = alias || which ? there | flags : 0;
        directories[which][ALIAS >> 22] = (uint32_t)entry;
        directories[which][UNMAPPED >> 22] = 0;
        pae_directories[which][3][0] = entry;
        pae_directories[which][3][1] = entry ? entry + RT_2M : 0;
        pae_directories[which][3][128] = 0; /* UNMAPPED */
    }
    (void)pae;
}

static inline uint32_t root(bool pae, unsigned which)
{
    return pae ? low(pae_tables[which]) : low(directories[which]);
}
