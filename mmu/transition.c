/* SPDX-License-Identifier: MIT */
/* Which SPTE may replace which; see the header. */
#include "mmu/transition.h"

#include "ept/misconfig.h"

/* The three bits about write access: only four of the eight combinations exist (rule S3). */
static bool write_bits_make_sense(uint64_t spte)
{
    bool host = spte & SPTE_HOST_WRITABLE, mmu = spte & SPTE_MMU_WRITABLE, w = spte & EPT_WRITE;
    return host ? (mmu || !w) : (!mmu && !w);
}

/* Only execute-only leaves of VMs that take #VE may convert (rule S15). */
static bool converts_wrongly(uint64_t spte, unsigned level, uint64_t mmio_value)
{
    return spte_is_ve_possible(spte) &&
           (mmio_value || !spte_is_leaf(spte, level) || (spte & EPT_RWX) != EPT_EXECUTE);
}

static const char *present_refused(uint64_t old, uint64_t new, unsigned level, uint64_t mmio_value)
{
    if (converts_wrongly(new, level, mmio_value))
        return "the CPU could convert what the new entry refuses to #VE";
    if (ept_misconfigured(new, level, &spte_format.caps))
        return "the CPU would take the new entry for a misconfiguration";
    if (new &SPTE_AD_WRPROT_ONLY)
        return "an A/D type that only pages of a nested guest could have"; /* P1, S6 */
    if (!spte_is_leaf(new, level)) {
        if (spte_is_nonleaf(old, level) && (old ^ new) & EPT_ADDRESS)
            return "a table replaced by another table";
        return NULL;
    }
    if (!write_bits_make_sense(new))
        return "host-writable, MMU-writable and W contradict each other";
    if (!spte_is_leaf(old, level))
        return NULL;
    if ((old ^ new) & EPT_ADDRESS)
        return "a leaf moved to another page without being zapped";
    if ((old ^ new) & SPTE_HOST_WRITABLE)
        return "host-writable changed while present";
    return NULL;
}

const char *spte_change_refused(uint64_t old, uint64_t new, unsigned level, uint64_t mmio_value)
{
    if (spte_is_present(new))
        return present_refused(old, new, level, mmio_value);
    if (new == SPTE_NONPRESENT) {
        if (spte_is_present(old) || old == SPTE_FROZEN || spte_is_mmio(old, mmio_value))
            return NULL;
        return "an entry that is not present stored again";
    }
    if (new == SPTE_FROZEN)
        return NULL;
    if (!spte_is_mmio(new, mmio_value))
        return "a value of no class";
    if (spte_is_present(old))
        return "an MMIO SPTE over a present one, which must be zapped first";
    return level == EPT_LEVEL_4K ? NULL : "an MMIO SPTE above level 1";
}
