/* SPDX-License-Identifier: MIT */
/* Walks over EPT tables; see the header. */
#include "mmu/tdp.h"

#include "ept/misconfig.h"

/* Loads the entry for the current frame from the table of the current level. */
static void tdp_iter_load(struct tdp_iter *iter)
{
    alias_t alias = root_alias(iter->root, iter->gfn);
    iter->sptep = &iter->tables[iter->level][ept_index(alias, iter->level)];
    iter->old = __atomic_load_n(iter->sptep, __ATOMIC_ACQUIRE);
}

void tdp_iter_start(struct tdp_iter *iter, const struct mmu *mmu, gfn_t first, gfn_t end)
{
    iter->mmu = mmu;
    iter->end_root = &mmu->roots[mmu->root_count];
    /* A mirror is the first root, and the CPU does not walk it. */
    iter->root = first.v < end.v ? &mmu->roots[!!mmu->mirror.table] : iter->end_root;
    iter->first = iter->gfn = first;
    iter->end = end;
    tdp_iter_restart(iter);
}

/* The range may begin within a large entry: then the walk below it begins at `gfn`, not at the
 * entry's first frame. */
void tdp_iter_restart(struct tdp_iter *iter)
{
    iter->level = iter->mmu->root_level;
    iter->tables[iter->level] = iter->mmu->composite;
    if (tdp_iter_valid(iter))
        tdp_iter_load(iter);
}

/* Goes to the next entry of the table; after the last entry of a table, up; at the end of the
 * range, to the next root. */
void tdp_iter_skip(struct tdp_iter *iter)
{
    iter->gfn.v = ept_first_frame(iter->gfn, iter->level).v + ept_frames(iter->level);
    if (unlikely(iter->gfn.v >= iter->end.v)) {
        iter->root++;
        iter->gfn = iter->first;
        tdp_iter_restart(iter);
        return;
    }
    if (unlikely(!page_offset((uintptr_t)++iter->sptep))) {
        do {
            iter->level++;
        } while (!ept_index(root_alias(iter->root, iter->gfn), iter->level));
        tdp_iter_load(iter);
        return;
    }
    iter->old = __atomic_load_n(iter->sptep, __ATOMIC_ACQUIRE);
}

void tdp_iter_next(struct tdp_iter *iter)
{
    uint64_t now = __atomic_load_n(iter->sptep, __ATOMIC_ACQUIRE);
    if (!spte_is_nonleaf(now, iter->level)) {
        tdp_iter_skip(iter);
        return;
    }
    iter->tables[--iter->level] = tdp_table(now);
    tdp_iter_load(iter);
}

struct ept_path tdp_read_path(const uint64_t *table, unsigned top, alias_t alias)
{
    struct ept_path path = {.top = top};
    for (unsigned level = top;; level--) {
        uint64_t spte = __atomic_load_n(&table[ept_index(alias, level)], __ATOMIC_ACQUIRE);
        path.spte[level] = spte;
        path.lowest = level;
        if (!spte_is_nonleaf(spte, level) || ept_misconfigured(spte, level, &spte_format.caps))
            return path;
        table = tdp_table(spte);
    }
}
