/* SPDX-License-Identifier: MIT */
#include "vm/rng.h"

#include "arch/x86/entropy.h"
#include "lib/log.h"
#include "vm/vm.h"

_Static_assert(VIRTIO_RNG_BYTES == SHA384_SIZE, "the source makes a key at a time");

/* Without a generator that works, the bytes are made of the TSC. */
static void rng_source(struct virtio_rng *device, uint8_t bytes[VIRTIO_RNG_BYTES])
{
    struct rng *rng = container_of(device, struct rng, device);
    const struct entropy_source source = entropy_source_of_this_cpu();
    if (entropy_key(&source, bytes) || rng->weak)
        return;
    rng->weak = true;
    log_info("virtio rng: it is made of %s and the TSC; what the guest gets can be "
             "guessed",
             source.name);
}

void rng_connect(struct rng *rng, struct vm *vm)
{
    unit_connect(&rng->unit, vm, &rng->device.virtio);
    rng->device.source = rng_source;
}
