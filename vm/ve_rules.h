/* SPDX-License-Identifier: MIT */
/*
 * The rules of #VE, the same whoever delivers it (SDM 3, 26.5.7; rule X9): when an access becomes
 * one, what else it becomes, and what the guest reads of it. Called by vm/ve.c. Pure.
 */
#pragma once

#include "guest/abi.h"
#include "lib/types.h"

#include <stdbool.h>
#include <stddef.h>

/* The area as the CPU writes it (SDM 3, table 26-1). */
struct ve_area {
    uint32_t reason;
    uint32_t busy; /* all ones from the delivery on, until the guest clears it */
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

/* Of a violation that the guest is to handle. */
struct ve_access {
    bool delivering;     /* an event was being delivered */
    bool protected_mode; /* CR0.PE */
    bool by_cpu;         /* made again, the CPU would convert it */
};

enum ve_outcome {
    VE_END_DELIVERY,  /* the VM ends: the event would be lost */
    VE_END_REAL_MODE, /* the VM ends: there is no #VE */
    VE_DOUBLE_FAULT,  /* the guest has not freed the area of the one before */
    VE_BY_CPU,        /* enter again */
    VE_BY_US,         /* fill the area and inject vector 20 */
};

enum ve_outcome ve_decide(const struct ve_area *area, const struct ve_access *access);

/* Writes what the CPU would. `linear_address` counts where the qualification says that it does. The
 * area is busy when all of it stands there. */
void ve_fill(struct ve_area *area, uint64_t qualification, uint64_t linear_address, gpa_t gpa);
