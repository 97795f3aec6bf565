/* SPDX-License-Identifier: MIT */
/*
 * Breaks something on purpose, as words of the command line request, for tests of the messages
 * about it.
 *
 * `provoke=` makes the hypervisor itself fail, after its boot or, by some values, before.
 * `break_field=` and `break_value=` write one field of each VM's VMCS before its first entry; with
 * `entry_checks=0`, the CPU has to find the bad value.
 */
#pragma once

#include "vm/options.h"

/* Numbered as the values of `provoke=` in vm/options.c. */
enum provoke {
    PROVOKE_NOTHING,
    PROVOKE_NULL,  /* a read through a null pointer */
    PROVOKE_STACK, /* recursion without end */
    PROVOKE_CODE,  /* a write to the code */
    PROVOKE_DATA,  /* a jump into data */
    PROVOKE_BUG,
    PROVOKE_WARN,
    PROVOKE_NMI,
    PROVOKE_LEAK,    /* five pages are leaked */
    PROVOKE_GUARDED, /* instructions with operands that the CPU refuses; no failure */
    PROVOKE_PRIVATE, /* the hypervisor touches a private page of a TD */
    PROVOKE_MC,      /* INT 18, as if the hardware had failed */
    PROVOKE_TRIPLE,  /* a triple fault, unless an earlier boot's log is found */
    PROVOKE_TD,      /* a TD without a guest, and then one with each lie of mmu/lies.h */
};

/* Called before other CPUs start, for what needs no VMX, and after the boot, for everything else.
 */
void provoke_early(enum provoke what);
void provoke(enum provoke what);

/* Writes `break_value` into the field `break_field` of the current VMCS, if the command line has
 * them. Returns 0, or -EINVAL after a message if this CPU does not have the field. */
int provoke_entry(const struct options *options) MUST_CHECK;
