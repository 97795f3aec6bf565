/* SPDX-License-Identifier: MIT */
/* The GDT, TSS, IDT and stacks of a CPU. */
#pragma once

#include "boot/start.h"
#include "lib/types.h"

struct cpu;

struct table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

struct tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t io_map;
} __attribute__((packed));

#define GDT_ENTRIES 5 /* null, code, data, and two for the TSS */

extern const char *const stack_names[STACK_COUNT];

/* Returns the first address above a stack of the CPU. */
uint64_t stack_top(const struct cpu *cpu, unsigned index);

/* Loads the CPU's own GDT and TSS, the common IDT, and the GS base. From here on, an exception is
 * reported instead of causing a triple fault. The first call builds the IDT. */
void descriptors_init(struct cpu *cpu);

/* The IDT, for the host state of a VMCS. */
hva_t idt_base(void);
