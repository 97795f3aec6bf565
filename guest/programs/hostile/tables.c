/* SPDX-License-Identifier: MIT */
/* The tables of the program `hostile`: descriptors, task states, page tables. They are restored
 * before each step. */
#include "guest/programs/hostile/hostile.h"
#include "guest/programs/rt/apic.h"
#include "guest/programs/rt/smp.h"

#define MSR_EFER  0xc0000080u
#define EFER_LME  BIT(8)
#define CR0_START 0x80010033u
#define IST_1     BIT(32)
#define GATE_64   (0x8eull << 40)

extern uint64_t rt_gdt[], rt_pdpt[];

uint64_t hostile_gdt[CPUS_MAX][GDT_SLOTS] __attribute__((aligned(4096)));
uint64_t play_table[512] __attribute__((aligned(4096)));
uint64_t legacy_idt[256] __attribute__((aligned(4096)));
uint64_t hostile_idt[512] __attribute__((aligned(4096)));
static uint64_t user_table[512] __attribute__((aligned(4096)));
static uint64_t user_directory[512] __attribute__((aligned(4096)));
static uint64_t shared_directory[512] __attribute__((aligned(4096)));
static uint64_t play_directories[2][512] __attribute__((aligned(4096)));
uint32_t directory_32[1024] __attribute__((aligned(4096)));
uint64_t hostile_pdptes[512] __attribute__((aligned(4096)));
static uint64_t directories_pae[4][512] __attribute__((aligned(4096)));
static uint8_t stacks[CPUS_MAX][4096] __attribute__((aligned(4096)));
/* A TSS for each CPU in long mode, and the last one for legacy modes. */
static uint32_t task_states[CPUS_MAX + 1][32] __attribute__((aligned(128)));

struct table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

#define LEAF_2M(i) ((uint64_t)(i) << 21 | PTE_P | PTE_W | PTE_U | PTE_PS)

uint64_t trap_stack(unsigned cpu)
{
    return (uint64_t)stacks[cpu];
}

static void link(uint64_t *table, uint64_t index, const void *next)
{
    table[index] = (uint64_t)next | PTE_P | PTE_W | PTE_U;
}

static void link_all(void)
{
    const uint64_t user = USER_VA >> 39 & 511, play = PLAY_VA >> 39 & 511;

    link(rt_pml4, 0, rt_pdpt);
    link(rt_pml4, user, user_table);
    link(user_table, 0, user_directory);
    link(user_table, 1, shared_directory);
    link(rt_pml4, play, play_directories[0]);
    link(play_directories[0], 0, play_directories[1]);
    link(play_directories[1], 0, play_table);
}

uint64_t gate(const void *handler, uint64_t kind)
{
    uint64_t entry = (uint64_t)handler;
    return (entry & 0xffff) | kind | field_put(entry >> 16, BITS(63, 48));
}

void tables_init(void)
{
    for (unsigned i = 0; i < 512; i++)
        user_directory[i] = LEAF_2M(i);
    for (unsigned i = 0; i < 512; i++)
        shared_directory[i] = LEAF_2M(3 * 512 + i) | hostile_sides << SHARED_BIT;
    for (unsigned i = 0; i < 2048; i++)
        directories_pae[i / 512][i % 512] = LEAF_2M(i);
    for (unsigned i = 0; i < 4; i++)
        hostile_pdptes[i] = (uint64_t)directories_pae[i] | PTE_P;
    for (unsigned i = 0; i < 1024; i++)
        directory_32[i] = i << 22 | (uint32_t)(PTE_P | PTE_W | PTE_U | PTE_PS);
    memcpy((void *)(uintptr_t)LOW_STUBS, real_begin, (size_t)(real_end - real_begin));
}

static uint64_t descriptor(uint64_t base, uint64_t limit, uint64_t type)
{
    return (limit & 0xffff) | field_put(base, BITS(39, 16)) | type << 40 |
           field_put(limit >> 16, BITS(51, 48)) | field_put(base >> 24, BITS(63, 56));
}

static void fill_gdt(struct hostile_cpu *cpu)
{
    const uint64_t limit = sizeof(task_states[0]) - 1;
    uint64_t *gdt = hostile_gdt[cpu->number];

    memcpy(gdt, rt_gdt, SEL_TSS);
    gdt[SEL_TSS / 8] = descriptor((uint64_t)task_states[cpu->number], limit, 0x89);
    gdt[SEL_TSS / 8 + 1] = 0;
    gdt[SEL_USER_CODE32 / 8] = 0x00cffb000000ffff;
    gdt[SEL_LEGACY_TSS / 8] = descriptor((uint64_t)task_states[CPUS_MAX], limit, 0x89);
}

/* The tables that all CPUs share. */
static void fill_idts(void)
{
    for (unsigned i = 0; i < 256; i++) {
        hostile_idt[2 * i] = gate(hostile_vectors[i], GATE_64 | IST_1 | (uint64_t)SEL_CODE64 << 16);
        hostile_idt[2 * i + 1] = 0;
        legacy_idt[i] = gate(hostile_legacy_vector, 0xeeull << 40 | (uint64_t)SEL_CODE32 << 16);
        ((volatile uint32_t *)0)[i] = LOW_STUBS + (uint32_t)(real_vector - real_begin);
    }
}

