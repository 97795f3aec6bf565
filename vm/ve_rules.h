/* SPDX-License-Identifier: MIT */
/*
 * The rules of #VE, which the CPU and the hypervisor follow alike (SDM 3, 26.5.7; rule X9): whether
 * an access becomes #VE, what it becomes otherwise, and what the information area contains. Called
 * by vm/ve.c. Pure.
 */
#pragma once

#include "guest/abi.h"
#include "lib/types.h"

#include <stdbool.h>
#include <stddef.h>

/* The information area, as the CPU writes it (SDM 3, table 26-1). */
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

/* An EPT violation that the guest has to handle. */
struct ve_access {
    bool delivering;     /* an event was being delivered */
    bool protected_mode; /* CR0.PE */
    bool by_cpu;         /* the CPU would convert it to #VE if the access were repeated */
};

enum ve_outcome {
    VE_END_DELIVERY,  /* the VM ends: the event would be lost */
    VE_END_REAL_MODE, /* the VM ends: real mode has no #VE */
    VE_DOUBLE_FAULT,  /* inject #DF: the guest has not freed the area since the last #VE */
    VE_BY_CPU,        /* enter the guest again: the CPU delivers #VE */
    VE_BY_US,         /* fill the area and inject vector 20 */
};

enum ve_outcome ve_decide(const struct ve_area *area, const struct ve_access *access);

/* Fills the area as the CPU would. `linear_address` is used only if the qualification says that it
 * is valid. The area becomes busy after everything else is written. */
void ve_fill(struct ve_area *area, uint64_t qualification, uint64_t linear_address, gpa_t gpa);
