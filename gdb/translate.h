/* SPDX-License-Identifier: MIT */
/*
 * From a linear address to a guest-physical one by the guest's own page tables, as a debugger needs
 * it: no permission is checked and no accessed or dirty bit is set, so the guest cannot notice.
 * mmio/walk.h is what the CPU does. Pure.
 */
#pragma once

#include "lib/types.h"

struct vcpu;

struct gdb_paging {
    uint64_t cr0, cr3, cr4, efer;
    uint64_t pdpte[4]; /* of PAE paging */
};

/* Returns false if no translation exists, or if a table is not in RAM. */
bool gdb_translate(struct vcpu *vcpu, const struct gdb_paging *paging, uint64_t linear, gpa_t *gpa);
