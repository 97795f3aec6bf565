/* SPDX-License-Identifier: MIT */
#include "mmu/look.h"

#include "lib/string.h"
#include "mmu/backing.h"
#include "mmu/memslot.h"
#include "mmu/mirror.h"
#include "mmu/sides.h"
#include "mmu/spte.h"
#include "mmu/tdp.h"
#include "mmu/track.h"

static void look_at_slot(const struct mmu *mmu, gfn_t gfn, struct mmu_look *look)
{
    const struct memslot *slot = memslot_find(memslots(mmu), gfn);
    look->page = PAGE_NONE;
    if (!slot)
        return;
    uint64_t offset = gfn.v - slot->base.v;
    look->in_slot = true;
    look->slot = *slot;
    look->page = backing_page(&slot->backing, offset, &look->page_level);
    look->shared = slot->shared && sides_is_shared(slot, offset);
    look->tracked = slot->tracked ? __atomic_load_n(&slot->tracked[offset], __ATOMIC_RELAXED) : 0;
    look->dirty = slot->dirty &&
                  __atomic_load_n(&slot->dirty[offset / 64], __ATOMIC_RELAXED) & BIT(offset % 64);
}

/* The private root of a VM with a mirror is the mirror, which the CPU does not walk. */
void mmu_look(const struct mmu *mmu, gpa_t gpa, unsigned number, struct mmu_look *look)
{
    const struct root *root = &mmu->roots[number];
    bool mirrored = root->role & ROLE_MIRROR && mmu->mirror.table;
    const uint64_t *table = mirrored ? mmu->mirror.table : mmu->composite, *sptep;
    gfn_t gfn = mmu_gfn(mmu, gpa);
    *look = (struct mmu_look){.root = root, .alias = root_alias(root, gfn)};
    look_at_slot(mmu, gfn, look);
    if (gfn.v >= memslot_gfn_end(mmu))
        return; /* the tables cannot index this frame */
    alias_t alias = mirrored ? ALIAS(gfn.v) : look->alias;
    for (unsigned level = mmu->root_level;;) {
        unsigned at = level;
        uint64_t spte = tdp_descend(table, &at, alias, level, &sptep);
        look->entries[look->count].level = level;
        look->entries[look->count++].spte = spte;
        if (level == EPT_LEVEL_4K || !spte_has_table(spte))
            return;
        table = tdp_table(spte);
        level--;
    }
}

bool mmu_look_slot(const struct mmu *mmu, unsigned index, struct memslot *slot)
{
    const struct memslots *slots = memslots(mmu);
    if (index >= slots->used)
        return false;
    *slot = slots->slot[index];
    return true;
}

struct mmu_memory mmu_memory_at(const struct mmu *mmu, gpa_t gpa, bool *tracked)
{
    gfn_t gfn = mmu_gfn(mmu, gpa);
    const struct memslot *slot = memslot_find(memslots(mmu), gfn);
    *tracked = slot && track_is(slot, gfn.v - slot->base.v);
    return slot && slot->tracked ? (struct mmu_memory){*track_number(slot), gfn.v - slot->base.v}
                                 : (struct mmu_memory){0};
}

bool mmu_memory_place(const struct mmu *mmu, const struct mmu_memory *memory, gpa_t *gpa)
{
    const struct memslots *slots = memslots(mmu);
    for (unsigned i = 0; memory->born && i < slots->used; i++) {
        const struct memslot *slot = &slots->slot[i];
        if (!slot->tracked || *track_number(slot) != memory->born)
            continue;
        *gpa = gfn_to_gpa(GFN(slot->base.v + memory->frame));
        return true;
    }
    return false;
}

uint64_t mmu_look_dirty(const struct memslot *slot)
{
    uint64_t count = 0;
    for (uint64_t i = 0; i < (slot->backing.pages + 63) / 64; i++)
        for (uint64_t left = __atomic_load_n(&slot->dirty[i], __ATOMIC_RELAXED); left;
             left &= left - 1)
            count++;
    return count;
}

