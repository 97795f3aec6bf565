/* SPDX-License-Identifier: MIT */
/*
 * Proofs about SPTEs, for CBMC: the statements of each function hold for all values of its
 * nondeterministic inputs. `make prove` runs the functions one by one. any_format() contains what
 * they assume of a machine.
 */
#include "ept/misconfig.h"
#include "mmu/spte.h"
#include "mmu/transition.h"
#include "tests/proofs/proof.h"

/* Any machine: with and without A/D bits, execute-only pages, each page size, and L1TF of any
 * width. */
static void any_format(void)
{
    struct ept_caps caps;
    unsigned maxphyaddr = nondet_unsigned();
    uint64_t msr = nondet_u64() | EPT_CAP_WALK_4 | EPT_CAP_WB | EPT_CAP_INVEPT | EPT_CAP_INVEPT_ALL;
    ASSUME(maxphyaddr >= 36 && maxphyaddr <= 52);
    int error = ept_caps_parse(&caps, msr, maxphyaddr);
    PROVE(!error);
    spte_setup(&caps, nondet_bool(), nondet_bool(), nondet_bool() ? nondet_unsigned() : 0);
}

/* The MMIO value of any VM: the machine's, or that of a VM whose guest takes #VE. */
static uint64_t any_value(void)
{
    return nondet_bool() ? spte_format.mmio_value : 0;
}

static unsigned any_level(void)
{
    unsigned level = nondet_unsigned();
    ASSUME(level >= EPT_LEVEL_4K && level <= EPT_LEVEL_512G);
    return level;
}

/* S8, S9: frame and generation can be read back from an MMIO SPTE, for all frames that get one. */
void prove_mmio_encoding_is_inverse(void)
{
    any_format();
    uint64_t value = any_value();
    gfn_t gfn = GFN(nondet_u64());
    uint64_t generation = nondet_u64();
    ASSUME(value != SPTE_MMIO_NEVER);
    ASSUME(spte_format.mmio_caching && gfn.v < spte_format.mmio_gfn_end);
    uint64_t spte = spte_mmio(value, gfn, generation);
    PROVE(spte_is_mmio(spte, value));
    PROVE(spte_mmio_gfn(spte).v == gfn.v);
    PROVE(spte_mmio_generation(spte) == (generation & SPTE_GENERATION_MASK));
}

/* S2: the classes exclude each other, for every entry and MMIO value. */
void prove_classes_exclude_each_other(void)
{
    any_format();
    uint64_t spte = nondet_u64(), value = any_value();
    bool present = spte_is_present(spte), mmio = spte_is_mmio(spte, value);
    PROVE(present + mmio + (spte == SPTE_NONPRESENT) + (spte == SPTE_FROZEN) <= 1);
    enum spte_class class = spte_classify(spte, any_level(), value);
    PROVE((class == SPTE_CLASS_MMIO) == mmio);
    PROVE((class == SPTE_CLASS_NONPRESENT) == (spte == SPTE_NONPRESENT));
    PROVE((class == SPTE_CLASS_FROZEN) == (spte == SPTE_FROZEN));
    PROVE((class == SPTE_CLASS_NONLEAF || class == SPTE_CLASS_LEAF ||
           class == SPTE_CLASS_TRACKED) == present);
}

/* S12: a VM never takes an MMIO SPTE of a VM of the other kind for one of its own. */
void prove_values_do_not_mix(void)
{
    any_format();
    uint64_t spte = nondet_u64();
    PROVE(!(spte_is_mmio(spte, SPTE_MMIO_VALUE) && spte_is_mmio(spte, 0)));
    PROVE(!spte_is_mmio(spte, SPTE_MMIO_NEVER));
}

