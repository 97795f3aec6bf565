/* SPDX-License-Identifier: MIT */
#include "vm/virtio_unit.h"

#include "arch/x86/unprivileged.h"
#include "vm/dma.h"
#include "vm/pcpu.h"
#include "vm/vm.h"

#define REST 4 /* time without receiving after a piece, in units of the piece's time */

void unit_connect(struct virtio_unit *unit, struct vm *vm, struct virtio *virtio)
{
    virtio->dma = vm_dma(vm);
    virtio->busy = pcpu_has_chores;
    unit->virtio = unit->mmio.virtio = virtio;
}

/* Does a piece of the device's work if some is pending and *may_work is set, which it then clears.
 * Returns true if work is left. */
static bool unit_go_on(struct virtio_unit *unit, bool *may_work)
{
    spin_lock(&unit->locked.lock);
    bool more = unit->virtio->notified;
    if (more && *may_work) {
        more = virtio_go_on(unit->virtio);
        *may_work = false;
    }
    spin_unlock(&unit->locked.lock);
    return more;
}

/* The devices take turns, so that one with a driver that never stops does not delay another one. */
bool units_go_on(struct vm *vm)
{
    unsigned first = __atomic_fetch_add(&vm->unit_turn, 1, __ATOMIC_RELAXED);
    bool more = false, may_work = true;
    for (unsigned i = 0; i < vm->unit_count; i++)
        more |= unit_go_on(vm->units[(first + i) % vm->unit_count], &may_work);
    return more;
}

void units_receive(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    uint64_t start = rdtsc();
    bool more = false;
    for (unsigned i = 0; i < vm->unit_count; i++) {
        struct virtio_unit *unit = vm->units[i];
        if (!unit->virtio->ops->input_waits)
            continue;
        spin_lock(&unit->locked.lock);
        more |= virtio_receive(unit->virtio);
        spin_unlock(&unit->locked.lock);
    }
    uint64_t end = rdtsc();
    vcpu->frames_from = end + REST * (end - start);
    vcpu->frames_at = more ? vcpu->frames_from : TIME_NEVER;
}
