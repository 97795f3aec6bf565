/* SPDX-License-Identifier: MIT */
/*
 * The layout of the hypervisor's virtual address space.
 *
 *   DIRECT_MAP  + physical address   RAM and everything else that is mapped, never executable
 *   KERNEL_BASE + physical address   the image
 *   AP_STACKS                        the stacks of all CPUs but the boot CPU
 *   WINDOWS                          2 MiB: each CPU's windows onto pages that are not mapped above
 *
 * Nothing is mapped below DIRECT_MAP, so an access through a null pointer with any offset faults.
 */
#pragma once

#define DIRECT_MAP  0xffff800000000000
#define KERNEL_BASE 0xffffffff80000000
#define AP_STACKS   0xffffffffc0000000
#define WINDOWS     0xffffffffffc00000

#define STACK_GUARD 0x1000
#define STACK_SIZE  0x4000

/* The stacks of a CPU, each above its guard page. The last three are entered through the IST. */
#define STACK_BOOT          0
#define STACK_NMI           1
#define STACK_DOUBLE_FAULT  2
#define STACK_MACHINE_CHECK 3
#define STACK_COUNT         4

/* Selectors of a CPU's GDT. */
#define SEL_CODE 0x08
#define SEL_DATA 0x10
#define SEL_TSS  0x18

/* The GDT of boot/start.S has the first two of these selectors and this one. */
#define SEL_CODE_32 0x18
