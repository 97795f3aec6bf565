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

bool disks_go_on(struct vm *vm)
{
    bool more = false;
    for (unsigned i = 0; i < vm->disk_count; i++) {
        struct disk *disk = vm->disks[i];
        spin_lock(&disk->locked.lock);
        more |= disk->blk.virtio.notified && virtio_go_on(&disk->blk.virtio);
        spin_unlock(&disk->locked.lock);
    }
    return more;
}
