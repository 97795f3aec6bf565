/* SPDX-License-Identifier: MIT */
/* The function to which boot/start.S jumps and the stack on which it runs; both are supplied by
 * higher layers. */
#pragma once

#include "boot/layout.h"
#include "lib/compiler.h"

#include <stdint.h>

struct guarded_stack {
    uint8_t guard[STACK_GUARD]; /* not mapped once the final page tables are in place */
    uint8_t stack[STACK_SIZE];
};

/* The boot CPU's stacks. The stacks of the other CPUs are at AP_STACKS, in the order of the CPUs'
 * numbers. Supplied by arch/x86/descriptors.c. */
extern struct guarded_stack stacks[STACK_COUNT];

/* The first C function, in 64-bit mode with the boot page tables. `magic` and `address` are the
 * values that the boot loader left in EAX and EBX. Supplied by main/main.c. */
NORETURN void boot_main(uint32_t magic, uint32_t address);
