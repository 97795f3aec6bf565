/* SPDX-License-Identifier: MIT */
/* Constants for C and assembly alike: the selectors of the guests' descriptor table, and EAX of two
 * hypercalls without the suffix that guest/abi.h has (hypercall.c compares them). */
#pragma once

#define SEL_CODE64    0x08
#define SEL_DATA      0x10 /* flat, 4 GiB */
#define SEL_CODE32    0x18 /* flat, 4 GiB */
#define SEL_CODE16    0x20 /* 64 KiB, base set by its user */
#define SEL_DATA16    0x28 /* 64 KiB, base set by its user */
#define SEL_USER_DATA 0x33
#define SEL_USER_CODE 0x3b
#define SEL_TSS       0x40

/* Stands for the magic number of multiboot1 if the program was entered as Linux is. */
#define LINUX_PROTOCOL 0x53726448

#define HYPERCALL_ZAP    0x45505415
#define HYPERCALL_INJECT 0x45505418
