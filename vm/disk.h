/* SPDX-License-Identifier: MIT */
/* A disk of a VM: the device, its transport, and what connects it to the VM. */
#pragma once

#include "dev/locked.h"
#include "dev/virtio_blk.h"
#include "dev/virtio_mmio.h"

#define DISKS 8 /* of a VM: so many lines and windows are free for them (vm/layout.h) */

struct vm;

struct disk {
    struct virtio_blk blk;
    struct virtio_mmio mmio;
    struct locked_device locked;
};

/* Connects the device to the memory and the vCPUs of its VM. Called before virtio_blk_init(), which
 * sets up all but this and the line. */
void disk_connect(struct disk *disk, struct vm *vm);

/* Does a piece of the work that the VM's disks have left. Called by a vCPU of the VM, in an epoch.
 * Returns whether more is left. */
bool disks_go_on(struct vm *vm);
