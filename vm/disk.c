/* SPDX-License-Identifier: MIT */
#include "vm/disk.h"

#include "vm/pcpu.h"
#include "vm/vm.h"

/* Adds the shared bit if the VM has one, so that a device can reach only shared memory. The feature
 * VIRTIO_F_ACCESS_PLATFORM tells the driver that a device's access is restricted. */
static gpa_t dma_address(const struct vm *vm, uint64_t address)
{
    return GPA(vm->words.shared ? address | BIT(vm->words.shared) : address);
}

static int dma_from_guest(void *context, uint64_t address, void *buffer, size_t size)
{
    struct vm *vm = context;
    return guest_read(&vm->mmu, dma_address(vm, address), buffer, size, ACCESS_READ);
}

static int dma_to_guest(void *context, uint64_t address, const void *buffer, size_t size)
{
    struct vm *vm = context;
    return guest_write(&vm->mmu, dma_address(vm, address), buffer, size);
}

void disk_connect(struct disk *disk, struct vm *vm)
{
    struct virtio *virtio = &disk->blk.virtio;
    virtio->dma = (struct dma){dma_from_guest, dma_to_guest, vm};
    virtio->busy = pcpu_has_chores;
    disk->mmio.virtio = virtio;
}

/* Does a piece of the disk's work if there is some, and *may_work. Returns true if work is left. */
static bool disk_go_on(struct disk *disk, bool *may_work)
{
    struct virtio *virtio = &disk->blk.virtio;
    spin_lock(&disk->locked.lock);
    bool more = virtio->notified;
    if (more && *may_work) {
        more = virtio_go_on(virtio);
        *may_work = false;
    }
    spin_unlock(&disk->locked.lock);
    return more;
}

/* The disks take turns, so that one with a driver that never stops does not delay another one. */
bool disks_go_on(struct vm *vm)
{
    unsigned first = __atomic_fetch_add(&vm->disk_turn, 1, __ATOMIC_RELAXED);
    bool more = false, may_work = true;
    for (unsigned i = 0; i < vm->disk_count; i++)
        more |= disk_go_on(vm->disks[(first + i) % vm->disk_count], &may_work);
    return more;
}
