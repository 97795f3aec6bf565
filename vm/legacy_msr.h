/* SPDX-License-Identifier: MIT */
/*
 * MSRs that every PC's CPU has and that nothing here needs, for kernels that use them unasked, in a
 * VM with `legacy`: the memory-type ranges (MTRRs), machine checks without a bank, and more of
 * IA32_MISC_ENABLE. CPUID announces MTRR, MCE and MCA there. They keep what is written to them. The
 * MTRRs have no effect: the memory type of guest memory is write-back, as EPT says.
 */
#pragma once

#include "lib/types.h"

#include <stdbool.h>

#define LEGACY_MTRR_RANGES 8u
#define LEGACY_MTRR_FIXED  11u

struct legacy_msrs {
    uint64_t ranges[2 * LEGACY_MTRR_RANGES]; /* base, mask */
    uint64_t fixed[LEGACY_MTRR_FIXED];
    uint64_t default_type, mcg_status, misc_enable;
};

/* Sets the values that a PC's firmware leaves. */
void legacy_msrs_init(struct legacy_msrs *msrs, unsigned address_bits);

/* Read and write an MSR. Return false if it is none of these, or refuses the value. */
bool legacy_msr_read(const struct legacy_msrs *msrs, uint32_t msr, uint64_t *value);
bool legacy_msr_write(struct legacy_msrs *msrs, unsigned address_bits, uint32_t msr,
                      uint64_t value);
