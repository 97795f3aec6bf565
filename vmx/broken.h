/* SPDX-License-Identifier: MIT */
/*
 * Instructions that a CPU enumerates and yet executes wrongly, as Bochs 2.7 does
 * (docs/EMULATOR-GAPS.md). Each is tried once at boot. Guests are not offered the features to which
 * such an instruction belongs (vm/features.h).
 */
#pragma once

#include "lib/bits.h"
#include "lib/types.h"

enum broken {
    BROKEN_COMPACTION = BIT(0), /* XSAVEC does not store the values that XSAVE does */
    BROKEN_ADX = BIT(1),
    BROKEN_GFNI = BIT(2),
    BROKEN_SHA = BIT(3),
};

/* Returns what this CPU does wrongly. Called after extra_state_enable() and before any guest runs,
 * because vector registers are used. */
uint32_t broken_on_cpu(void);
