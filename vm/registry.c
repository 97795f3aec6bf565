/* SPDX-License-Identifier: MIT */
#include "vm/registry.h"

#include "boot/boot_info.h"
#include "lib/assert.h"
#include "lib/spinlock.h"
#include "vm/vm.h"

/* The place of a VM, by its number, which starts at 1. A number is used again only when the VM that
 * had it has been taken apart, so one place is enough for each. */
struct place {
    struct vm *vm; /* NULL: there is none that may be held */
    unsigned held;
    void (*unused)(struct vm *vm); /* not NULL: the VM has left and waits for its holders */
};

static struct spinlock lock; /* guards all places */
static struct place places[BOOT_MODULES + 1];

struct vm *registry_hold_next(unsigned after)
{
    struct vm *vm = NULL;
    spin_lock(&lock);
    for (unsigned i = after; i < BOOT_MODULES && !vm; i++) {
        vm = places[i + 1].vm;
        places[i + 1].held += vm != NULL;
    }
    spin_unlock(&lock);
    return vm;
}

struct vm *registry_hold(unsigned number)
{
    struct vm *vm = NULL;
    if (number > BOOT_MODULES)
        return NULL;
    spin_lock(&lock);
    vm = places[number].vm;
    places[number].held += vm != NULL;
    spin_unlock(&lock);
    return vm;
}

void registry_release(struct vm *vm)
{
    struct place *place = &places[vm->number];
    void (*unused)(struct vm * vm) = NULL;
    spin_lock(&lock);
    BUG_ON(!place->held);
    if (!--place->held) {
        unused = place->unused;
        place->unused = NULL;
    }
    spin_unlock(&lock);
    if (unused)
        unused(vm);
}

void registry_add(struct vm *vm)
{
    struct place *place = &places[vm->number];
    spin_lock(&lock);
    BUG_ON(place->vm || place->held);
    place->vm = vm;
    spin_unlock(&lock);
}

void registry_remove(struct vm *vm, void (*unused)(struct vm *vm))
{
    struct place *place = &places[vm->number];
    spin_lock(&lock);
    bool held = place->held;
    place->vm = NULL;
    place->unused = held ? unused : NULL;
    spin_unlock(&lock);
    if (!held)
        unused(vm);
}
