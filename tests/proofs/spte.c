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

/* S13, S15: whatever the choke point lets pass into a table is no misconfiguration by accident, and
 * in a VM without #VE no #VE candidate. */
void prove_what_may_be_stored_is_sound(void)
{
    any_format();
    uint64_t old = nondet_word(), new = nondet_word();
    unsigned level = any_level();
    if (spte_change_refused(old, new, level, spte_format.mmio_value))
        return;
    bool misconfigured = ept_misconfigured(new, level, &spte_format.caps);
    PROVE(misconfigured == spte_is_mmio(new, spte_format.mmio_value));
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

/* S3, S13, S14: what the choke point stores without asking (mmu/tdp.h) would pass each question. */
void prove_usual_leaf_needs_no_questions(void)
{
    any_format();
    spte_deny_large(nondet_bool() ? EPT_EXECUTE : 0);
    uint64_t word = nondet_word(), value = any_value();
    unsigned level = any_level();
    ASSUME(spte_is_usual_leaf(word, level));
    PROVE(!spte_change_refused(SPTE_NONPRESENT, word, level, value));
    PROVE(!spte_change_owes_flush(SPTE_NONPRESENT, word, level));
    PROVE(spte_is_leaf(word, level) && !(word & SPTE_NX_SPLIT));
}

/* S3, S4, S14: nor is there anything to ask where of a leaf that may be there only A and D change.
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
