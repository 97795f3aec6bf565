/*
 * The life of table pages: allocated before the lock is taken, linked, unlinked, and freed when
 * nobody can be reading them. See tdp.h.
 */
#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "mmu/dirty.h"
#include "mmu/tdp.h"
#include "mmu/tlb.h"

/* ---- Retired --------------------------------------------------------------------------------- */

/* Forgets an entry of a table that nobody can reach any more. */
static void disown(struct mmu_cpu *self, alias_t alias, unsigned level, uint64_t spte)
{
    if (spte_is_leaf(spte, level)) {
        self->stats.pages[level - 1]--;
        if (unlikely(spte & EPT_DIRTY))
            dirty_note(self->mmu, stolen_strip(&self->mmu->stolen, alias), ept_frames(level));
    } else if (spte_is_present(spte)) {
        mmu_count(&self->stats.tables, ~0ull);
        if (spte & SPTE_NX_SPLIT)
            mmu_count(&self->stats.nx_splits, ~0ull);
    }
}

/* Frees a table and all that it links: down as long as there are tables, then sideways, then up.
 */
static void free_tables(struct mmu *mmu, const struct retired *r)
{
    struct mmu_cpu *self = mmu_self(mmu);
    uint64_t *tables[EPT_LEVELS + 1];
    unsigned index[EPT_LEVELS + 1] = {0};
    unsigned level = r->level;
    alias_t alias = r->alias;

    tables[level] = phys_to_virt(r->page);
    while (level <= r->level) {
        if (index[level] == EPT_ENTRIES) {
            page_free(virt_to_phys(tables[level++]), 0);
            continue;
        }
        uint64_t spte = tables[level][index[level]++];
        disown(self, alias, level, spte);
        if (spte_is_nonleaf(spte, level)) {
            tables[--level] = phys_to_virt(spte_page(spte));
            index[level] = 0;
        } else {
            alias.v += ept_frames(level);
        }
    }
}

bool tdp_reserve(struct mmu *mmu)
{
    spin_lock(&mmu->retired_lock);
    bool room = mmu->retired_used + mmu->retired_reserved < RETIRED_MAX;
    mmu->retired_reserved += room;
    spin_unlock(&mmu->retired_lock);
    return room;
}

void tdp_unreserve(struct mmu *mmu)
{
    spin_lock(&mmu->retired_lock);
    mmu->retired_reserved--;
    spin_unlock(&mmu->retired_lock);
}

void tdp_retire(struct mmu *mmu, struct retired r)
{
    r.epoch = epoch_begin();
    spin_lock(&mmu->retired_lock);
    BUG_ON(!mmu->retired_reserved);
    mmu->retired_reserved--;
    mmu->retired[mmu->retired_used] = r;
    __atomic_store_n(&mmu->retired_used, mmu->retired_used + 1, __ATOMIC_RELAXED);
    spin_unlock(&mmu->retired_lock);
}

/* Takes one out of the list whose epoch is over. Else *newest is the epoch that would free all. */
static bool take_retired(struct mmu *mmu, struct retired *out, uint64_t *newest)
{
    bool found = false;
    *newest = 0;
    spin_lock(&mmu->retired_lock);
    for (unsigned i = 0; i < mmu->retired_used && !found; i++) {
        uint64_t epoch = mmu->retired[i].epoch;
        *newest = epoch > *newest ? epoch : *newest;
        if (!epoch_over(epoch))
            continue;
        found = true;
        *out = mmu->retired[i];
        __atomic_store_n(&mmu->retired_used, mmu->retired_used - 1, __ATOMIC_RELAXED);
        mmu->retired[i] = mmu->retired[mmu->retired_used];
    }
    spin_unlock(&mmu->retired_lock);
    return found;
}

static void free_retired(struct mmu *mmu, uint64_t *newest)
{
    struct retired r;
    while (take_retired(mmu, &r, newest)) {
        if (r.level)
            free_tables(mmu, &r);
        else
            page_free(r.page, r.order);
    }
}