/* ---- In words -------------------------------------------------------------------------------- */

static const struct {
    uint64_t bit;
    const char *name;
    bool leaf; /* of a leaf only */
} bit_names[] = {
    {EPT_IPAT, "ignore PAT", true},
    {EPT_ACCESSED, "accessed", false},
    {EPT_DIRTY, "dirty", true},
    {EPT_EXECUTE_USER, "user execute", false},
    {SPTE_AD_DISABLED, "A/D by software", false},
    {SPTE_AD_WRPROT_ONLY, "dirty by write protection", false},
    {SPTE_HOST_WRITABLE, "host-writable", true},
    {SPTE_MMU_WRITABLE, "MMU-writable", true},
    {SPTE_NX_SPLIT, "split because it was executed", false},
    {SPTE_SUPPRESS_VE, "suppress #VE", false},
};

static void present_text(uint64_t spte, unsigned level, char *text, size_t size)
{
    static const char *const sizes[] = {"", "4 KiB", "2 MiB", "1 GiB", "512 GiB"};
    static const char *const types[] = {"UC", "WC", "type 2", "type 3", "WT", "WP", "WB", "type 7"};
    bool leaf = spte_is_leaf(spte, level);
    size_t used = (size_t)snprintf(
        text, size, leaf ? "%s page at HPA %#lx, %s%s%s" : "%stable at HPA %#lx, %s%s%s",
        leaf ? sizes[level] : "", spte_page(spte).v, spte & EPT_READ ? "R" : "-",
        spte & EPT_WRITE ? "W" : "-", spte & EPT_EXECUTE ? "X" : "-");
    if (leaf && used < size)
        used +=
            (size_t)snprintf(text + used, size - used, ", %s", types[field_get(spte, EPT_MEMTYPE)]);
    for (unsigned i = 0; i < ARRAY_SIZE(bit_names) && used < size; i++)
        if (spte & bit_names[i].bit && (leaf || !bit_names[i].leaf))
            used += (size_t)snprintf(text + used, size - used, ", %s", bit_names[i].name);
    if (spte & SPTE_SAVED && used < size)
        snprintf(text + used, size - used, ", saved %s%s",
                 spte & EPT_READ << SPTE_SAVED_SHIFT ? "R" : "",
                 spte & EPT_EXECUTE << SPTE_SAVED_SHIFT ? "X" : "");
}

void spte_text(const struct mmu *mmu, uint64_t spte, unsigned level, uint64_t generation,
               char *text, size_t size)
{
    if (spte == SPTE_NONPRESENT) {
        snprintf(text, size, "nothing is mapped");
    } else if (spte == SPTE_FROZEN) {
        snprintf(text, size, "frozen: a CPU is changing it");
    } else if (spte_is_present(spte)) {
        present_text(spte, level, text, size);
    } else if (spte_is_mmio(spte, mmu->mmio_value)) {
        uint64_t own = spte_mmio_generation(spte), now = generation & SPTE_GENERATION_MASK;
        snprintf(text, size, "MMIO of generation %#lx, %s", own, own == now ? "current" : "stale");
    } else {
        snprintf(text, size, "not present");
    }
}

void memslot_flags_text(uint32_t flags, char *text, size_t size)
{
    static const struct {
        uint64_t flag;
        const char *name;
    } names[] = {
        {MEMSLOT_READONLY, "read-only"},      {MEMSLOT_LOG_DIRTY, "logs dirty pages"},
        {MEMSLOT_SHARED, "begins shared"},    {MEMSLOT_PINNED, "pinned"},
        {MEMSLOT_SIDED, "private or shared"}, {MEMSLOT_INVALID, "being deleted or moved"},
    };
    size_t used = 0;
    text[0] = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(names) && used < size; i++)
        if (flags & names[i].flag)
            used +=
                (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", names[i].name);
    if (!used)
        snprintf(text, size, "read and write");
}
