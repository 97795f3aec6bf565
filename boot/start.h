/* What boot/start.S jumps to, and on what: both belong to higher folders. */
#pragma once

#include "boot/layout.h"
#include "lib/compiler.h"

#include <stdint.h>

struct guarded_stack {
    uint8_t guard[STACK_GUARD]; /* not mapped once the final page tables are in place */
    uint8_t stack[STACK_SIZE];
};

/* The boot CPU's stacks; those of the others are at AP_STACKS, in the order of the CPUs' numbers.
 * Supplied by arch/x86/descriptors.c. */
extern struct guarded_stack stacks[STACK_COUNT];

/* The first function in C, in 64-bit mode with the boot page tables: what the boot loader left in
 * EAX and EBX. Supplied by main/main.c. */
NORETURN void boot_main(uint32_t magic, uint32_t address);
