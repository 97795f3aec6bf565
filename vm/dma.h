/* SPDX-License-Identifier: MIT */
/* How the devices of a VM access its memory. */
#pragma once

#include "dev/dma.h"

struct vm;

/* Returns the accessor to a VM's memory. It is used on a pCPU that runs a vCPU of the VM, within an
 * epoch. If the VM has a shared bit, only shared memory can be accessed; the feature
 * VIRTIO_F_ACCESS_PLATFORM tells the driver that a device's access is restricted. */
struct dma vm_dma(struct vm *vm);
