/* SPDX-License-Identifier: MIT */
/* Allocation of table pages, and their limit; see the header. retired.c frees them. */
#include "mmu/tables.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/page.h"
#include "mmu/retired.h"
#include "mmu/self.h"
#include "mmu/spte.h"
#include "mmu/tlb.h"
#include "mmu/zap.h"

/* ---- The cache ------------------------------------------------------------------------------- */

/* One string instruction clears the page (rule S7). */
void tdp_clear_table(const uint64_t *table)
{
    uint64_t *entries = (uint64_t *)(uintptr_t)table, count = EPT_ENTRIES;
    __asm__ volatile("rep stosq" : "+D"(entries), "+c"(count) : "a"(SPTE_NONPRESENT) : "memory");
}

void tdp_fill_table(const uint64_t *table, uint64_t first, uint64_t step)
{
    uint64_t *entries = (uint64_t *)(uintptr_t)table;
    for (unsigned i = 0; i < EPT_ENTRIES; i++)
        __atomic_store_n(&entries[i], first + i * step, __ATOMIC_RELAXED);
}

static hpa_t table_alloc(struct mmu *mmu)
{
    hpa_t page = page_alloc(0);
    while (page_is_none(page) && tdp_reclaim_piece(mmu, true)) /* one freed piece may suffice */
        page = page_alloc(0);
    if (!page_is_none(page))
        tdp_clear_table(phys_to_virt(page));
    return page;
}

/* A guest that spreads its accesses over the whole address space needs a table for each access.
 * When a VM has more tables than its memory justifies, all of them are unlinked, so the guest
 * itself pays for its tables by faulting again. Its next faults free the unlinked tables; each
 * fault frees more tables than it can need, so no exit takes long. */
#define TABLES_FREE_OF_CHARGE 512u

static uint64_t justified_by(uint64_t pages)
{
    return pages / (EPT_ENTRIES / 2) + TABLES_FREE_OF_CHARGE;
}

uint64_t tdp_tables_most(uint64_t pages, unsigned pcpus)
{
    return justified_by(pages) + pcpus * 2 * TABLE_CACHE;
}

static bool too_many_tables(const struct mmu *mmu)
{
    uint64_t pages = __atomic_load_n(&mmu->slot_pages, __ATOMIC_RELAXED), tables = 0;
    uint64_t justified = justified_by(pages);
    for (unsigned i = 0; i < CPUS_MAX; i++)
        tables += __atomic_load_n(&mmu->cpu[i].stats.tables, __ATOMIC_RELAXED);
    return (int64_t)(tables + TABLE_CACHE - justified) > 0;
}

static void evict_tables(struct mmu *mmu)
{
    if (!tdp_is_reclaiming(mmu))
        tdp_zap_all(mmu, DEBT_TOO_MANY_TABLES);
    tdp_reclaim_piece(mmu, true);
}

int tdp_fill_cache(struct mmu_cpu *self)
{
    struct mmu *mmu = self->mmu;
    if (too_many_tables(mmu))
        evict_tables(mmu);
    else if (tdp_is_reclaiming(mmu))
        tdp_reclaim(mmu, false);
    while (self->table_cache_used < TABLE_CACHE) {
        hpa_t page = table_alloc(mmu);
        if (page_is_none(page)) {
            log_error("MMU: no page left for an EPT table; %s", page_shortage());
            return -ENOMEM;
        }
        self->table_cache[self->table_cache_used++] = page;
    }
    return 0;
}

const uint64_t *tdp_take_table(struct mmu_cpu *self)
{
    BUG_ON(!self->table_cache_used);
    return phys_to_virt(self->table_cache[--self->table_cache_used]);
}

void tdp_return_table(struct mmu_cpu *self, const uint64_t *table)
{
    self->table_cache[self->table_cache_used++] = virt_to_phys(table);
}

/* ---- The composite --------------------------------------------------------------------------- */

int tdp_create(struct mmu *mmu)
{
    hpa_t root = table_alloc(mmu);
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

/* No CPU is in the guest before its first slot exists. To mmu/ the entry is not present, so no walk
 * and no zap of the composite follows it: the external tables cannot be read. */
void tdp_link_external(const struct mmu *mmu, hpa_t external)
{
    uint64_t *entry = (uint64_t *)(uintptr_t)mmu->composite;
    __atomic_store_n(entry, spte_nonleaf(external) & ~SPTE_MMU_PRESENT, __ATOMIC_RELEASE);
}

/* The tables below the composite have been unlinked and freed. No vCPU enters with this EPTP again.
 * The next VM that uses this EPTP flushes before its first entry (rule T5). */
void tdp_destroy(struct mmu *mmu)
{
    for (unsigned i = 0; i < CPUS_MAX; i++) {
        struct mmu_cpu *cpu = &mmu->cpu[i];
        while (cpu->table_cache_used)
            page_free(cpu->table_cache[--cpu->table_cache_used], 0);
    }
    if (mmu->mirror.table)
        page_free(virt_to_phys(mmu->mirror.table), 0);
    page_free(virt_to_phys(mmu->composite), 0);
    mmu->composite = NULL;
}
