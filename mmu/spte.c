/* SPDX-License-Identifier: MIT */
/* The parts of the SPTE format that are computed at boot or rarely used; see the header. Pure. */
#include "mmu/spte.h"

#include "ept/misconfig.h"
#include "lib/assert.h"
#include "lib/log.h"

#define L1TF_BITS 5 /* number of address bits that are 1 in each MMIO SPTE */

struct spte_format spte_format;

/* On a CPU with L1TF, speculation can read the L1D at the address in an entry that does not
 * translate. The guest chooses the address in an MMIO SPTE, so bits are set in it that no cached
 * line has in its address. */
static bool setup_l1tf(struct spte_format *format, unsigned cache_bits)
{
    if (cache_bits < 32 || cache_bits >= 52 - L1TF_BITS) {
        log_error("MMU: L1TF with %u cache bits leaves no room to hide addresses in MMIO SPTEs; "
                  "MMIO caching is off",
                  cache_bits);
        return false;
    }
    format->l1tf_mask = BITS(cache_bits - 1, cache_bits - L1TF_BITS);
    format->mmio_gpa_mask = BITS(cache_bits - L1TF_BITS - 1, PAGE_SHIFT);
    if (format->mmio_gfn_end > BIT(cache_bits - PAGE_SHIFT))
        format->mmio_gfn_end = BIT(cache_bits - PAGE_SHIFT);
    return true;
}

static void setup_default_leaf(struct spte_format *format, unsigned level)
{
    uint64_t value = format->leaf | EPT_WRITE | SPTE_HOST_WRITABLE | SPTE_MMU_WRITABLE;
    if (level > EPT_LEVEL_4K)
        value |= EPT_LARGE;
    if (ept_misconfigured(value, level, &format->caps))
        return;
    unsigned size = PAGE_SHIFT + 9 * (level - 1);
    format->default_leaf[level].value = value;
    format->default_leaf[level].fixed = ~BITS(format->caps.maxphyaddr - 1, size);
    if (level == EPT_LEVEL_4K) /* pages of the shared side are not executed, else like others */
        format->default_leaf[level].fixed &= ~EPT_EXECUTE;
    format->default_leaf[level].match = value & format->default_leaf[level].fixed;
}

void spte_setup(const struct ept_caps *caps, bool mmio_caching, bool ad, unsigned l1tf_cache_bits)
{
    unsigned gpa_bits = caps->maxphyaddr < EPT_GPA_BITS ? caps->maxphyaddr : EPT_GPA_BITS;
    struct spte_format format = {
        .mmio_caching = mmio_caching,
        .mmio_value = SPTE_MMIO_VALUE,
        .mmio_gfn_end = BIT(gpa_bits - PAGE_SHIFT),
        .mmio_gpa_mask = EPT_ADDRESS,
        .caps = *caps,
    };

    if (l1tf_cache_bits && !setup_l1tf(&format, l1tf_cache_bits))
        format.mmio_caching = false;
    if (format.mmio_value & format.l1tf_mask << L1TF_BITS)
        format.mmio_caching = false; /* the value would be read as part of the address (P4) */
    if (!format.mmio_caching)
        format.mmio_value = SPTE_MMIO_NEVER;

    uint64_t common = SPTE_MMU_PRESENT | SPTE_SUPPRESS_VE | EPT_READ | EPT_EXECUTE | EPT_ACCESSED |
                      (ad && caps->ad ? SPTE_AD_ENABLED : SPTE_AD_DISABLED);
    format.nonleaf = common | EPT_WRITE;
    format.leaf = common | EPT_IPAT | field_put(MEMTYPE_WB, EPT_MEMTYPE);
    for (unsigned level = 0; level <= EPT_LEVELS; level++)
        format.default_leaf[level].match = 1; /* `fixed` is 0, so nothing matches */
    for (unsigned level = EPT_LEVEL_4K; level < EPT_LEVELS; level++)
        setup_default_leaf(&format, level);
    spte_format = format;
}

void spte_deny_large(uint64_t rights)
{
    for (unsigned level = EPT_LEVEL_2M; level < EPT_LEVELS; level++) {
        spte_format.default_leaf[level].value &= ~rights;
        spte_format.default_leaf[level].match &= ~rights;
    }
}

enum spte_class spte_classify(uint64_t spte, unsigned level, uint64_t mmio_value)
{
    if (spte_is_present(spte)) {
        if (spte_is_nonleaf(spte, level))
            return SPTE_CLASS_NONLEAF;
        return spte_is_access_tracked(spte) ? SPTE_CLASS_TRACKED : SPTE_CLASS_LEAF;
    }
    if (spte == SPTE_NONPRESENT)
        return SPTE_CLASS_NONPRESENT;
    if (spte == SPTE_FROZEN)
        return SPTE_CLASS_FROZEN;
    if (spte_is_mmio(spte, mmio_value))
        return SPTE_CLASS_MMIO;
    return SPTE_CLASS_ALIEN;
}

uint64_t spte_track_access(uint64_t spte)
{
    BUG_ON(!spte_is_present(spte) || spte_ad_enabled(spte)); /* P21 */
    if (spte_is_access_tracked(spte))
        return spte;
    WARN_ON(spte & SPTE_SAVED);
    uint64_t saved = (spte & (EPT_READ | EPT_EXECUTE)) << SPTE_SAVED_SHIFT;
    return (spte & ~(EPT_RWX | EPT_ACCESSED | SPTE_SAVED)) | saved | SPTE_SUPPRESS_VE;
}

uint64_t spte_restore_access(uint64_t spte)
{
    BUG_ON(!spte_is_access_tracked(spte));
    uint64_t access = (spte & SPTE_SAVED) >> SPTE_SAVED_SHIFT;
    return (spte & ~SPTE_SAVED) | access;
}
