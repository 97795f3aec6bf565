/* SPDX-License-Identifier: MIT */
/* Addresses and numbers of the real-mode code of real.c. */
#pragma once

#define REAL_SEGMENT 0x6000
#define REAL_BASE    0x60000
#define REAL_STACK   0x50000
#define REAL_TOP     0x800 /* SP before a fault */
#define REAL_INT     0x50
