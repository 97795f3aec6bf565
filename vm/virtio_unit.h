/* SPDX-License-Identifier: MIT */
/*
 * A virtio device as a VM has it: the device with its transport, and the wrapper with its lock. The
 * VM has a list of these, so that what all of them need is done in one place: the work that a
 * notification leaves, and the input that comes for them.
 *
 * Input is copied to the guest's memory on the pCPU that runs one of the VM's vCPUs, and takes this
 * vCPU's time, whenever others send. Therefore a vCPU that has received a piece does not receive
 * again before four times the time that the piece took has passed: beside its exits, a flood takes
 * at most a fifth of its victim's time.
 */
#pragma once

#include "dev/locked.h"
#include "dev/virtio_mmio.h"
#include "dev/virtio_pci.h"

#define VIRTIO_UNITS 16 /* maximum for a VM: DISKS (vm/disk.h), and one of each other kind */

struct vcpu;
struct vm;

struct virtio_unit {
    struct virtio *virtio;
    struct virtio_mmio mmio;
    struct virtio_pci pci; /* in a VM with the word `pci`, instead */
    struct locked_device locked;
};

/* Sets the device's `dma` and `busy`, by which it reaches the VM's memory and leaves work to the
 * vCPU that accesses it, and connects the transport. Called before the device is initialized. */
void unit_connect(struct virtio_unit *unit, struct vm *vm, struct virtio *virtio);

/* Does a piece of the pending work of one of the VM's devices. Called on a pCPU that runs a vCPU of
 * the VM, within an epoch. Takes the lock of each device in turn. Returns true if work remains. */
bool units_go_on(struct vm *vm);

/* Copies a piece of the input that waits for each of the VM's devices to its memory. Called on the
 * pCPU that runs the vCPU, within an epoch, at the time vcpu->frames_at; sets it to the time of the
 * next call. */
void units_receive(struct vcpu *vcpu);