static void fill_task_states(struct hostile_cpu *cpu)
{
    uint32_t *mine = task_states[cpu->number], *legacy = task_states[CPUS_MAX];
    uint64_t top = trap_stack(cpu->number) + 4096;

    *(uint64_t *)trap_stack(cpu->number) = (uint64_t)cpu;
    memset(mine, 0, sizeof(task_states[0]));
    mine[1] = mine[9] = (uint32_t)top; /* RSP0, IST 1 */
    mine[25] = sizeof(task_states[0]) << 16;
    legacy[1] = (uint32_t)top - 2048; /* ESP0 */
    /* IST 1: on the way back, the TSS is a 64-bit one */
    legacy[9] = (uint32_t)top;
    legacy[2] = SEL_DATA;
    legacy[25] = sizeof(task_states[0]) << 16;
}

static void end_interrupts(void)
{
    uint64_t base = rdmsr(MSR_APIC_BASE);

    if (!(base & APIC_BASE_ENABLE))
        return;
    if (hostile_sides && !(base & APIC_BASE_X2APIC)) /* its page has no private address */
        wrmsr(MSR_APIC_BASE, base |= APIC_BASE_X2APIC);
    for (unsigned i = 0; i < 4; i++) {
        if (base & APIC_BASE_X2APIC)
            wrmsr(MSR_X2APIC + (APIC_REG_EOI >> 4), 0);
        else
            write32(APIC + APIC_REG_EOI, 0);
    }
}

void tables_sanitize(struct hostile_cpu *cpu)
{
    struct table_pointer gdt_pointer = {sizeof(hostile_gdt[0]) - 1,
                                        (uint64_t)hostile_gdt[cpu->number]};
    struct table_pointer idt_pointer = {sizeof(hostile_idt) - 1, (uint64_t)hostile_idt};

    /* An event that was requested for the last step must not arrive any more. */
    hc_inject(EVENT(EVENT_NMI, VECTOR_NMI), 0, BIT(40));
    /* The first access may fault because of DR7.GD, which the fault clears. */
    __asm__ volatile("mov %0, %%dr7" : : "r"(0x400ull));
    link_all();
    write_cr3((uint64_t)rt_pml4);
    __asm__ volatile("mov %0, %%cr0" : : "r"((uint64_t)CR0_START));
    write_cr4(CR4_PAE);
    fill_gdt(cpu);
    fill_task_states(cpu);
    fill_idts();
    __asm__ volatile("lgdt %0\nlidt %1" : : "m"(gdt_pointer), "m"(idt_pointer));
    __asm__ volatile("mov %w0, %%ds\nmov %w0, %%es\nmov %w0, %%ss\n"
                     "mov %w1, %%fs\nmov %w1, %%gs\nlldt %w1"
                     :
                     : "r"(SEL_DATA), "r"(0));
    __asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
    wrmsr(MSR_EFER, EFER_LME);
    end_interrupts();
}

/* ---- Random entries -------------------------------------------------------------------------- */

uint64_t any_gpa(struct hostile_cpu *cpu)
{
    static const uint64_t pages[] = {
        0x0,          0x7000,         LOW_CODE,       0x9f000,
        0xa0000,      0xe0000,        0xf0000,        0x3ff000,
        0x400000,     0xbffff000,     0xc0000000,     0xd0000000,
        0xfd000000,   TESTDEV_A_BASE, TESTDEV_B_BASE, 0xfe002000,
        0xfec00000,   APIC,           0xfffff000,     0x100000000,
        0x1fffff000,  0x4000000000,   0x8000000000,   0x8000001000,
        0x80fe000000, 0xfffffff000,   0x10000000000,  0xfffffffffffff000,
    };
    if (one_in(cpu, 3) || (hostile_sides && !one_in(cpu, 8)))
        return pick(cpu, 1024) << 12 | (one_in(cpu, 8) ? hostile_sides << SHARED_BIT : 0);
    if (one_in(cpu, 8))
        return (uint64_t)play_table;
    return PICK(cpu, pages);
}

uint64_t any_pte(struct hostile_cpu *cpu)
{
    uint64_t entry = any_gpa(cpu) & BITS(51, 12);

    entry |= one_in(cpu, 4) ? rnd(cpu) & 0xfff : PTE_P | PTE_W | PTE_U | (rnd(cpu) & 0x60);
    if (one_in(cpu, 8))
        entry |= BIT(pick(cpu, 64));
    return entry;
}

uint64_t any_descriptor(struct hostile_cpu *cpu)
{
    static const uint8_t types[] = {0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x89, 0x8b,
                                    0x8c, 0x8e, 0x8f, 0x91, 0x93, 0x95, 0x97, 0x99, 0x9b,
                                    0x9d, 0x9f, 0xe2, 0xe9, 0xec, 0xf3, 0xf7, 0xfb, 0xff};
    uint64_t base = one_in(cpu, 3) ? any_address(cpu) : (uint64_t)task_states[CPUS_MAX];
    uint64_t limit = one_in(cpu, 3) ? pick(cpu, 0x100000) : 0xfffff;
    uint64_t word = descriptor(base, limit, PICK(cpu, types)) | pick(cpu, 16) << 52;

    if (one_in(cpu, 4)) /* a gate to a selector */
        word = (word & BITS(47, 40)) | any_selector(cpu) << 16 | pick(cpu, 0x10000);
    return one_in(cpu, 10) ? rnd(cpu) : word;
}

uint64_t any_selector(struct hostile_cpu *cpu)
{
    return one_in(cpu, 10) ? pick(cpu, 0x10000) : pick(cpu, GDT_SLOTS) << 3 | pick(cpu, 8);
}
