/* SPDX-License-Identifier: MIT */
/* The descriptor table of tasks.c, for C and assembly. Lower descriptors are the runtime's. */
#pragma once

#define T_A     0x50 /* the TSS of the task that begins */
#define T_B     0x58 /* the TSS of the other task */
#define T_GATE  0x60 /* a task gate to T_B */
#define T_CODE  0x68 /* code with B's entry as its base: its EIP has 16 bits */
#define T_STACK 0x70 /* a stack of 64 KiB */
#define T_WRONG 0x78 /* set by each test */
#define T_LDT   0x80
#define T_CODE3 0x8b /* 32-bit, for CPL 3 */
#define T_DATA3 0x93
#define T_COUNT 19 /* entries */

#define T_VECTOR    0x50 /* a task gate, by INT */
#define T_INTERRUPT 0x51 /* by an interrupt */
#define T_CALLBACK  0x52 /* an interrupt gate for CPL 3 */
