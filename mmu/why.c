/* SPDX-License-Identifier: MIT */
/* Explains what an access would do now; see the header. Pure. */
#include "mmu/why.h"

#include "lib/errno.h"
#include "mmu/backing.h"
#include "mmu/decide.h"
#include "mmu/mirror.h"
#include "mmu/tlb.h"

int why_result(const struct mmu *mmu, enum why why)
{
    static const int8_t results[WHY_COUNT] = {
        [WHY_NEXT] = FAULT_CONTINUE,
        [WHY_ROLE_REFUSES] = -EACCES,
        [WHY_ROLE_CONVERTS] = FAULT_VE,
        [WHY_MIRROR] = FAULT_CONTINUE,
        [WHY_LEAF_ALLOWS] = FAULT_SPURIOUS,
        [WHY_ACCESS_RESTORED] = FAULT_FIXED,
        [WHY_WRITE_RESTORED] = FAULT_FIXED,
        [WHY_NO_DEVICES] = -EFAULT,
        [WHY_UNCACHED] = FAULT_EMULATE,
        [WHY_TOO_HIGH] = FAULT_EMULATE,
        [WHY_MMIO_STORED] = FAULT_EMULATE,
        [WHY_MMIO_FROZEN] = FAULT_RETRY,
        [WHY_MMIO_STRAY] = FAULT_RETRY,
        [WHY_SLOT_LEAVES] = FAULT_RETRY,
        [WHY_READ_ONLY] = FAULT_EMULATE,
        [WHY_OTHER_SIDE] = -EACCES,
        [WHY_PAGES_LEAVE] = FAULT_RETRY,
        [WHY_TRACKED] = FAULT_WRITE_PROTECTED,
        [WHY_MAP_ALLOWS] = FAULT_SPURIOUS,
        [WHY_MAP_NEW] = FAULT_FIXED,
        [WHY_MAP_UPGRADED] = FAULT_FIXED,
        [WHY_MAP_OUTDATED] = FAULT_RETRY,
        [WHY_MAP_FROZEN] = FAULT_RETRY,
        [WHY_MAP_COLLAPSED] = FAULT_FIXED,
        [WHY_MMIO_CURRENT] = FAULT_EMULATE,
        [WHY_MMIO_RENEWED] = FAULT_EMULATE,
        [WHY_MMIO_COVERED] = FAULT_INVALID,
        [WHY_MMIO_UPDATING] = FAULT_INVALID,
        [WHY_BROKEN] = -EINVAL,
    };
    bool no_slot = why == WHY_UNCACHED || why == WHY_TOO_HIGH || why == WHY_MMIO_STORED;
    return no_slot && mmu_has_ve(mmu) ? FAULT_VE : results[why];
}

/* ---- The CPU --------------------------------------------------------------------------------- */

/* What the CPU does with an access when it walks these entries. *rights are what all of them
 * allow. */
static enum cpu_answer cpu_walks(const struct mmu *mmu, const struct ept_path *path,
                                 uint64_t access, uint64_t *rights)
{
    uint64_t spte = path->spte[path->lowest];
    *rights = EPT_RWX;
    if (ept_misconfigured(spte, path->lowest, &spte_format.caps))
        return CPU_MISCONFIGURATION;
    for (unsigned level = path->top; level >= path->lowest; level--)
        *rights &= path->spte[level];
    if (!(access & ~*rights))
        return CPU_TRANSLATES;
    return mmu_has_ve(mmu) && spte_is_ve_possible(spte) ? CPU_CONVERTS : CPU_VIOLATION;
}

/* ---- A fault, on a copy of the entries ------------------------------------------------------- */

struct trial {
    struct mmu *mmu;
    const struct memslots *slots;
    const struct memslot *slot;
    uint64_t generation, sequence;
    struct tdp_access access;
    struct ept_path path;
    struct why_exit *exit;
};

/* Stores an entry, which is the lowest one of the path then. */
static void trial_store(struct trial *t, unsigned level, uint64_t spte)
{
    t->path.spte[level] = spte;
    t->path.lowest = level;
}

/* Links a table that contains `child`. */
static void trial_link(struct trial *t, unsigned level, uint64_t child)
{
    t->path.spte[level] = spte_format.nonleaf;
    trial_store(t, level - 1, child);
}

static enum why trial_mmio(struct trial *t)
{
    enum why why = why_no_slot(t->mmu, &t->access);
    if (why != WHY_MMIO_STORED)
        return why;
    for (unsigned l = t->path.top;; l--) {
        uint64_t spte = t->path.spte[l];
        if (spte_is_leaf(spte, l))
            return WHY_MMIO_STRAY;
        switch (map_mmio_step(spte, l)) {
        case MAP_STORE:
            trial_store(
                t, l,
                spte_mmio(t->mmu->mmio_value, t->access.gfn, t->generation & SPTE_GENERATION_MASK));
            return WHY_MMIO_STORED;
        case MAP_LINK:
            t->exit->links++;
            trial_link(t, l, SPTE_NONPRESENT);
            break;
        case MAP_DESCEND:
            break;
        default:
            return WHY_MMIO_FROZEN;
        }
    }
}

