/* SPDX-License-Identifier: MIT */
/*
 * Unaccepted memory (the word `accept=lazy`): the boot shim of a TD accepts only the memory that
 * the kernel needs to start. EFI tables tell the kernel which memory is still unaccepted, and Linux
 * accepts it when it first allocates from it. Pure.
 *
 * There is no EFI firmware: the system table has no services, and one configuration table, Linux'
 * table of unaccepted memory (include/linux/efi.h), in whose bitmap a bit stands for 2 MiB.
 */
#pragma once

#include "launch/plan.h"

/* The memory that the boot shim does not accept: whole units of 2 MiB of RAM, beyond the memory
 * that the kernel needs to start, that contain no part of a record. The ranges ascend. */
#define TD_UNACCEPTED 4u
struct td_unaccepted {
    struct shim_range ranges[TD_UNACCEPTED];
    unsigned count;
};
void td_find_unaccepted(struct td_unaccepted *unaccepted, const struct load_plan *plan,
                        const struct guest_image *image);

/* Writes the EFI tables into the plan's boot parameters, and returns their address range. */
struct shim_range td_lazy_tables(struct load_plan *plan, const struct guest_image *image,
                                 const struct td_unaccepted *unaccepted);