/* The CPU's rules for misconfigurations (SDM 3, 29.3.3.1), written a second time, with numbers. */
static bool cpu_refuses(uint64_t entry, unsigned level)
{
    const struct ept_caps *caps = &spte_format.caps;
    unsigned rwx = entry & 7, type = entry >> 3 & 7;
    bool leaf = level == 1 || entry & 0x80;
    if (!rwx)
        return false;
    if (rwx == 2 || rwx == 6 || (rwx == 4 && !caps->exec_only))
        return true;
    if (entry & 0x000fffffffffffff & ~0ull << caps->maxphyaddr)
        return true;
    if (!leaf)
        return entry & 0x78;
    if (level == 4 || (level == 3 && !caps->page_1g) || (level == 2 && !caps->page_2m))
        return true;
    if (type == 2 || type == 3 || type == 7)
        return true;
    return (level == 2 && entry & 0x1ff000) || (level == 3 && entry & 0x3ffff000);
}

/* S13: ept_misconfigured() agrees with the CPU, for every entry on every machine. */
void prove_misconfigurations_are_known(void)
{
    any_format();
    uint64_t entry = nondet_u64();
    unsigned level = any_level();
    PROVE(ept_misconfigured(entry, level, &spte_format.caps) == cpu_refuses(entry, level));
}

/* S13, S15: an entry that the choke point allows is misconfigured only if it is an MMIO SPTE, and
 * cannot cause #VE in a VM without #VE. */
void prove_what_may_be_stored_is_sound(void)
{
    any_format();
    uint64_t old = nondet_u64(), new = nondet_u64();
    unsigned level = any_level();
    if (spte_change_refused(old, new, level, spte_format.mmio_value))
        return;
    PROVE(cpu_refuses(new, level) == spte_is_mmio(new, spte_format.mmio_value));
    ASSUME(new &SPTE_SUPPRESS_VE || !spte_is_present(new)); /* constructors: below */
    PROVE(!spte_is_ve_possible(new));
    PROVE(spte_classify(new, level, spte_format.mmio_value) != SPTE_CLASS_ALIEN);
}

/* Every entry that a constructor returns may be stored. */
void prove_constructors_make_sound_entries(void)
{
    any_format();
    unsigned level = any_level();
    uint64_t page = nondet_u64();
    ASSUME(!(page & ~EPT_ADDRESS) && page >> spte_format.caps.maxphyaddr == 0);
    ASSUME(!(page & (ept_frames(level) * PAGE_SIZE - 1)));
    ASSUME(level == EPT_LEVEL_4K || (level == EPT_LEVEL_2M && spte_format.caps.page_2m) ||
           (level == EPT_LEVEL_1G && spte_format.caps.page_1g));
    uint64_t leaf = spte_leaf(HPA(page), level, nondet_bool());
    PROVE(!spte_change_refused(SPTE_NONPRESENT, leaf, level, spte_format.mmio_value));
    PROVE(spte_page(leaf).v == page);
    PROVE(!spte_is_ve_possible(leaf));

    uint64_t nonleaf = spte_nonleaf(HPA(page));
    PROVE(!spte_change_refused(SPTE_NONPRESENT, nonleaf, EPT_LEVEL_2M, spte_format.mmio_value));
    PROVE(spte_is_nonleaf(nonleaf, EPT_LEVEL_2M) && !spte_is_ve_possible(nonleaf));
}

/* S6, P1: there are no nested guests, so no entry with the A/D type of their pages may be stored.
 */
void prove_a_stored_entry_has_no_type_of_nested_pages(void)
{
    any_format();
    uint64_t old = nondet_u64(), new = nondet_u64();
    if (spte_is_present(new) && new &SPTE_AD_WRPROT_ONLY)
        PROVE(spte_change_refused(old, new, any_level(), spte_format.mmio_value));
}

/* A present entry that may be in a table: it has bit 63, the CPU accepts it, it has some right,
 * which may be saved, and it has MMU_WRITABLE only together with R. */
static bool is_sound(uint64_t spte, unsigned level)
{
    uint64_t read = spte | (spte & SPTE_SAVED) >> SPTE_SAVED_SHIFT;
    return spte_is_present(spte) && spte & SPTE_SUPPRESS_VE && read & EPT_RWX &&
           (read & EPT_READ || !(spte & SPTE_MMU_WRITABLE)) &&
           !spte_change_refused(SPTE_NONPRESENT, spte, level, spte_format.mmio_value);
}

