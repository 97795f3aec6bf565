/* SPDX-License-Identifier: MIT */
/*
 * The addresses in the boot shim's 64 KiB, which shim.ld and start.S share. The first two pages are
 * named in vm/layout.h, too.
 */
#pragma once

#define SHIM_BASE       0xffff0000
#define SHIM_PARAMETERS 0xffff0000 /* struct shim_parameters */
#define SHIM_MAILBOX    0xffff1000
#define SHIM_AP_STACKS  0xffff2000 /* 256 bytes for each vCPU */
#define SHIM_STACK      0xffff3000 /* of vCPU 0 */
#define SHIM_STACK_TOP  0xffff4000
#define SHIM_TABLES     0xffff4000 /* page tables: PML4, PDPT, four directories */
#define SHIM_PROGRAM    0xffffa000
#define SHIM_TRAPS      0xffffe000 /* an entry of 16 bytes for each exception */
#define SHIM_RESET      0xfffffff0

#define SHIM_AP_STACK_SIZE 256

/* The selectors that Linux' 64-bit boot protocol requires. */
#define SHIM_CODE 0x10
#define SHIM_DATA 0x18
