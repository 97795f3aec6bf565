/* SPDX-License-Identifier: MIT */
/*
 * Proofs over SPTE words, for CBMC: each function below is true for all values of its undetermined
 * inputs. `make prove` runs them one by one. What they assume of a machine is in any_format().
 */
#include "ept/misconfig.h"
#include "mmu/spte.h"
#include "mmu/transition.h"
#include "tests/proofs/proof.h"

/* Any machine: with or without A/D, execute-only pages, each page size, L1TF of any width. */
static void any_format(void)
{
    struct ept_caps caps;
    unsigned maxphyaddr = nondet_unsigned();
    uint64_t msr =
        nondet_word() | EPT_CAP_WALK_4 | EPT_CAP_WB | EPT_CAP_INVEPT | EPT_CAP_INVEPT_ALL;
    ASSUME(maxphyaddr >= 36 && maxphyaddr <= 52);
    int error = ept_caps_parse(&caps, msr, maxphyaddr);
    PROVE(!error);
    spte_setup(&caps, nondet_bool(), nondet_bool(), nondet_bool() ? nondet_unsigned() : 0);
}

/* The VM's own value: the machine's, or that of a VM whose guest takes #VE. */
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

/* S8, S9: what goes into an MMIO SPTE comes out of it, for all frames that get one. */
void prove_mmio_encoding_is_inverse(void)
{
    any_format();
    uint64_t value = any_value();
    gfn_t gfn = GFN(nondet_word());
    uint64_t generation = nondet_word();
    ASSUME(value != SPTE_MMIO_NEVER);
    ASSUME(spte_format.mmio_caching && gfn.v < spte_format.mmio_gfn_end);
    uint64_t spte = spte_mmio(value, gfn, generation);
    PROVE(spte_is_mmio(spte, value));
    PROVE(spte_mmio_gfn(spte).v == gfn.v);
    PROVE(spte_mmio_generation(spte) == (generation & SPTE_GENERATION_MASK));
}

/* S2: present words, the three others and aliens exclude each other, for every word and value. */
void prove_classes_exclude_each_other(void)
{
    any_format();
    uint64_t word = nondet_word(), value = any_value();
    bool present = spte_is_present(word), mmio = spte_is_mmio(word, value);
    PROVE(present + mmio + (word == SPTE_NONPRESENT) + (word == SPTE_FROZEN) <= 1);
    enum spte_class class = spte_classify(word, any_level(), value);
    PROVE((class == SPTE_CLASS_MMIO) == mmio);
    PROVE((class == SPTE_CLASS_NONPRESENT) == (word == SPTE_NONPRESENT));
    PROVE((class == SPTE_CLASS_FROZEN) == (word == SPTE_FROZEN));
    PROVE((class == SPTE_CLASS_NONLEAF || class == SPTE_CLASS_LEAF ||
           class == SPTE_CLASS_TRACKED) == present);
}

/* Two kinds of VM never take each other's MMIO SPTE for one of their own (S12). */
void prove_values_do_not_mix(void)
{
    any_format();
    uint64_t word = nondet_word();
    PROVE(!(spte_is_mmio(word, SPTE_MMIO_VALUE) && spte_is_mmio(word, 0)));
    PROVE(!spte_is_mmio(word, SPTE_MMIO_NEVER));
}

/* What the CPU takes for a misconfiguration (SDM 3, 29.3.3.1), in numbers: a second opinion. */
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

/* S13: the MMU knows what the CPU refuses, of every word on every machine. */
void prove_misconfigurations_are_known(void)
{
    any_format();
    uint64_t entry = nondet_word();
    unsigned level = any_level();
    PROVE(ept_misconfigured(entry, level, &spte_format.caps) == cpu_refuses(entry, level));
}

/* S13, S15: whatever the choke point lets pass into a table is no misconfiguration by accident, and
 * in a VM without #VE no #VE candidate. */
