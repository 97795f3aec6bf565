/* SPDX-License-Identifier: MIT */
/*
 * Breaking things on purpose, by command-line word, so that tests see what is said about it.
 *
 * `provoke=` makes the hypervisor itself fail after its boot; `break_field=` and `break_value=`
 * write one field of each VM's VMCS before its first entry. With `entry_checks=0` the CPU has to
 * find that.
 */
#pragma once

#include "vm/options.h"

/* Numbered as the words in vm/options.c. */
enum provoke {
    PROVOKE_NOTHING,
    PROVOKE_NULL,  /* a read through a null pointer */
    PROVOKE_STACK, /* recursion without end */
    PROVOKE_CODE,  /* a write to the code */
    PROVOKE_DATA,  /* a jump into data */
    PROVOKE_BUG,
    PROVOKE_WARN,
    PROVOKE_NMI,
    PROVOKE_LEAK,    /* five pages */
    PROVOKE_GUARDED, /* instructions with operands that the CPU refuses; nothing comes of it */
};

void provoke(enum provoke what);

/* Writes the field into the current VMCS. -EINVAL after a sentence if there is no such field here.
 */
int provoke_entry(const struct options *options) MUST_CHECK;
