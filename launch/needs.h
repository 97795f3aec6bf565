/* SPDX-License-Identifier: MIT */
/*
 * Computes how much host memory a VM can need. This much is reserved when the VM is created (D20),
 * and it is an upper bound for any behaviour of a guest without `testctl`. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct vm_needs {    /* numbers of 4 KiB pages */
    uint64_t ram;    /* RAM, the BIOS area and #VE information areas; of a TD, its shared memory */
    uint64_t tables; /* EPT tables: all RAM in 4 KiB mappings, and MMIO addresses */
    uint64_t slots;  /* backing and private/shared bitmaps of the memslots */
    uint64_t vcpus;  /* struct vcpu, and what it points to: VMCS, PML buffer, extended state, … */
    uint64_t report; /* transcript and trace text */
    uint64_t disks;  /* struct disk, copies of written blocks, and tables of these */
    uint64_t net;    /* the network device, with its queue of frames */
    uint64_t kut;    /* the devices of `kut` */
    uint64_t td;     /* a TD's private RAM, with the tables for it, and its state */
    uint64_t limit;  /* what limit= adds */
};

/* The attributes that determine the needs. Sizes are in bytes. */
struct vm_size {
    uint64_t ram, limit;
    uint64_t disks; /* in pages: the sum of devices_disk_pages() */
    uint64_t net;   /* in pages: devices_net_pages(), or 0 */
    uint64_t kut;   /* in pages: kut_pages(), or 0 */
    uint64_t td;    /* in pages: td_pages(), or 0 if the VM is no TD */
    unsigned vcpus, pcpus;
    uint64_t vcpu_size; /* sizeof(struct vcpu) */
    bool sides, ve, traced;
};

/* Fills in `needs`. vm_needs_sum() returns the sum in pages. */
void vm_needs(struct vm_needs *needs, const struct vm_size *size);
uint64_t vm_needs_sum(const struct vm_needs *needs);