void prove_what_may_be_stored_is_sound(void)
{
    any_format();
    uint64_t old = nondet_word(), new = nondet_word();
    unsigned level = any_level();
    if (spte_change_refused(old, new, level, spte_format.mmio_value))
        return;
    PROVE(cpu_refuses(new, level) == spte_is_mmio(new, spte_format.mmio_value));
    ASSUME(new &SPTE_SUPPRESS_VE || !spte_is_present(new)); /* constructors: below */
    PROVE(!spte_is_ve_possible(new));
    PROVE(spte_classify(new, level, spte_format.mmio_value) != SPTE_CLASS_ALIEN);
}

/* Every word that is constructed may be stored. */
void prove_constructors_make_sound_words(void)
{
    any_format();
    unsigned level = any_level();
    uint64_t page = nondet_word();
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

/* S6, P1: no VM here has a guest of its own, so no word says that it is one's. */
void prove_a_stored_word_has_no_type_of_nested_pages(void)
{
    any_format();
    uint64_t old = nondet_word(), new = nondet_word();
    if (spte_is_present(new) && new &SPTE_AD_WRPROT_ONLY)
        PROVE(spte_change_refused(old, new, any_level(), spte_format.mmio_value));
}

/* What may stand in a table: bit 63, what the CPU accepts, some right, be it saved away, and
 * MMU_WRITABLE only beside R. */
static bool is_sound(uint64_t spte, unsigned level)
{
    uint64_t read = spte | (spte & SPTE_SAVED) >> SPTE_SAVED_SHIFT;
    return spte_is_present(spte) && spte & SPTE_SUPPRESS_VE && read & EPT_RWX &&
           (read & EPT_READ || !(spte & SPTE_MMU_WRITABLE)) &&
           !spte_change_refused(SPTE_NONPRESENT, spte, level, spte_format.mmio_value);
}

/* Any leaf that a fault, a split, a fast fault, the dirty log or aging may have left behind. */
static uint64_t any_leaf(unsigned *level)
{
    uint64_t spte = nondet_word();
    *level = any_level();
    ASSUME(is_sound(spte, *level) && spte_is_leaf(spte, *level));
    ASSUME(!spte_ad_enabled(spte) || spte & EPT_RWX);
    if (spte_is_access_tracked(spte))
        ASSUME(is_sound(spte_restore_access(spte), *level));
    else
        ASSUME(!(spte & SPTE_SAVED));
    return spte;
}

/* What the MMU and the CPU do to a leaf in place. */
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

/* S13, S15, by induction: a sound leaf stays sound, whatever is done to it in place, and so are the
 * small ones that it is split into. Nor is any such change refused. */
void prove_changes_keep_words_sound(void)
{
    unsigned level;
    any_format();
    uint64_t old = any_leaf(&level), new = changed(old);
    PROVE(is_sound(new, level) && spte_is_leaf(new, level));
    PROVE(!spte_is_ve_possible(new) && !cpu_refuses(new, level));
    PROVE(spte_is_access_tracked(new) || !(new &SPTE_SAVED));
    PROVE(!spte_change_refused(old, new, level, spte_format.mmio_value));

    uint64_t index = nondet_word(), child = old;
    ASSUME(level > EPT_LEVEL_4K && index < EPT_ENTRIES);
    if (level - 1 == EPT_LEVEL_4K)
        child &= ~EPT_LARGE;
    child += index * ept_frames(level - 1) * PAGE_SIZE;
    ASSUME(level != EPT_LEVEL_1G || spte_format.caps.page_2m);
    PROVE(is_sound(child, level - 1) && spte_is_leaf(child, level - 1));
    PROVE(spte_page(child).v >> spte_format.caps.maxphyaddr == 0);
}

/* S5: access tracking gives back what it took, but W. */
void prove_access_tracking_is_inverse(void)
{
    any_format();
    uint64_t leaf = spte_leaf(HPA(nondet_word() & EPT_ADDRESS), EPT_LEVEL_4K, nondet_bool());
    leaf = (leaf & ~SPTE_AD_TYPE) | SPTE_AD_DISABLED;
    uint64_t tracked = spte_track_access(leaf);
    PROVE(!(tracked & EPT_RWX) && spte_is_access_tracked(tracked));
    PROVE(spte_restore_access(tracked) == (leaf & ~(EPT_WRITE | EPT_ACCESSED)));
}

/* T2 as the SDM has it: from what is not present nothing is owed; a right, a page or an entry that
 * goes is always owed for, unless a table takes the place of a leaf (T6). */
void prove_flush_rules(void)
{
    uint64_t old = nondet_word(), new = nondet_word();
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

/* Frames of one entry: the first one and the index agree, at every level. */
void prove_frame_arithmetic(void)
{
    gfn_t gfn = GFN(nondet_word() & (BIT(36) - 1));
    unsigned level = any_level();
    gfn_t first = ept_first_frame(gfn, level);
    PROVE(first.v <= gfn.v && gfn.v - first.v < ept_frames(level));
    PROVE(ept_index(ALIAS(first.v), level) == ept_index(ALIAS(gfn.v), level));
    PROVE(ept_index(ALIAS(gfn.v), level) < EPT_ENTRIES);
}

/* S3, S13, S14: what the choke point (mmu/store.h) stores without asking would pass each question.
 */
void prove_default_leaf_needs_no_questions(void)
{
    any_format();
    spte_deny_large(nondet_bool() ? EPT_EXECUTE : 0);
    uint64_t word = nondet_word(), value = any_value();
    unsigned level = any_level();
    ASSUME(spte_is_default_leaf(word, level));
    PROVE(!spte_change_refused(SPTE_NONPRESENT, word, level, value));
    PROVE(!spte_change_owes_flush(SPTE_NONPRESENT, word, level));
    PROVE(spte_is_leaf(word, level) && !(word & SPTE_NX_SPLIT));
}

/* S7, T2: nor where one goes, whatever the CPU set in it: it may, and it owes a flush. */
void prove_a_default_leaf_that_goes_needs_no_questions(void)
{
    any_format();
    spte_deny_large(nondet_bool() ? EPT_EXECUTE : 0);
    uint64_t word = nondet_word(), value = any_value();
    unsigned level = any_level();
    ASSUME(spte_was_default_leaf(word, level));
    PROVE(!spte_change_refused(word, SPTE_NONPRESENT, level, value));
    PROVE(spte_change_owes_flush(word, SPTE_NONPRESENT, level));
    PROVE(spte_is_leaf(word, level) && !(word & SPTE_NX_SPLIT));
}

/* F4: nor where an MMIO SPTE gets another generation: it stays one, of the same frame, and nothing
 * is owed. */
void prove_a_renewal_needs_no_questions(void)
{
    any_format();
    uint64_t old = nondet_word(), new = nondet_word(), value = any_value();
    ASSUME(value != SPTE_MMIO_NEVER && spte_is_renewal(old, new, value));
    PROVE(spte_is_mmio(new, value) && spte_mmio_gfn(new).v == spte_mmio_gfn(old).v);
    PROVE(!spte_change_refused(old, new, EPT_LEVEL_4K, value));
    PROVE(!spte_change_owes_flush(old, new, EPT_LEVEL_4K));
}

/* S3, S4, S14: nor is there anything to ask where only A and D of a leaf change that may be there.
 */
void prove_a_and_d_need_no_questions(void)
{
    any_format();
    uint64_t old = nondet_word(), new = nondet_word(), value = any_value();
    unsigned level = any_level();
    ASSUME(spte_change_is_of_ad(old, new, level));
    ASSUME(!spte_change_refused(SPTE_NONPRESENT, old, level, value));
    PROVE(!spte_change_refused(old, new, level, value));
    PROVE(!spte_change_owes_flush(old, new, level));
    PROVE(spte_is_leaf(new, level) && !((old ^ new) & SPTE_NX_SPLIT));
}