/* Any leaf that can result from a fault, a split, a fast fault, the dirty log or aging. */
static uint64_t any_leaf(unsigned *level)
{
    uint64_t spte = nondet_u64();
    *level = any_level();
    ASSUME(is_sound(spte, *level) && spte_is_leaf(spte, *level));
    ASSUME(!spte_ad_enabled(spte) || spte & EPT_RWX);
    if (spte_is_access_tracked(spte))
        ASSUME(is_sound(spte_restore_access(spte), *level));
    else
        ASSUME(!(spte & SPTE_SAVED));
    return spte;
}

/* A leaf after any change that the MMU or the CPU makes to it in place. */
static uint64_t changed(uint64_t spte)
{
    switch (nondet_unsigned()) {
    case 0: /* the CPU writes */
        return spte & EPT_WRITE ? spte | EPT_ACCESSED | EPT_DIRTY : spte;
    case 1: /* the dirty log */
        return spte & ~(nondet_bool() ? EPT_WRITE : EPT_DIRTY);
    case 2: /* tracking */
        return spte & ~(EPT_WRITE | SPTE_MMU_WRITABLE);
    case 3: /* aging */
        return spte_ad_enabled(spte) ? spte & ~EPT_ACCESSED : spte_track_access(spte);
    default: /* a fast fault */
        if (spte_is_access_tracked(spte))
            spte = spte_restore_access(spte) | EPT_ACCESSED;
        return nondet_bool() && spte & SPTE_MMU_WRITABLE ? spte | EPT_WRITE : spte;
    }
}

/* S13, S15, by induction: after any change in place a sound leaf is sound, and so are the leaves
 * into which it is split. No such change is refused. */
void prove_changes_keep_entries_sound(void)
{
    unsigned level;
    any_format();
    uint64_t old = any_leaf(&level), new = changed(old);
    PROVE(is_sound(new, level) && spte_is_leaf(new, level));
    PROVE(!spte_is_ve_possible(new) && !cpu_refuses(new, level));
    PROVE(spte_is_access_tracked(new) || !(new &SPTE_SAVED));
    PROVE(!spte_change_refused(old, new, level, spte_format.mmio_value));

    uint64_t index = nondet_u64(), child = old;
    ASSUME(level > EPT_LEVEL_4K && index < EPT_ENTRIES);
    if (level - 1 == EPT_LEVEL_4K)
        child &= ~EPT_LARGE;
    child += index * ept_frames(level - 1) * PAGE_SIZE;
    ASSUME(level != EPT_LEVEL_1G || spte_format.caps.page_2m);
    PROVE(is_sound(child, level - 1) && spte_is_leaf(child, level - 1));
    PROVE(spte_page(child).v >> spte_format.caps.maxphyaddr == 0);
}

/* S5: access tracking restores what it has cleared, except W and A. */
void prove_access_tracking_is_inverse(void)
{
    any_format();
    uint64_t leaf = spte_leaf(HPA(nondet_u64() & EPT_ADDRESS), EPT_LEVEL_4K, nondet_bool());
    leaf = (leaf & ~SPTE_AD_TYPE) | SPTE_AD_DISABLED;
    uint64_t tracked = spte_track_access(leaf);
    PROVE(!(tracked & EPT_RWX) && spte_is_access_tracked(tracked));
    PROVE(spte_restore_access(tracked) == (leaf & ~(EPT_WRITE | EPT_ACCESSED)));
}

/* T2, as in the SDM: a change of an entry that is not present owes nothing. Removing a right, a
 * page or an entry always owes a flush, unless a table replaces a leaf (T6). */
void prove_flush_rules(void)
{
    uint64_t old = nondet_u64(), new = nondet_u64();
    unsigned level = any_level();
    bool owes = spte_change_owes_flush(old, new, level);
    bool split = spte_is_leaf(old, level) && spte_is_nonleaf(new, level);
    if (!spte_is_present(old))
        PROVE(!owes);
    else if (!split &&
             (!spte_is_present(new) || (old & ~new &EPT_RWX) || ((old ^ new) & EPT_ADDRESS)))
        PROVE(owes);
    PROVE(!(old == new &&owes));
}

