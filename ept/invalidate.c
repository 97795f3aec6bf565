/* SPDX-License-Identifier: MIT */
/* INVEPT and INVVPID; see the header. The CPU must be in VMX operation. */
#include "ept/invalidate.h"

#include "lib/assert.h"

struct descriptor {
    uint64_t low;
    uint64_t high;
};

void invept(unsigned type, uint64_t eptp)
{
    struct descriptor descriptor = {.low = eptp};
    bool failed;
    __asm__ volatile("invept %1, %2"
                     : "=@ccbe"(failed)
                     : "m"(descriptor), "r"((uint64_t)type)
                     : "memory");
    BUG_ON(failed);
}

void invvpid(unsigned type, uint16_t vpid, gva_t address)
{
    struct descriptor descriptor = {.low = vpid, .high = address.v};
    bool failed;
    __asm__ volatile("invvpid %1, %2"
                     : "=@ccbe"(failed)
                     : "m"(descriptor), "r"((uint64_t)type)
                     : "memory");
    BUG_ON(failed);
}
