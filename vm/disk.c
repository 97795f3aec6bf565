/* SPDX-License-Identifier: MIT */
#include "vm/disk.h"

#include "vm/dma.h"
#include "vm/pcpu.h"
#include "vm/vm.h"

void disk_connect(struct disk *disk, struct vm *vm)
{
    struct virtio *virtio = &disk->blk.virtio;
    virtio->dma = vm_dma(vm);
    virtio->busy = pcpu_has_chores;
    disk->mmio.virtio = virtio;
}

/* Does a piece of the device's work if some is pending and *may_work is set, which it then clears.
 * Returns true if work is left. */
static bool device_go_on(struct virtio *virtio, struct locked_device *locked, bool *may_work)
{
    spin_lock(&locked->lock);
    bool more = virtio->notified;
    if (more && *may_work) {
        more = virtio_go_on(virtio);
        *may_work = false;
    }
    spin_unlock(&locked->lock);
    return more;
}

/* The devices take turns, so that one with a driver that never stops does not delay another one. */
bool devices_go_on(struct vm *vm)
{
    unsigned first = __atomic_fetch_add(&vm->device_turn, 1, __ATOMIC_RELAXED);
    unsigned count = vm->disk_count + (vm->net != NULL);
    bool more = false, may_work = true;
    for (unsigned i = 0; i < count; i++) {
        unsigned n = (first + i) % count;
        more |= n == vm->disk_count
                    ? device_go_on(&vm->net->device.virtio, &vm->net->locked, &may_work)
                    : device_go_on(&vm->disks[n]->blk.virtio, &vm->disks[n]->locked, &may_work);
    }
    return more;
}
