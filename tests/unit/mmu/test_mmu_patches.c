/* SPDX-License-Identifier: MIT */
/*
 * The 24 patches of the MMU_PRESENT series as a list: what each requires (rules P1 to P24), as a
 * test or a static assertion under its number. For a patch that only moved or renamed code, it is
 * the property that the move protects.
 */
#include "tests/unit/mmu/mmu_world.h"

#include <string.h>

#include "ept/misconfig.h"
#include "mmu/transition.h"

static struct mmu mmu;
static const struct mmu_config config = {.mmio_caching = true, .ad = true, .huge = true};

static int setup_with(uint64_t msr, const struct mmu_config *with)
{
    world_reset(msr, with);
    if (mmu_create(&mmu))
        return -1;
    return mmu_slot_add(&mmu, 0, GPA(0x200000), 1024, 0);
}

static int setup(void **state)
{
    (void)state;
    return setup_with(WORLD_CAPS, &config);
}

static int teardown(void **state)
{
    (void)state;
    mmu_destroy(&mmu);
    return support_pages_in_use() ? -1 : 0;
}

#define P(number, name) static void p##number##_##name(void **state)
#define DEVICE          0xfe000000ull

static uint64_t spte_of(uint64_t gpa)
{
    unsigned level;
    return mmu_spte(&mmu, GPA(gpa), &level);
}

P(1, no_wrprot_only_without_pml_and_a_nested_guest)
{
    (void)state;
    world_touch(&mmu, GPA(0x200000), ACCESS_WRITE);
    assert_int_not_equal(spte_of(0x200000) & SPTE_AD_TYPE, SPTE_AD_WRPROT_ONLY);
    assert_int_not_equal(spte_format.leaf & SPTE_AD_TYPE, SPTE_AD_WRPROT_ONLY);
    assert_int_not_equal(spte_format.nonleaf & SPTE_AD_TYPE, SPTE_AD_WRPROT_ONLY);
    uint64_t nested = spte_leaf(HPA(0x5000), 1, true) | SPTE_AD_WRPROT_ONLY;
    assert_non_null(spte_change_refused(SPTE_NONPRESENT, nested, 1, mmu.mmio_value));
}

P(2, present_is_asked_first)
{
    (void)state; /* the same "page" in both: the compare of pages must not be reached */
    uint64_t leaf = spte_leaf(HPA(0x5000), 1, true), mmio = spte_mmio(6, GFN(5), 1);
    assert_null(spte_change_refused(mmio, leaf, 1, 6));
    assert_null(spte_change_refused(spte_mmio(6, GFN(7), 1), leaf, 1, 6));
    assert_false(spte_change_owes_flush(spte_mmio(6, GFN(7), 1), leaf, 1));
    assert_false(spte_is_access_tracked(SPTE_AD_DISABLED));
}

P(3, fast_faults_leave_what_is_not_present_alone)
{
    (void)state;
    struct mmio_info info;
    uint64_t changes = mmu_stats(&mmu).spte_changes;
    /* The slow path decides, even if the exit says that the entry was present. */
    assert_int_equal(
        mmu_fault(&mmu, GPA(0x200000), ACCESS_WRITE | FAULT_PRESENT | FAULT_FINAL, &info),
        FAULT_FIXED);
    assert_int_equal(mmu_stats(&mmu).fast_faults, 0);
    assert_true(mmu_stats(&mmu).spte_changes > changes);
}

P(4, l1tf_collision_turns_caching_off)
{
    (void)state;
    struct mmu_config flawed = config;
    flawed.l1tf_cache_bits =
        51; /* the mask would overlap the bits that tell the class of an entry */
    assert_int_equal(mmu_setup(&spte_format.caps, &flawed), 0);
    assert_false(mmu_config()->mmio_caching);
    assert_int_equal(spte_format.mmio_value, SPTE_MMIO_NEVER);
}

P(5, an_invalid_slot_is_a_retry)
{
    (void)state;
    struct mmio_info info;
    mmu.slots->slot[0].flags |= (uint32_t)MEMSLOT_INVALID;
    assert_int_equal(mmu_fault(&mmu, GPA(0x200000), ACCESS_READ, &info), FAULT_RETRY);
    assert_int_equal(info.generation, 0);
    assert_int_equal(spte_of(0x200000), SPTE_NONPRESENT);
    mmu.slots->slot[0].flags = 0;
}

P(6, no_mmio_spte_with_caching_off)
{
    (void)state;
    struct mmu_config off = config;
    off.mmio_caching = false;
    mmu_destroy(&mmu);
    assert_int_equal(setup_with(WORLD_CAPS, &off), 0);
    struct world_access a = world_touch(&mmu, GPA(DEVICE), ACCESS_READ);
    assert_int_equal(a.outcome, FAULT_EMULATE);
    assert_true(a.info.generation == mmu_slot_generation(&mmu)); /* the vCPU may cache it */
    assert_int_equal(mmu_stats(&mmu).mmio_spte_created, 0);
}

