/* A VM's MMU from birth to death, and the small questions about it; see mmu/mmu.h. Pure. */
#include "mmu/mmu.h"

#include "lib/errno.h"
#include "lib/log.h"
#include "mmu/memslot.h"
#include "mmu/tdp.h"

#define GENERATION_END BIT(62) /* clear of the mark, with room to count */

static struct mmu_config effective;

static int check_generation(uint64_t generation)
{
    if (generation < GENERATION_END)
        return 0;
    log_error("MMU: slot generation %#lx is out of range; it must be below %#llx", generation,
              GENERATION_END);
    return -EINVAL;
}

int mmu_setup(const struct ept_caps *caps, const struct mmu_config *config)
{
    int error = check_generation(config->slot_generation_start);
    if (error)
        return error;
    spte_setup(caps, config->mmio_caching, config->ad, config->l1tf_cache_bits);
    effective = *config;
    effective.mmio_caching = spte_format.mmio_caching;
    effective.ad = spte_ad_enabled(spte_format.leaf);
    effective.huge = config->huge && caps->page_2m;
    return 0;
}

const struct mmu_config *mmu_config(void)
{
    return &effective;
}

int mmu_create(struct mmu *mmu)
{
    mmu->slots = &mmu->copies[0];
    mmu->slots->used = 0;
    mmu->slots->generation = effective.slot_generation_start;
    mmu->slot_pages = 0;
    mmu->invalidate_sequence = 0;
    mmu->table_cache_used = 0;
    mmu->stats = (struct mmu_stats){0};
    mmu->mmio_value = spte_format.mmio_value;
    return tdp_create(mmu);
}

void mmu_destroy(struct mmu *mmu)
{
    tdp_destroy(mmu);
    memslots_free(mmu);
}

int mmu_set_generation(struct mmu *mmu, uint64_t generation)
{
    int error = check_generation(generation);
    if (error)
        return error;
    uint64_t now = mmu->slots->generation;
    if (generation < now) {
        log_error("MMU: slot generation %#lx is before the current one, %#lx", generation, now);
        return -EINVAL;
    }
    __atomic_store_n(&mmu->slots->generation, now | SLOT_UPDATE_IN_PROGRESS, __ATOMIC_SEQ_CST);
    tdp_zap_all(mmu);
    __atomic_store_n(&mmu->slots->generation, generation, __ATOMIC_SEQ_CST);
    return 0;
}

int mmu_zap(struct mmu *mmu, gpa_t gpa, uint64_t pages)
{
    int error = memslot_check_range("zap", gpa, pages);
    if (error)
        return error;
    gfn_t first = gpa_to_gfn(gpa);
    tdp_zap(mmu, first, GFN(first.v + pages), true);
    return 0;
}

uint64_t mmu_spte(const struct mmu *mmu, gpa_t gpa, unsigned *level)
{
    *level = mmu->root_level;
    if (gpa_to_gfn(gpa).v >= memslot_gfn_end())
        return SPTE_NONPRESENT; /* beyond what the tables can index */
    return tdp_walk(mmu, gpa_to_gfn(gpa), level);
}

uint64_t mmu_invept_count(const struct mmu *mmu)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < INVEPT_REASONS; i++)
        sum += mmu->stats.invept[i];
    return sum;
}

uint64_t mmu_invvpid_count(const struct mmu *mmu)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < INVVPID_REASONS; i++)
        sum += mmu->stats.invvpid[i];
    return sum;
}
