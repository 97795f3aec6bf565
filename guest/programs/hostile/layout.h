/* SPDX-License-Identifier: MIT */
/* Numbers of the program `hostile` for C and assembly. */
#pragma once

#include "guest/programs/rt/layout.h"

/* The program's GDT begins with the runtime's descriptors, followed by: */
#define SEL_USER_CODE32 0x53
#define SEL_LEGACY_TSS  0x58
#define SEL_ANY         0x60 /* the first descriptor that the steps may change */
#define GDT_SLOTS       32

/* Addresses below 64 KiB, for 16-bit code. */
#define LOW_STUBS 0x7800
#define LOW_CODE  0x9000
#define LOW_STACK 0xf000

/* struct hostile_cpu */
#define CPU_SAVED_RSP 0
#define CPU_VECTOR    8
#define CPU_REGS      16
#define CPU_RIP       144
#define CPU_CS        152
#define CPU_RFLAGS    160
#define CPU_RSP       168
#define CPU_SS        176
#define CPU_CR0       184
#define CPU_CR3       188
#define CPU_CR4       192
#define CPU_REAL      196
