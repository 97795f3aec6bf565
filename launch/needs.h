/* SPDX-License-Identifier: MIT */
/*
 * How much host memory a VM can need, which is reserved for it when it is created (D20). This is an
 * upper bound for any behaviour of a guest without `testctl`. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct vm_needs {    /* numbers of 4 KiB pages */
    uint64_t ram;    /* RAM, the BIOS area and #VE information areas */
    uint64_t tables; /* EPT tables: all RAM in 4 KiB mappings, and MMIO addresses */
    uint64_t slots;  /* backing and private/shared bitmaps of the memslots */
    uint64_t vcpus;  /* struct vcpu, and what hangs on it: VMCS, PML buffer, extended state, … */
    uint64_t report; /* transcript and trace text */
    uint64_t disks;  /* copies of blocks that are written, and records */
    uint64_t limit;  /* added by limit= */
};

/* The attributes that determine the needs. Sizes are in bytes. */
struct vm_size {
    uint64_t ram, limit;
    uint64_t disks; /* in pages: virtio_blk_pages(), and one for each */
    unsigned vcpus, pcpus;
    uint64_t vcpu_size; /* sizeof(struct vcpu) */
    bool sides, ve, traced;
};

void vm_needs(struct vm_needs *needs, const struct vm_size *size);
uint64_t vm_needs_sum(const struct vm_needs *needs);
