/* The walk over EPT tables and the choke point through which all their words pass; see tdp.h. */
#include "mmu/tdp.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "mmu/mmu.h"
#include "mmu/tlb.h"
#include "mmu/transition.h"

/* ---- Iterator -------------------------------------------------------------------------------- */

static void iter_read(struct tdp_iter *iter)
{
    iter->sptep = &iter->tables[iter->level][ept_index(iter->gfn, iter->level)];
    iter->old = READ_ONCE(*iter->sptep);
}

void tdp_iter_start(struct tdp_iter *iter, struct mmu *mmu, gfn_t first, gfn_t end)
{
    iter->mmu = mmu;
    iter->end = end;
    iter->level = mmu->root_level;
    if (first.v >= end.v) {
        iter->level++;
        return;
    }
    iter->tables[iter->level] = mmu->root;
    iter->gfn = first; /* a start inside an entry: children begin there, not at its first frame */
    iter_read(iter);
}

void tdp_iter_next(struct tdp_iter *iter)
{
    uint64_t now = READ_ONCE(*iter->sptep);
    if (spte_is_nonleaf(now, iter->level)) {
        iter->tables[--iter->level] = phys_to_virt(spte_page(now));
        iter_read(iter);
        return;
    }
    /* Sideways; up while this was the last entry of its table. */
    gfn_t next = GFN(ept_first_frame(iter->gfn, iter->level).v + ept_frames(iter->level));
    while (ept_index(next, iter->level) == 0 && iter->level <= iter->mmu->root_level)
        iter->level++;
    if (next.v >= iter->end.v)
        iter->level = iter->mmu->root_level + 1;
    if (!tdp_iter_valid(iter))
        return;
    iter->gfn = next;
    iter_read(iter);
}

/* ---- The choke point ------------------------------------------------------------------------- */

static void account(struct mmu *mmu, unsigned level, uint64_t old, uint64_t new)
{
    struct mmu_stats *stats = &mmu->stats;
    stats->spte_changes++;
    stats->pages[level - 1] += (uint64_t)spte_is_leaf(new, level) - spte_is_leaf(old, level);
    stats->tables += (uint64_t)spte_is_nonleaf(new, level) - spte_is_nonleaf(old, level);
    stats->mmio_spte_created += spte_is_mmio(new, mmu->mmio_value);
}

