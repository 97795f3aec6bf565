/* SPDX-License-Identifier: MIT */
/*
 * The rules of #VE, which the CPU and the hypervisor follow alike (SDM 3, 26.5.7; rule X9): whether
 * an access becomes #VE, what it becomes otherwise, and what the information area contains. Called
 * by vm/ve.c. Pure.
 */
#pragma once

#include "lib/types.h"
#include "vmx/ve_area.h"

#include <stdbool.h>

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