P(7, mmio_over_present_drops_flushes_installs)
{
    (void)state;
    world_touch(&mmu, GPA(0x200000), ACCESS_READ);
    uint64_t generation = mmu_slot_generation(&mmu), debt = mmu.tlb.debt;
    assert_int_equal(tdp_top_up(mmu_self(&mmu)), 0);
    assert_int_equal(tdp_map_mmio(mmu_self(&mmu), ALIAS(0x200), GFN(0x200), generation),
                     FAULT_EMULATE);
    assert_int_equal(support_warnings(), 1);
    assert_true(mmu.tlb.debt > debt);
    assert_true(spte_is_mmio(spte_of(0x200000), mmu.mmio_value));
    assert_non_null(spte_change_refused(spte_leaf(HPA(0x5000), 1, true), spte_mmio(6, GFN(5), 1), 1,
                                        6)); /* never in one step */
}

P(8, one_event_per_change)
{
    (void)state;
    world_touch(&mmu, GPA(DEVICE), ACCESS_READ);
    uint64_t changes = mmu_stats(&mmu).spte_changes, marks = mmu_stats(&mmu).mmio_spte_created;
    world_touch(&mmu, GPA(DEVICE + 0x1000), ACCESS_READ);
    assert_int_equal(mmu_stats(&mmu).spte_changes, changes + 1);
    assert_int_equal(mmu_stats(&mmu).mmio_spte_created, marks + 1);
    world_touch(&mmu, GPA(DEVICE + 0x1000), ACCESS_READ);
    assert_int_equal(mmu_stats(&mmu).spte_changes, changes + 1);
}

P(9, helpers_return_whole_sptes)
{
    (void)state; /* the values are complete */
    assert_null(spte_change_refused(SPTE_NONPRESENT, spte_leaf(HPA(0x5000), 1, true), 1, 6));
    assert_null(spte_change_refused(SPTE_NONPRESENT, spte_leaf(HPA(0x200000), 2, false), 2, 6));
    assert_null(spte_change_refused(SPTE_NONPRESENT, spte_nonleaf(HPA(0x5000)), 4, 6));
    assert_null(spte_change_refused(SPTE_NONPRESENT, spte_mmio(6, GFN(5), 1), 1, 6));
}

P(10, mmio_is_known_by_the_vms_own_value)
{
    (void)state;
    uint64_t word = spte_mmio(SPTE_MMIO_VALUE, GFN(5), 1), zero = spte_mmio(0, GFN(5), 1);
    assert_true(spte_is_mmio(word, SPTE_MMIO_VALUE) && !spte_is_mmio(word, 0));
    assert_true(spte_is_mmio(zero, 0) && !spte_is_mmio(zero, SPTE_MMIO_VALUE));
}

P(11, the_configuration_says_what_is_done)
{
    (void)state;
    struct mmu_config impossible = config;
    impossible.l1tf_cache_bits = 20;
    assert_int_equal(mmu_setup(&spte_format.caps, &impossible), 0);
    assert_false(mmu_config()->mmio_caching);
    assert_int_equal(mmu_setup(&spte_format.caps, &config), 0);
    assert_true(mmu_config()->mmio_caching); /* the request was not lost */
}

_Static_assert(SPTE_AD_ENABLED == 0, "P12: the ordinary type has no bits");
_Static_assert(SPTE_AD_TYPE == (SPTE_AD_DISABLED | SPTE_AD_WRPROT_ONLY), "P13: nor any others");
_Static_assert(!(SPTE_AD_TYPE & (SPTE_SAVED | SPTE_HOST_WRITABLE | SPTE_MMU_WRITABLE)),
               "P13: the type's bits are its own");

P(14, saved_access_comes_back_as_it_was)
{
    (void)state;
    uint64_t leaf = (spte_leaf(HPA(0x5000), 1, true) & ~SPTE_AD_TYPE) | SPTE_AD_DISABLED;
    uint64_t tracked = spte_track_access(leaf);
    assert_int_equal(tracked & (EPT_RWX | EPT_ACCESSED), 0);
    assert_int_equal(spte_restore_access(tracked), leaf & ~(EPT_WRITE | EPT_ACCESSED));
}

P(15, the_format_is_computed_afresh)
{
    (void)state;
    struct spte_format first = spte_format;
    struct mmu_config other = {.l1tf_cache_bits = 44};
    assert_int_equal(mmu_setup(&first.caps, &other), 0);
    assert_int_equal(mmu_setup(&first.caps, &config), 0);
    assert_memory_equal(&spte_format, &first, sizeof(first));
}

