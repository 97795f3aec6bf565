/* SPDX-License-Identifier: MIT */
/*
 * The virtualization-exception information area, as the CPU writes it (SDM 3, table 26-1). For a VM
 * with the word `ve` it is a page of its own memory (vm/ve.h); for a TD it is memory of the
 * hypervisor (tdx/td.h).
 */
#pragma once

#include "guest/abi.h"

#include <stddef.h>
#include <stdint.h>

struct ve_area {
    uint32_t reason; /* VMX exit reason */
    uint32_t busy;   /* all ones from the delivery on, until it is cleared */
    uint64_t qualification;
    uint64_t linear_address;
    uint64_t physical_address;
    uint16_t eptp_index;
};
_Static_assert(offsetof(struct ve_area, busy) == VE_BUSY &&
                   offsetof(struct ve_area, qualification) == VE_QUALIFICATION &&
                   offsetof(struct ve_area, linear_address) == VE_LINEAR_ADDRESS &&
                   offsetof(struct ve_area, physical_address) == VE_PHYSICAL_ADDRESS &&
                   offsetof(struct ve_area, eptp_index) == VE_EPTP_INDEX,
               "what the guest is told");