void tdp_reclaim(struct mmu *mmu, bool wait)
{
    uint64_t newest;
    free_retired(mmu, &newest);
    while (wait && newest) {
        epoch_wait(newest, tlb_this_cpu(), tlb_kick);
        free_retired(mmu, &newest);
    }
}

/* ---- The cache ------------------------------------------------------------------------------- */

/* Full of NONPRESENT (rule S7), by one string instruction. */
void tdp_clear_table(uint64_t *table)
{
    uint64_t count = EPT_ENTRIES;
    __asm__ volatile("rep stosq" : "+D"(table), "+c"(count) : "a"(SPTE_NONPRESENT) : "memory");
}

static hpa_t new_table(void)
{
    hpa_t page = page_alloc(0);
    if (!page_is_none(page))
        tdp_clear_table(phys_to_virt(page));
    return page;
}

/* A guest that spreads accesses over its whole address space gets a table for each. What its memory
 * does not justify it pays for itself: all tables go, and it faults them in again. */
#define TABLES_FREE_OF_CHARGE 512u

static bool too_many_tables(const struct mmu *mmu)
{
    uint64_t pages = __atomic_load_n(&mmu->slot_pages, __ATOMIC_RELAXED), tables = 0;
    uint64_t justified = pages / (EPT_ENTRIES / 2) + TABLES_FREE_OF_CHARGE;
    for (unsigned i = 0; i < TLB_CPUS; i++)
        tables += __atomic_load_n(&mmu->cpu[i].stats.tables, __ATOMIC_RELAXED);
    return (int64_t)(tables + TABLE_CACHE - justified) > 0;
}

int tdp_fill_cache(struct mmu_cpu *self)
{
    struct mmu *mmu = self->mmu;
    if (too_many_tables(mmu))
        tdp_zap_all(mmu);
    else if (__atomic_load_n(&mmu->retired_used, __ATOMIC_RELAXED))
        tdp_reclaim(mmu, !tdp_has_room(mmu));
    while (self->table_cache_used < TABLE_CACHE) {
        hpa_t page = new_table();
        if (page_is_none(page)) {
            log_error("MMU: no page left for an EPT table; give the machine more memory");
            return -ENOMEM;
        }
        self->table_cache[self->table_cache_used++] = page;
    }
    return 0;
}

uint64_t *tdp_take_table(struct mmu_cpu *self)
{
    BUG_ON(!self->table_cache_used);
    return phys_to_virt(self->table_cache[--self->table_cache_used]);
}

void tdp_return_table(struct mmu_cpu *self, uint64_t *table)
{
    self->table_cache[self->table_cache_used++] = virt_to_phys(table);
}

/* ---- The composite --------------------------------------------------------------------------- */

int tdp_create(struct mmu *mmu)
{
    hpa_t root = new_table();
    if (page_is_none(root)) {
        log_error("MMU: no page left for the root of a VM's EPT; give the machine more memory");
        return -ENOMEM;
    }
    mmu->root_level = EPT_LEVELS;
    mmu->composite = phys_to_virt(root);
    mmu->stolen = (struct stolen){0};
    mmu->roots[0] = (struct root){.role = ROLE_RIGHTS};
    mmu->root_count = 1;
    mmu->eptp = root.v | field_put(MEMTYPE_WB, EPTP_MEMTYPE) |
                field_put(mmu->root_level - 1, EPTP_WALK) |
                (spte_ad_enabled(spte_format.nonleaf) ? EPTP_AD : 0);
    tlb_ledger_init(mmu);
    return 0;
}

/* Nobody enters with this EPTP again, and the next VM that gets it flushes first (rule T5). */
void tdp_destroy(struct mmu *mmu)
{
    tdp_zap_all(mmu);
    for (unsigned i = 0; i < TLB_CPUS; i++) {
        struct mmu_cpu *cpu = &mmu->cpu[i];
        while (cpu->table_cache_used)
            page_free(cpu->table_cache[--cpu->table_cache_used], 0);
    }
    page_free(virt_to_phys(mmu->composite), 0);
    mmu->composite = NULL;
}
