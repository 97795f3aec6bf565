/* SPDX-License-Identifier: MIT */
/* The entropy device of a VM. Its bytes come from the CPU's random number generator by way of
 * arch/x86/entropy.h; without a generator they are made of the TSC, and can be guessed. */
#pragma once

#include "dev/virtio_rng.h"
#include "vm/virtio_unit.h"

struct rng {
    struct virtio_rng device;
    struct virtio_unit unit;
    bool weak; /* the log says that there is no generator that works */
};

/* Sets the device's connections to the VM. Called before virtio_rng_init(). */
void rng_connect(struct rng *rng, struct vm *vm);
