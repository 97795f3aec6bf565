/* SPDX-License-Identifier: MIT */
/* The configuration in force, which all VMs share; see mmu/mmu.h. Pure. */
#include "mmu/memslot.h"
#include "mmu/mmu.h"
#include "mmu/spte.h"

static struct mmu_config effective;

int mmu_setup(const struct ept_caps *caps, const struct mmu_config *config)
{
    int error = memslots_check_generation(config->slot_generation_start);
    if (error)
        return error;
    spte_setup(caps, config->mmio_caching, config->ad, config->l1tf_cache_bits);
    effective = *config;
    effective.mmio_caching = spte_format.mmio_caching;
    effective.ad = spte_ad_enabled(spte_format.leaf);
    effective.huge = config->huge && caps->page_2m;
    effective.nx_huge = config->nx_huge && effective.huge;
    spte_deny_large(effective.nx_huge ? EPT_EXECUTE : 0);
    effective.pml = config->pml && effective.ad;
    return 0;
}

const struct mmu_config *mmu_config(void)
{
    return &effective;
}

unsigned mmu_levels(void)
{
    if (!effective.huge)
        return EPT_LEVEL_4K;
    return spte_format.caps.page_1g ? EPT_LEVEL_1G : EPT_LEVEL_2M;
}