static enum why trial_upgrade(struct trial *t, const struct tdp_mapping *want, unsigned level)
{
    uint64_t old = t->path.spte[level], new = map_upgraded_leaf(want, level, old);
    if (map_is_outdated(old, new))
        return WHY_MAP_OUTDATED;
    trial_store(t, level, new);
    return WHY_MAP_UPGRADED;
}

static void trial_split(struct trial *t, const struct tdp_mapping *want, unsigned level)
{
    uint64_t parent = t->path.spte[level];
    uint64_t child = map_child(parent, level, map_split_adds(want, level));
    uint64_t size = ept_frames(level - 1) * PAGE_SIZE;
    t->exit->splits = level;
    trial_link(t, level, child + ept_index(t->access.alias, level - 1) * size);
}

static enum why trial_map(struct trial *t, const struct tdp_mapping *want)
{
    unsigned level = want->level;
    for (unsigned l = t->path.top;; l--) {
        switch (map_next_step(want, t->path.spte[l], l, level)) {
        case MAP_ALLOWED:
            return WHY_MAP_ALLOWS;
        case MAP_UPGRADE:
            return trial_upgrade(t, want, l);
        case MAP_SPLIT:
            trial_split(t, want, l);
            break;
        case MAP_FROZEN:
            return WHY_MAP_FROZEN;
        case MAP_COLLAPSE:
            trial_store(t, l, map_leaf(want, l));
            return WHY_MAP_COLLAPSED;
        case MAP_DESCEND:
            level -= l == level;
            break;
        case MAP_STORE:
            trial_store(t, l, map_leaf(want, l));
            return WHY_MAP_NEW;
        case MAP_LINK:
            t->exit->links++;
            trial_link(t, l, SPTE_NONPRESENT);
            break;
        }
    }
}

/* A frame that has no host page yet is taken to get one of 4 KiB. */
static enum why trial_slot(struct trial *t)
{
    struct tdp_mapping want;
    unsigned level;
    enum why why = why_slot(t->slot, &t->access);
    if (why != WHY_NEXT)
        return why;
    hpa_t page = backing_page(&t->slot->backing, t->access.gfn.v - t->slot->base.v, &level);
    if (page_is_none(page))
        page = HPA(0);
    read_lock(&t->mmu->lock);
    why = fault_is_stale(t->mmu, t->sequence)
              ? WHY_PAGES_LEAVE
              : why_mapping(t->mmu, t->slot, &t->access, page, level, &want);
    read_unlock(&t->mmu->lock);
    return why == WHY_NEXT ? trial_map(t, &want) : why;
}

static enum why trial_fault(struct trial *t, uint32_t error_code)
{
    enum why why = why_role(&t->access);
    if (why == WHY_ROLE_CONVERTS) { /* a leaf for a fetch is installed */
        t->access.bits = EPT_EXECUTE;
        enum why fetch = trial_fault(t, (error_code & ~(uint32_t)EPT_RWX) | ACCESS_FETCH);
        int result = why_result(t->mmu, fetch);
        return result == FAULT_FIXED || result == FAULT_SPURIOUS ? WHY_ROLE_CONVERTS : fetch;
    }
    if (why != WHY_NEXT)
        return why;
    if (fast_is_tried(t->mmu, t->access.gfn, error_code)) {
        uint64_t *lowest = &t->path.spte[t->path.lowest];
        uint64_t new;
        why = why_fast(t->mmu, &t->access, *lowest, t->path.lowest, &new);
        if (why != WHY_NEXT) {
            *lowest = new;
            return why;
        }
    }
    return t->slot ? trial_slot(t) : trial_mmio(t);
}

/* A misconfiguration, where the caches of the vCPU do not know the address. */
static enum why trial_misconfiguration(struct trial *t)
{
    uint64_t *lowest = &t->path.spte[t->path.lowest];
    if (!spte_is_mmio(*lowest, t->mmu->mmio_value))
        return WHY_BROKEN;
    enum why why = why_mmio(t->slots, t->generation, t->access.gfn, *lowest);
    if (why == WHY_MMIO_RENEWED)
        *lowest =
            spte_mmio(t->mmu->mmio_value, t->access.gfn, t->generation & SPTE_GENERATION_MASK);
    if (why_result(t->mmu, why) != FAULT_INVALID)
        return why;
    t->exit->stale = why;
    t->access.bits = 0;
    return trial_fault(t, FAULT_RESERVED);
}

/* ---- The answer ------------------------------------------------------------------------------ */

