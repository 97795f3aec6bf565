/* SPDX-License-Identifier: MIT */
/*
 * VE_INFO: what a TD is told about its last virtualization exception. It is filled when #VE is
 * raised, by the CPU for an EPT violation that it converts and by td_ve_fill() otherwise, and
 * VEINFO.GET empties it. Meanwhile another #VE is #DF, and NMIs wait. Pure.
 */
#pragma once

#include "lib/compiler.h"
#include "tdx/td.h"

/* A #VE to be raised. Fields that the exit does not define are 0. */
struct td_ve {
    uint32_t reason; /* VMX exit reason */
    uint64_t qualification;
    uint64_t gla, gpa; /* EPT violations only; the GPA with its offset and the shared bit */
    uint32_t length;   /* of the instruction */
    uint32_t instruction;
};

static inline bool td_ve_is_valid(const struct td_vcpu *vcpu)
{
    return __atomic_load_n(&vcpu->ve.busy, __ATOMIC_ACQUIRE);
}

/* Fills VE_INFO. Returns false, and changes nothing, if it is valid already: then #DF is raised
 * instead of #VE. */
bool td_ve_fill(struct td_vcpu *vcpu, const struct td_ve *ve) MUST_CHECK;

/* Reads VE_INFO and empties it. Returns false if it was not valid. */
bool td_ve_take(struct td_vcpu *vcpu, struct td_ve *ve) MUST_CHECK;
