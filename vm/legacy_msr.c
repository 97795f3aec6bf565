/* SPDX-License-Identifier: MIT */
/* See the header. Called by vm/msr.c. Pure. */
#include "vm/legacy_msr.h"

#include "lib/bits.h"
#include "vm/layout.h"

#define MSR_MTRR_CAP          0xfeu
#define MSR_MCG_CAP           0x179u
#define MSR_MCG_STATUS        0x17au
#define MSR_MISC_ENABLE_OTHER 0x1a0u
#define MSR_MTRR_RANGES       0x200u
#define MSR_MTRR_DEFAULT      0x2ffu

/* IA32_MTRRCAP: the number of ranges, fixed ranges, write combining. */
#define MTRR_CAP (LEGACY_MTRR_RANGES | BIT(8) | BIT(10))

#define RANGE_VALID BIT(11) /* of a mask */

#define DEFAULT_FIXED  BIT(10) /* the fixed ranges are enabled */
#define DEFAULT_ENABLE BIT(11)
#define TYPE           BITS(7, 0)
#define TYPE_WB        6u
#define ALL_WB         0x0606060606060606ull

#define MCG_STATUS_BITS BITS(2, 0)

/* IA32_MISC_ENABLE (SDM 4, table 2-2). The bits that software may write keep what is written: fast
 * strings, the thermal control circuit, SpeedStep, MONITOR, the limit of CPUID's leaves, xTPR
 * messages and the XD bit's disable. They have no effect, as in KVM: CPUID goes on to say what the
 * VM offers. The read-only bits say that branch trace storage and precise event-based sampling are
 * unavailable, and so is performance monitoring. */
#define MISC_FAST_STRINGS BIT(0)
#define MISC_UNAVAILABLE  (BIT(12) | BIT(11))
#define MISC_WRITABLE     (0x400c50008 | MISC_FAST_STRINGS) /* bits 34, 23, 22, 18, 16, 3 */

/* The MSRs of the fixed ranges: one of 64 KiB units, two of 16 KiB, eight of 4 KiB. */
static const uint32_t fixed_msrs[LEGACY_MTRR_FIXED] = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
                                                       0x26b, 0x26c, 0x26d, 0x26e, 0x26f};
#define FIXED_VIDEO 2 /* 0xa0000 to 0xbffff */

void legacy_msrs_init(struct legacy_msrs *m, unsigned address_bits)
{
    *m = (struct legacy_msrs){.default_type = DEFAULT_ENABLE | DEFAULT_FIXED | TYPE_WB,
                              .misc_enable = MISC_FAST_STRINGS | MISC_UNAVAILABLE};
    for (unsigned i = 0; i < LEGACY_MTRR_FIXED; i++)
        m->fixed[i] = i == FIXED_VIDEO ? 0 : ALL_WB;
    m->ranges[0] = GUEST_MIDDLE_END; /* up to 4 GiB: uncacheable, which is type 0 */
    m->ranges[1] = (BITS(address_bits - 1, 0) & ~(GUEST_HIGH - GUEST_MIDDLE_END - 1)) | RANGE_VALID;
}

/* The register that an MSR reads and writes, or NULL. */
static uint64_t *register_of(struct legacy_msrs *m, uint32_t msr)
{
    if (msr - MSR_MTRR_RANGES < 2 * LEGACY_MTRR_RANGES)
        return &m->ranges[msr - MSR_MTRR_RANGES];
    for (unsigned i = 0; i < LEGACY_MTRR_FIXED; i++)
        if (fixed_msrs[i] == msr)
            return &m->fixed[i];
    switch (msr) {
    case MSR_MTRR_DEFAULT:
        return &m->default_type;
    case MSR_MCG_STATUS:
        return &m->mcg_status;
    case MSR_MISC_ENABLE_OTHER:
        return &m->misc_enable;
    default:
        return NULL;
    }
}

bool legacy_msr_read(const struct legacy_msrs *msrs, uint32_t msr, uint64_t *value)
{
    struct legacy_msrs copy = *msrs;
    const uint64_t *held = register_of(&copy, msr);
    if (held)
        *value = *held;
    else if (msr == MSR_MTRR_CAP)
        *value = MTRR_CAP;
    else if (msr == MSR_MCG_CAP)
        *value = 0; /* there is no bank */
    else
        return false;
    return true;
}

/* Uncacheable, write combining, write-through, write-protected, write-back (SDM 3, table 12-8). */
static bool is_type(uint64_t type)
{
    return type < 7 && BIT(type) & (BIT(0) | BIT(1) | BIT(4) | BIT(5) | BIT(6));
}

static bool are_types(uint64_t types)
{
    for (unsigned i = 0; i < 8; i++, types >>= 8)
        if (!is_type(types & TYPE))
            return false;
    return true;
}

static bool is_valid(unsigned address_bits, uint32_t msr, uint64_t value)
{
    const uint64_t frame = BITS(address_bits - 1, 12);
    if (msr - MSR_MTRR_RANGES < 2 * LEGACY_MTRR_RANGES)
        return msr & 1 ? !(value & ~(frame | RANGE_VALID))
                       : !(value & ~(frame | TYPE)) && is_type(value & TYPE);
    switch (msr) {
    case MSR_MTRR_DEFAULT:
        return !(value & ~(DEFAULT_ENABLE | DEFAULT_FIXED | TYPE)) && is_type(value & TYPE);
    case MSR_MCG_STATUS:
        return !(value & ~MCG_STATUS_BITS);
    case MSR_MISC_ENABLE_OTHER:
        return (value & ~MISC_WRITABLE) == MISC_UNAVAILABLE;
    default:
        return are_types(value);
    }
}

bool legacy_msr_write(struct legacy_msrs *msrs, unsigned address_bits, uint32_t msr, uint64_t value)
{
    uint64_t *held = register_of(msrs, msr);
    if (!held || !is_valid(address_bits, msr, value))
        return false;
    *held = value;
    return true;
}