/* The first frame of an entry and any of its frames have the same index, at every level. */
void prove_frame_arithmetic(void)
{
    gfn_t gfn = GFN(nondet_u64() & (BIT(36) - 1));
    unsigned level = any_level();
    gfn_t first = ept_first_frame(gfn, level);
    PROVE(first.v <= gfn.v && gfn.v - first.v < ept_frames(level));
    PROVE(ept_index(ALIAS(first.v), level) == ept_index(ALIAS(gfn.v), level));
    PROVE(ept_index(ALIAS(gfn.v), level) < EPT_ENTRIES);
}

/* S3, S13, S14: a default leaf over an entry that is empty or FROZEN, which the choke point
 * (mmu/store.h) stores without checks, would pass all checks. */
void prove_a_default_leaf_needs_no_checks(void)
{
    any_format();
    spte_deny_large(nondet_bool() ? EPT_EXECUTE : 0);
    uint64_t spte = nondet_u64(), value = any_value();
    unsigned level = any_level();
    uint64_t old = nondet_bool() ? SPTE_NONPRESENT : SPTE_FROZEN;
    ASSUME(spte_is_default_leaf(spte, level));
    PROVE(!spte_change_refused(old, spte, level, value));
    PROVE(!spte_change_owes_flush(old, spte, level));
    PROVE(spte_is_leaf(spte, level) && !(spte & SPTE_NX_SPLIT));
}

/* W4, X2: making an empty entry FROZEN is always allowed, owes nothing and changes no count. */
void prove_holding_an_empty_entry_needs_no_checks(void)
{
    any_format();
    uint64_t value = any_value();
    unsigned level = any_level();
    PROVE(!spte_change_refused(SPTE_NONPRESENT, SPTE_FROZEN, level, value));
    PROVE(!spte_change_owes_flush(SPTE_NONPRESENT, SPTE_FROZEN, level));
    PROVE(!spte_is_leaf(SPTE_FROZEN, level) && !spte_is_present(SPTE_FROZEN));
    PROVE(!spte_is_mmio(SPTE_FROZEN, value));
}

/* S7, T2: removing a default leaf, in which the CPU may have set A and D, is always allowed, and
 * owes a flush. */
void prove_removing_a_default_leaf_needs_no_checks(void)
{
    any_format();
    spte_deny_large(nondet_bool() ? EPT_EXECUTE : 0);
    uint64_t spte = nondet_u64(), value = any_value();
    unsigned level = any_level();
    ASSUME(spte_was_default_leaf(spte, level));
    PROVE(!spte_change_refused(spte, SPTE_NONPRESENT, level, value));
    PROVE(spte_change_owes_flush(spte, SPTE_NONPRESENT, level));
    PROVE(spte_is_leaf(spte, level) && !(spte & SPTE_NX_SPLIT));
}

/* F4: another generation for an MMIO SPTE is always allowed and owes nothing, and the entry stays
 * an MMIO SPTE of the same frame. */
void prove_a_renewal_needs_no_checks(void)
{
    any_format();
    uint64_t old = nondet_u64(), new = nondet_u64(), value = any_value();
    ASSUME(value != SPTE_MMIO_NEVER && spte_is_renewal(old, new, value));
    PROVE(spte_is_mmio(new, value) && spte_mmio_gfn(new).v == spte_mmio_gfn(old).v);
    PROVE(!spte_change_refused(old, new, EPT_LEVEL_4K, value));
    PROVE(!spte_change_owes_flush(old, new, EPT_LEVEL_4K));
}

/* S3, S4, S14: a change of A and D alone in a leaf that may be in a table is always allowed, and
 * owes nothing. */
void prove_a_and_d_need_no_checks(void)
{
    any_format();
    uint64_t old = nondet_u64(), new = nondet_u64(), value = any_value();
    unsigned level = any_level();
    ASSUME(spte_change_is_of_ad(old, new, level));
    ASSUME(!spte_change_refused(SPTE_NONPRESENT, old, level, value));
    PROVE(!spte_change_refused(old, new, level, value));
    PROVE(!spte_change_owes_flush(old, new, level));
    PROVE(spte_is_leaf(new, level) && !((old ^ new) & SPTE_NX_SPLIT));
}
