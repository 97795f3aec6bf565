/*
 * How much of the host's memory a VM may come to need: what is promised to it at its creation. An
 * upper bound that holds however its guest behaves, as long as it has no `testctl`. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct vm_needs { /* pages */
    uint64_t ram;
    uint64_t tables; /* EPT, all RAM in small pages, and those for other addresses */
    uint64_t slots;  /* what says where RAM lies, and on which side */
    uint64_t vcpus;
    uint64_t report; /* text and trace */
    uint64_t limit;  /* what limit= adds */
};

/* What decides about it. Sizes in bytes. */
struct vm_size {
    uint64_t ram, limit;
    unsigned vcpus, pcpus;
    uint64_t vcpu_size; /* of struct vcpu */
    bool sides, ve, traced;
};

void vm_needs(struct vm_needs *needs, const struct vm_size *size);
uint64_t vm_needs_sum(const struct vm_needs *needs);
