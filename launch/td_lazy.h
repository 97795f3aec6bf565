/* SPDX-License-Identifier: MIT */
/*
 * Unaccepted memory: the boot shim of a TD accepts only what the kernel needs to start, and tells
 * the kernel by EFI tables what it has left. Linux accepts memory when it first allocates it. Pure.
 *
 * There is no EFI firmware: the system table has no services, and one configuration table, Linux'
 * table of unaccepted memory (include/linux/efi.h). A bit stands for 2 MiB.
 */
#pragma once

#include "launch/plan.h"

/* The memory that is left to the kernel: whole units of 2 MiB of RAM beyond what the kernel needs
 * to start, in which no record lies. The ranges ascend. */
#define TD_LEFT 4u
struct td_left {
    struct shim_range ranges[TD_LEFT];
    unsigned count;
};
void td_left(struct td_left *left, const struct load_plan *plan, const struct guest_image *image);

/* Writes the tables into the plan's boot parameters, and returns their addresses. */
struct shim_range td_lazy_tables(struct load_plan *plan, const struct guest_image *image,
                                 const struct td_left *left);