P(16, nothing_is_left_of_earlier_settings)
{
    (void)state; /* each setup gives the same entries, whatever setup came before */
    struct ept_caps caps = spte_format.caps;
    struct spte_format fresh[4], again;
    for (unsigned i = 0; i < 4; i++) {
        spte_setup(&caps, i & 1, i & 2, 0);
        fresh[i] = spte_format;
    }
    for (unsigned i = 0; i < 16; i++) {
        spte_setup(&caps, i >> 2 & 1, i >> 2 & 2, i & 4 ? 44 : 0);
        spte_setup(&caps, i & 1, i & 2, 0);
        again = spte_format;
        assert_memory_equal(&again, &fresh[i % 4], sizeof(again));
    }
}

P(17, the_vendor_passes_capabilities)
{
    (void)
        state; /* A/D bits requested, and the CPU has none: the other type, and EPTP_AD is clear */
    mmu_destroy(&mmu);
    assert_int_equal(setup_with(WORLD_CAPS & ~(EPT_CAP_AD | EPT_CAP_EXEC_ONLY), &config), 0);
    assert_false(mmu_config()->ad);
    assert_int_equal(mmu_eptp(&mmu) & EPTP_AD, 0);
    assert_true(ept_misconfigured(EPT_EXECUTE, 1, &spte_format.caps));
}

_Static_assert(SPTE_HOST_WRITABLE == 1ull << 57 && SPTE_MMU_WRITABLE == 1ull << 58,
               "P18, P19: the table has them at 57 and 58");

P(20, bit_11_alone_says_present)
{
    (void)state;
    world_touch(&mmu, GPA(0x200000), ACCESS_WRITE);
    assert_true(spte_of(0x200000) & 1ull << 11);
    assert_true(mmu.composite[0] & 1ull << 11); /* tables, too */
    for (unsigned bit = 0; bit < 64; bit++)
        assert_int_equal(spte_is_present(1ull << bit), bit == 11);
}

P(21, no_ad_type_of_what_is_not_present)
{
    (void)state;
    expect_assert_failure((void)!spte_track_access(SPTE_NONPRESENT));
    expect_assert_failure((void)!spte_restore_access(SPTE_FROZEN));
}

P(22, frozen_is_one_word)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++)
        assert_int_not_equal(spte_classify(SPTE_FROZEN ^ 1ull << bit, 1, SPTE_MMIO_VALUE),
                             SPTE_CLASS_FROZEN);
    assert_int_equal(spte_classify(SPTE_FROZEN, 1, SPTE_MMIO_VALUE), SPTE_CLASS_FROZEN);
}

_Static_assert(!(SPTE_FROZEN & (EPT_RWX | EPT_ADDRESS | SPTE_MMU_PRESENT)),
               "P23: and translates nothing");

P(24, a_real_misconfiguration_ends_the_vm_with_all_levels)
{
    (void)state;
    struct mmio_info info;
    unsigned level;
    const uint64_t *sptep;
    world_touch(&mmu, GPA(0x200000), ACCESS_WRITE);
    uint64_t good = tdp_walk_to(&mmu, ALIAS(0x200), &level, &sptep);
    uint64_t *entry = phys_to_virt(virt_to_phys(sptep));
    *entry = (good & ~EPT_MEMTYPE) | field_put(3, EPT_MEMTYPE);
    assert_int_equal(mmu_mmio_check(&mmu, GPA(0x200000), &info), -EINVAL);
    assert_non_null(strstr(support_log(), "level 4"));
    assert_non_null(strstr(support_log(), "level 3"));
    assert_non_null(strstr(support_log(), "memory type 3 is reserved"));
    *entry = good;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(p1_no_wrprot_only_without_pml_and_a_nested_guest),
        T(p2_present_is_asked_first),
        T(p3_fast_faults_leave_what_is_not_present_alone),
        T(p4_l1tf_collision_turns_caching_off),
        T(p5_an_invalid_slot_is_a_retry),
        T(p6_no_mmio_spte_with_caching_off),
        T(p7_mmio_over_present_drops_flushes_installs),
        T(p8_one_event_per_change),
        T(p9_helpers_return_whole_sptes),
        T(p10_mmio_is_known_by_the_vms_own_value),
        T(p11_the_configuration_says_what_is_done),
        T(p14_saved_access_comes_back_as_it_was),
        T(p15_the_format_is_computed_afresh),
        T(p16_nothing_is_left_of_earlier_settings),
        T(p17_the_vendor_passes_capabilities),
        T(p20_bit_11_alone_says_present),
        T(p21_no_ad_type_of_what_is_not_present),
        T(p22_frozen_is_one_word),
        T(p24_a_real_misconfiguration_ends_the_vm_with_all_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