static void why_look_at_slot(const struct trial *t, struct mmu_why *why)
{
    const struct memslot *slot = t->slot;
    if (!slot)
        return;
    uint64_t offset = why->gfn.v - slot->base.v;
    why->has_slot = true;
    why->slot = *slot;
    why->shared = slot->shared && sides_is_shared(slot, offset);
    why->dirty = slot->dirty &&
                 __atomic_load_n(&slot->dirty[offset / 64], __ATOMIC_RELAXED) >> (offset % 64) & 1;
    why->tracked = slot->tracked ? __atomic_load_n(&slot->tracked[offset], __ATOMIC_RELAXED) : 0;
    why->page = backing_page(&slot->backing, offset, &why->page_level);
    why->populated = !page_is_none(why->page);
    read_lock(&t->mmu->lock);
    why->open = track_is_open(t->mmu, why->gfn);
    read_unlock(&t->mmu->lock);
}

static void why_look_at_change(const struct mmu *mmu, struct mmu_why *why)
{
    why->changing = __atomic_load_n(&mmu->changing.step, __ATOMIC_RELAXED) != NULL;
    why->change = mmu->changing.what.kind;
    why->change_slot = mmu->changing.what.id;
}

static enum why_end end_of(int result)
{
    switch (result) {
    case FAULT_EMULATE:
        return WHY_END_DEVICE;
    case FAULT_WRITE_PROTECTED:
        return WHY_END_TRACKED;
    case FAULT_VE:
        return WHY_END_VE;
    case FAULT_RETRY:
        return WHY_END_REPEATS;
    case FAULT_CONTINUE:
        return WHY_END_MIRROR;
    default:
        return WHY_END_REFUSED;
    }
}

/* The exit that the access causes. Returns true if the guest executes the instruction again, and
 * nothing but this exit has to be waited for. */
static bool why_exits(struct trial *t, struct mmu_why *why, enum cpu_answer cpu, uint64_t rights)
{
    struct why_exit *exit = t->exit = &why->exit[why->exits++];
    t->access = (struct tdp_access){
        .alias = why->alias, .gfn = why->gfn, .role = why->role, .bits = why->access};
    *exit = (struct why_exit){.cpu = cpu, .error_code = FAULT_RESERVED};
    if (cpu == CPU_VIOLATION) {
        exit->error_code = (uint32_t)why->access | FAULT_FINAL | (rights ? FAULT_PRESENT : 0);
        exit->why = trial_fault(t, exit->error_code);
    } else {
        exit->why = trial_misconfiguration(t);
    }
    exit->result = why_result(t->mmu, exit->why);
    exit->after = t->path;
    if (exit->result == FAULT_FIXED || exit->result == FAULT_SPURIOUS)
        return true;
    why->end = end_of(exit->result);
    return false;
}

void mmu_why(struct mmu *mmu, gpa_t gpa, uint64_t access, struct mmu_why *why)
{
    alias_t alias = gpa_to_alias(gpa);
    struct trial t = {.mmu = mmu, .sequence = mmu_invalidate_sequence(mmu)};
    t.slots = memslots(mmu);
    t.generation = memslots_generation(t.slots);
    *why = (struct mmu_why){.gpa = gpa,
                            .access = access,
                            .alias = alias,
                            .gfn = stolen_strip(&mmu->stolen, alias),
                            .role = mmu_role(mmu, gpa),
                            .mmio_value = mmu->mmio_value,
                            .generation = t.generation,
                            .sequence = t.sequence,
                            .end = WHY_END_REPEATS};
    t.slot = memslot_find(t.slots, why->gfn);
    why_look_at_slot(&t, why);
    why_look_at_change(mmu, why);
    if (why->role & ROLE_MIRROR) {
        why->path = tdp_read_path(mmu->mirror.table, mmu->root_level, alias);
        why->end = WHY_END_MIRROR;
        return;
    }
    t.path = why->path = tdp_read_path(mmu->composite, mmu->root_level, alias);
    for (bool again = true; again && why->exits < WHY_EXITS;) {
        uint64_t rights;
        enum cpu_answer cpu = cpu_walks(mmu, &t.path, access, &rights);
        again = cpu != CPU_TRANSLATES && cpu != CPU_CONVERTS && why_exits(&t, why, cpu, rights);
        if (cpu == CPU_TRANSLATES)
            why->end = WHY_END_MEMORY;
        else if (cpu == CPU_CONVERTS)
            why->end = WHY_END_VE;
    }
}

struct why_debt mmu_why_debt(const struct mmu *mmu, unsigned pcpu)
{
    struct why_debt debt = {
        .known = __atomic_load_n(&mmu->tlb.cpus, __ATOMIC_RELAXED) >> pcpu & 1,
        .inside = __atomic_load_n(&tlb_cpus[pcpu].running, __ATOMIC_RELAXED) == mmu,
        .paid = __atomic_load_n(&mmu->tlb.paid[pcpu], __ATOMIC_RELAXED),
        .debt = tlb_debt(mmu),
    };
    debt.owes = debt.known && debt.paid < debt.debt;
    for (unsigned i = 0; debt.owes && i < DEBT_REASONS; i++)
        if (tlb_reason_is_owed(mmu, i, debt.paid))
            debt.reasons |= BIT(i);
    return debt;
}
