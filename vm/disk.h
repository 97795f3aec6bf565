/* SPDX-License-Identifier: MIT */
/* A disk of a VM: the virtio block device, its MMIO transport, and the wrapper with their lock. */
#pragma once

#include "dev/locked.h"
#include "dev/virtio_blk.h"
#include "dev/virtio_mmio.h"

#define DISKS 8 /* maximum for a VM: I/O APIC pins 16 to 23 (vm/layout.h) */

struct vm;

struct disk {
    struct virtio_blk blk;
    struct virtio_mmio mmio;
    struct locked_device locked;
};

/* Sets the device's `dma` and `busy`, by which it reaches the VM's memory and leaves work to the
 * vCPU that accesses it, and connects the transport. Called before virtio_blk_init(). */
void disk_connect(struct disk *disk, struct vm *vm);

/* Does a piece of the pending work of one of the VM's virtio devices: a disk, or the network device
 * (vm/net.h), which sends. Called on a pCPU that runs a vCPU of the VM, within an epoch. Takes the
 * lock of each device in turn. Returns true if work remains. */
bool devices_go_on(struct vm *vm);