bool tdp_store(struct mmu *mmu, uint64_t *sptep, unsigned level, uint64_t old, uint64_t new)
{
    const char *refused = spte_change_refused(old, new, level, mmu->mmio_value);
    if (unlikely(refused)) {
        log_error("MMU: SPTE %#lx -> %#lx at level %u: %s", old, new, level, refused);
        BUG_ON(refused);
    }
    if (!__atomic_compare_exchange_n(sptep, &old, new, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return false;
    account(mmu, level, old, new);
    if (spte_change_owes_flush(old, new, level))
        tlb_owe(mmu);
    return true;
}

/* ---- Zap ------------------------------------------------------------------------------------- */

void tdp_zap(struct mmu *mmu, gfn_t first, gfn_t end, bool mmio)
{
    struct tdp_iter iter;
    tdp_for_each(&iter, mmu, first, end)
    {
        while (spte_is_leaf(iter.old, iter.level) ||
               (mmio && spte_is_mmio(iter.old, mmu->mmio_value))) {
            if (tdp_store(mmu, iter.sptep, iter.level, iter.old, SPTE_NONPRESENT))
                break;
            iter.old = READ_ONCE(*iter.sptep);
        }
    }
}

/* Frees a table that no CPU can reach any more and that holds no leaf. */
static void free_table(struct mmu *mmu, uint64_t *table, unsigned level)
{
    for (unsigned i = 0; level > EPT_LEVEL_4K && i < EPT_ENTRIES; i++) {
        BUG_ON(spte_is_leaf(table[i], level));
        if (spte_is_nonleaf(table[i], level)) {
            free_table(mmu, phys_to_virt(spte_page(table[i])), level - 1);
            mmu->stats.tables--;
        }
    }
    page_free(virt_to_phys(table), 0);
}

/* The leaves go first, one by one through the choke point. The tables are cut off at the root and
 * kept aside until the flush: until then a CPU may still walk them. */
void tdp_zap_all(struct mmu *mmu)
{
    unsigned count = 0;

    tdp_zap(mmu, GFN(0), GFN(ept_frames(mmu->root_level + 1)), true);
    for (unsigned i = 0; i < EPT_ENTRIES; i++) {
        uint64_t old = READ_ONCE(mmu->root[i]);
        if (!spte_is_present(old))
            continue;
        while (!tdp_store(mmu, &mmu->root[i], mmu->root_level, old, SPTE_NONPRESENT))
            old = READ_ONCE(mmu->root[i]);
        mmu->detached[count++] = old;
    }
    tlb_flush_before_reuse(mmu);
    while (count)
        free_table(mmu, phys_to_virt(spte_page(mmu->detached[--count])), mmu->root_level - 1);
    mmu->stats.full_zaps++;
}

/* ---- Tables ---------------------------------------------------------------------------------- */

/* A page full of NONPRESENT (rule S7), by one string instruction. */
static hpa_t new_table(void)
{
    hpa_t page = page_alloc(0);
    if (!page_is_none(page)) {
        void *at = phys_to_virt(page);
        uint64_t count = EPT_ENTRIES;
        __asm__ volatile("rep stosq" : "+D"(at), "+c"(count) : "a"(SPTE_NONPRESENT) : "memory");
    }
    return page;
}

/* A guest that spreads accesses over its whole address space gets a table for each. What its memory
 * does not justify it pays for itself: all tables go, and it faults them in again. */
#define TABLES_FREE_OF_CHARGE 512u

static bool too_many_tables(const struct mmu *mmu)
{
    uint64_t justified = mmu->slot_pages / (EPT_ENTRIES / 2) + TABLES_FREE_OF_CHARGE;
    return mmu->stats.tables + TABLE_CACHE > justified;
}

int tdp_top_up(struct mmu *mmu)
{
    if (unlikely(too_many_tables(mmu)))
        tdp_zap_all(mmu);
    while (unlikely(mmu->table_cache_used < TABLE_CACHE)) {
        hpa_t page = new_table();
        if (page_is_none(page)) {
            log_error("MMU: no page left for an EPT table; give the machine more memory");
            return -ENOMEM;
        }
        mmu->table_cache[mmu->table_cache_used++] = page;
    }
    return 0;
}

int tdp_create(struct mmu *mmu)
{
    hpa_t root = new_table();
    hpa_t detached = page_alloc(0);
    if (page_is_none(root) || page_is_none(detached)) {
        if (!page_is_none(root))
            page_free(root, 0);
        if (!page_is_none(detached))
            page_free(detached, 0);
        log_error("MMU: no page left for the root of a VM's EPT; give the machine more memory");
        return -ENOMEM;
    }
    mmu->root_level = EPT_LEVELS;
    mmu->root = phys_to_virt(root);
    mmu->detached = phys_to_virt(detached);
    mmu->eptp = root.v | field_put(MEMTYPE_WB, EPTP_MEMTYPE) |
                field_put(mmu->root_level - 1, EPTP_WALK) |
                (spte_ad_enabled(spte_format.nonleaf) ? EPTP_AD : 0);
    tlb_ledger_init(mmu);
    return 0;
}

void tdp_destroy(struct mmu *mmu)
{
    tdp_zap_all(mmu);
    tlb_ledger_close(mmu);
    while (mmu->table_cache_used)
        page_free(mmu->table_cache[--mmu->table_cache_used], 0);
    page_free(virt_to_phys(mmu->detached), 0);
    page_free(virt_to_phys(mmu->root), 0);
    mmu->root = NULL;
}

/* ---- Map ------------------------------------------------------------------------------------- */

/* Goes down to `*level`, linking tables on the way; a leaf above ends it there. Returns the entry,
 * its level and its word, or NULL where another CPU is at work: retry (rules W4, W5). */
static uint64_t *descend(struct mmu *mmu, gfn_t gfn, unsigned *level, uint64_t *old)
{
    uint64_t *table = mmu->root;
    for (unsigned l = mmu->root_level;; l--) {
        uint64_t *sptep = &table[ept_index(gfn, l)];
        uint64_t spte = READ_ONCE(*sptep);
        if (spte == SPTE_FROZEN)
            return NULL;
        if (l == *level || spte_is_leaf(spte, l)) {
            *level = l;
            *old = spte;
            return sptep;
        }
        if (!spte_is_present(spte)) {
            BUG_ON(!mmu->table_cache_used);
            uint64_t link = spte_nonleaf(mmu->table_cache[mmu->table_cache_used - 1]);
            if (!tdp_store(mmu, sptep, l, spte, link))
                return NULL;
            mmu->table_cache_used--;
            spte = link;
        }
        table = phys_to_virt(spte_page(spte));
    }
}

/* A block takes the place of a table, which may hold leaves and old MMIO SPTEs. */
static int replace_table(struct mmu *mmu, gfn_t gfn, uint64_t *sptep, unsigned level, uint64_t new)
{
    gfn_t first = ept_first_frame(gfn, level);
    tdp_zap(mmu, first, GFN(first.v + ept_frames(level)), true);

    uint64_t old = READ_ONCE(*sptep);
    if (!tdp_store(mmu, sptep, level, old, new))
        return FAULT_RETRY;
    tlb_flush_before_reuse(mmu);
    free_table(mmu, phys_to_virt(spte_page(old)), level - 1);
    return FAULT_FIXED;
}

int tdp_map(struct mmu *mmu, gfn_t gfn, hpa_t page, unsigned level, bool writable)
{
    uint64_t old;
    uint64_t *sptep = descend(mmu, gfn, &level, &old);
    if (unlikely(!sptep))
        return FAULT_RETRY;

    hpa_t start = HPA(align_down(page.v, ept_frames(level) * PAGE_SIZE));
    uint64_t new = spte_leaf(start, level, writable);
    if (spte_is_leaf(old, level) && !((old ^ new) & ~(EPT_ACCESSED | EPT_DIRTY)))
        return FAULT_SPURIOUS;
    if (unlikely(spte_is_nonleaf(old, level)))
        return replace_table(mmu, gfn, sptep, level, new);
    return tdp_store(mmu, sptep, level, old, new) ? FAULT_FIXED : FAULT_RETRY;
}

int tdp_map_mmio(struct mmu *mmu, gfn_t gfn, uint64_t generation)
{
    for (;;) {
        unsigned level = EPT_LEVEL_4K;
        uint64_t old;
        uint64_t *sptep = descend(mmu, gfn, &level, &old);
        if (unlikely(!sptep))
            return FAULT_RETRY;
        if (WARN_ON(spte_is_leaf(old, level))) {
            /* No slot, but mapped: zap it, owe the flush, never overwrite (rule P7). */
            if (!tdp_store(mmu, sptep, level, old, SPTE_NONPRESENT))
                return FAULT_RETRY;
            continue;
        }
        uint64_t new = spte_mmio(mmu->mmio_value, gfn, generation);
        if (old == new || tdp_store(mmu, sptep, level, old, new))
            return FAULT_EMULATE;
        return FAULT_RETRY;
    }
}
