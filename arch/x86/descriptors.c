/* SPDX-License-Identifier: MIT */
/* The GDT and TSS of each CPU and the common IDT; see the header. */
#include "arch/x86/descriptors.h"

#include "arch/x86/cpu.h"
#include "arch/x86/cpus.h"
#include "lib/compiler.h"

struct gate {
    uint16_t offset_low, selector;
    uint8_t ist, type;
    uint16_t offset_middle;
    uint32_t offset_high, reserved;
};

#define GATE_INTERRUPT 0x8e /* present, DPL 0, 64-bit interrupt gate */
#define VECTOR_NMI     2
#define VECTOR_DF      8
#define VECTOR_MC      18

struct guarded_stack stacks[STACK_COUNT] __attribute__((section(".bss..stacks"), aligned(4096)));
const char *const stack_names[STACK_COUNT] = {"boot", "NMI", "double fault", "machine check"};

/* The entry points of the vectors 0 to 255 (arch/x86/vectors.S). */
extern const uint64_t exception_entries[256];

struct cpu cpus[CPUS_MAX] = {{.stacks = stacks}};
unsigned cpu_count = 1;

static struct gate idt[256];

uint64_t stack_top(const struct cpu *cpu, unsigned index)
{
    return (uint64_t)&cpu->stacks[index + 1];
}

static void fill_gdt_and_tss(struct cpu *cpu)
{
    static const uint64_t flat[] = {0, 0x00af9b000000ffff, 0x00cf93000000ffff};
    struct tss *tss = &cpu->tss;
    uint64_t base = (uint64_t)tss;

    tss->ist[STACK_NMI - 1] = stack_top(cpu, STACK_NMI);
    tss->ist[STACK_DOUBLE_FAULT - 1] = stack_top(cpu, STACK_DOUBLE_FAULT);
    tss->ist[STACK_MACHINE_CHECK - 1] = stack_top(cpu, STACK_MACHINE_CHECK);
    tss->io_map = sizeof(*tss);

    for (unsigned i = 0; i < ARRAY_SIZE(flat); i++)
        cpu->gdt[i] = flat[i];
    /* A 64-bit TSS descriptor: limit, base in three parts, type 9 (available), present. */
    cpu->gdt[SEL_TSS / 8] =
        (sizeof(*tss) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
    cpu->gdt[SEL_TSS / 8 + 1] = base >> 32;
}

static void fill_idt(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(idt); i++) {
        uint64_t entry = exception_entries[i];
        idt[i] = (struct gate){.offset_low = (uint16_t)entry,
                               .selector = SEL_CODE,
                               .type = GATE_INTERRUPT,
                               .offset_middle = (uint16_t)(entry >> 16),
                               .offset_high = (uint32_t)(entry >> 32)};
    }
    idt[VECTOR_NMI].ist = STACK_NMI;
    idt[VECTOR_DF].ist = STACK_DOUBLE_FAULT;
    idt[VECTOR_MC].ist = STACK_MACHINE_CHECK;
}

void descriptors_init(struct cpu *cpu)
{
    if (!idt[0].selector)
        fill_idt();
    fill_gdt_and_tss(cpu);

    struct table_pointer gdtr = {sizeof(cpu->gdt) - 1, (uint64_t)cpu->gdt};
    struct table_pointer idtr = {sizeof(idt) - 1, (uint64_t)idt};
    __asm__ volatile("lgdt %0\n"
                     "lidt %1\n"
                     "pushq %2\n"
                     "leaq 1f(%%rip), %%rax\n"
                     "pushq %%rax\n"
                     "lretq\n"
                     "1: ltr %w3\n"
                     :
                     : "m"(gdtr), "m"(idtr), "i"(SEL_CODE), "r"(SEL_TSS)
                     : "rax", "memory");
    wrmsr(MSR_GS_BASE, (uint64_t)cpu);
}

hva_t idt_base(void)
{
    return HVA(idt);
}
