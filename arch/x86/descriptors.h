/* GDT, TSS, IDT and the stacks of a CPU. */
#pragma once

#include "boot/layout.h"
#include "lib/types.h"

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

struct guarded_stack {
    uint8_t guard[STACK_GUARD]; /* not mapped once the final page tables are in place */
    uint8_t stack[STACK_SIZE];
};

extern struct guarded_stack stacks[STACK_COUNT];
extern const char *const stack_names[STACK_COUNT];

/* Loads our GDT, TSS and IDT. From here on an exception is explained instead of a reset. */
void descriptors_init(void);

/* What a VMCS needs of them for its host state. */
hva_t gdt_base(void);
hva_t idt_base(void);
hva_t tss_base(void);
