/* SPDX-License-Identifier: MIT */
/* Large pages (N1, T6), dirty logging (S4, N2), write tracking (N10), host remap and aging (N4),
 * fast faults (N3) and mmu_gpa_to_pfn() (W3), one by one; test_mmu_adversary.c has all at once. */
#include "tests/unit/mmu/mmu_world.h"

#define GIB 0x40000000ull
#define RAM 0x200000ull /* slot 0: 2 MiB and 16 pages */

static struct mmu mmu;

static void start(uint64_t msr, struct mmu_config config)
{
    config.mmio_caching = true;
    world_reset(msr, &config);
    assert_int_equal(mmu_create(&mmu), 0);
    assert_int_equal(mmu_slot_add(&mmu, 0, GPA(RAM), 512 + 16, 0), 0);
}

static int teardown(void **state)
{
    (void)state;
    mmu_destroy(&mmu);
    return support_pages_in_use() || support_warnings() ? -1 : 0;
}

static unsigned level_of(uint64_t gpa)
{
    unsigned level;
    hpa_t page;
    return mmu_gpa_to_pfn(&mmu, GPA(gpa), &page, &level) ? 0 : level;
}

/* ---- Size ------------------------------------------------------------------------------------ */

static void a_gib_where_it_fits(void **state)
{
    (void)state;
    start(WORLD_CAPS | EPT_CAP_1G, (struct mmu_config){.ad = true, .huge = true});
    assert_int_equal(mmu_slot_add(&mmu, 1, GPA(GIB - 0x200000), 512 + 512 * 512 + 1, 0), 0);
    struct world_access a = world_touch(&mmu, GPA(GIB + 0x123456000), ACCESS_READ);
    assert_int_equal(a.outcome, FAULT_EMULATE); /* beyond the slot */
    a = world_touch(&mmu, GPA(GIB + 0x12345000), ACCESS_WRITE);
    assert_int_equal(level_of(GIB), 3);
    assert_int_equal(level_of(GIB - 0x200000), 0);
    world_touch(&mmu, GPA(GIB - 0x200000), ACCESS_WRITE);
    assert_int_equal(level_of(GIB - 0x1000), 2);
    world_touch(&mmu, GPA(2 * GIB), ACCESS_WRITE);
    assert_int_equal(level_of(2 * GIB), 1);
    /* W3: the page within the leaf, not the first one. */
    hpa_t page;
    unsigned level;
    assert_int_equal(mmu_gpa_to_pfn(&mmu, GPA(GIB + 0x12345678), &page, &level), 0);
    assert_int_equal(page.v, a.page.v);
    assert_int_equal(mmu_gpa_to_pfn(&mmu, GPA(0xfe000000), &page, &level), -ENOENT);
    assert_int_equal(mmu_gpa_to_pfn(&mmu, GPA(~0ull), &page, &level), -ENOENT);

    /* A leaf is split down to the level of one frame, and the rest stays large (T6: it owes
     * nothing). */
    uint64_t invepts = mmu_invept_count(&mmu);
    assert_int_equal(mmu_track(&mmu, GPA(GIB + 0x400000)), 0);
    assert_int_equal(level_of(GIB + 0x400000), 1);
    assert_int_equal(level_of(GIB + 0x600000), 2);
    assert_int_equal(mmu_stats(&mmu).splits, 2);
    assert_int_equal(mmu_invept_count(&mmu), invepts);
    world_check(&mmu);
}

static void a_split_owes_nothing_a_collapse_does(void **state)
{
    (void)state;
    start(WORLD_CAPS, (struct mmu_config){.ad = true, .huge = true});
    world_touch(&mmu, GPA(RAM), ACCESS_WRITE);
    uint64_t debt = mmu.tlb.debt;
    assert_int_equal(tdp_top_up(mmu_self(&mmu)), 0);
    const uint64_t *sptep;
    unsigned level;
    uint64_t leaf = tdp_walk_to(&mmu, ALIAS(RAM >> 12), &level, &sptep);
    assert_int_equal(level, 2);
    assert_true(tdp_split(mmu_self(&mmu), GFN(RAM >> 12), sptep, 2, leaf, 0));
    assert_int_equal(mmu.tlb.debt, debt);
    const uint64_t *table = phys_to_virt(spte_page(*sptep));
    for (uint64_t i = 0; i < 512; i++) /* page, rights, A and D as in the parent */
        assert_int_equal(table[i], (leaf & ~EPT_LARGE) + i * 0x1000);
    world_check(&mmu);

    assert_int_equal(mmu_zap(&mmu, GPA(RAM), 1), 0);
    debt = mmu.tlb.debt;
    world_touch(&mmu, GPA(RAM), ACCESS_WRITE);
    assert_int_equal(level_of(RAM), 2);
    assert_true(mmu.tlb.debt > debt);
    assert_int_equal(mmu_stats(&mmu).collapses, 1);
    world_check(&mmu);
}

/* N1: data is in large pages and code in small ones, some of which become large again. */
static void large_pages_are_not_executed(void **state)
{
    (void)state;
    start(WORLD_CAPS, (struct mmu_config){.ad = true, .huge = true, .nx_huge = true});
    world_touch(&mmu, GPA(RAM), ACCESS_WRITE);
    assert_int_equal(level_of(RAM), 2);
    assert_int_equal(hw_walk(mmu_eptp(&mmu), GFN(RAM >> 12), 4).result, HW_VIOLATION);
    world_touch(&mmu, GPA(RAM + 0x5000), ACCESS_FETCH);
    assert_int_equal(level_of(RAM + 0x5000), 1);
    assert_int_equal(mmu_stats(&mmu).nx_splits, 1);
    assert_int_equal(mmu_zap(&mmu, GPA(RAM), 1), 0);
    world_touch(&mmu, GPA(RAM), ACCESS_WRITE);
    assert_int_equal(level_of(RAM), 1); /* and it stays large */
    assert_int_equal(mmu_nx_recover(&mmu), 1);
    assert_int_equal(mmu_nx_recover(&mmu), 0);
    assert_int_equal(mmu_stats(&mmu).nx_splits, 0);
    world_touch(&mmu, GPA(RAM), ACCESS_WRITE);
    assert_int_equal(level_of(RAM), 2);
    world_check(&mmu);
}

/* The pieces of a GiB are large, too. */
static void a_gib_is_not_executed_in_large_pieces(void **state)
{
    (void)state;
    start(WORLD_CAPS | EPT_CAP_1G, (struct mmu_config){.ad = true, .huge = true, .nx_huge = true});
    assert_int_equal(mmu_slot_add(&mmu, 1, GPA(GIB), 512 * 512, 0), 0);
    world_touch(&mmu, GPA(GIB), ACCESS_WRITE);
    assert_int_equal(level_of(GIB), 3);
    world_touch(&mmu, GPA(GIB + 0x5000), ACCESS_FETCH);
    assert_int_equal(level_of(GIB + 0x5000), 1);
    assert_int_equal(level_of(GIB + 0x200000), 2);
    assert_int_equal(hw_walk(mmu_eptp(&mmu), GFN((GIB + 0x5000) >> 12), 4).result, HW_OK);
    assert_int_equal(hw_walk(mmu_eptp(&mmu), GFN((GIB + 0x200000) >> 12), 4).result, HW_VIOLATION);
    assert_int_equal(mmu_stats(&mmu).nx_splits, 1);
    assert_int_equal(mmu_nx_recover(&mmu), 1);
    world_touch(&mmu, GPA(GIB), ACCESS_WRITE);
    assert_int_equal(level_of(GIB), 2);
    world_check(&mmu);
}

/* ---- Dirty logging --------------------------------------------------------------------------- */

static uint64_t dirty(void)
{
    uint64_t words[9];
    assert_int_equal(mmu_dirty_get(&mmu, 0, 0, words, 9), 0);
    uint64_t sum = 0;
    for (unsigned i = 0; i < 9; i++)
        sum += (uint64_t)__builtin_popcountll(words[i]);
    return sum;
}

static void log_writes(struct mmu_config config)
{
    const uint32_t log = (uint32_t)MEMSLOT_LOG_DIRTY;
    uint64_t word, value = 5;
    start(WORLD_CAPS, config);
    world_touch(&mmu, GPA(RAM), ACCESS_WRITE);
    world_touch(&mmu, GPA(RAM + 0x1000), ACCESS_WRITE);
    assert_int_equal(mmu_dirty_get(&mmu, 0, 0, &word, 1), -EINVAL); /* it does not log */
    assert_int_equal(mmu_slot_flags(&mmu, 0, log), 0);
    assert_true(mmu_is_logging(&mmu));
    assert_int_equal(level_of(RAM), 1); /* split in advance */
    assert_int_equal(dirty(), 0);

    world_touch(&mmu, GPA(RAM + 0x1000), ACCESS_WRITE);
    world_touch(&mmu, GPA(RAM + 0x2000), ACCESS_READ);
    world_touch(&mmu, GPA(RAM + 0x200000), ACCESS_WRITE); /* the first touch */
    assert_int_equal(guest_write(&mmu, GPA(RAM + 0x3008), &value, 8), 0);
    assert_int_equal(mmu_dirty_get(&mmu, 0, 0, &word, 1), 0);
    assert_int_equal(word, 1u << 1 | 1u << 3);
    assert_int_equal(mmu_dirty_get(&mmu, 0, 512, &word, 1), 0);
    assert_int_equal(word, 1);
    assert_int_equal(dirty(), 0);

    /* The page again, and one that is zapped before the log is read. */
    world_touch(&mmu, GPA(RAM + 0x1000), ACCESS_WRITE);
    assert_int_equal(mmu_zap(&mmu, GPA(RAM), 512), 0);
    assert_int_equal(dirty(), 1);
    /* And one in a slot that moves away and back, before its tables are freed. */
    world_touch(&mmu, GPA(RAM + 0x1000), ACCESS_WRITE);
    assert_int_equal(mmu_slot_move(&mmu, 0, GPA(RAM + 16 * GIB)), 0);
    assert_int_equal(dirty(), 1);
    assert_int_equal(mmu_slot_move(&mmu, 0, GPA(RAM)), 0);
    static const struct {
        uint64_t page;
        size_t words;
    } bad[] = {{1, 1}, {576, 1}, {0, 10}, {512, 2}};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        uint64_t words[10];
        assert_int_equal(mmu_dirty_get(&mmu, 0, bad[i].page, words, bad[i].words), -EINVAL);
    }
    assert_int_equal(mmu_slot_flags(&mmu, 0, 0), 0);
    assert_false(mmu_is_logging(&mmu));
    world_touch(&mmu, GPA(RAM), ACCESS_WRITE);
    assert_int_equal(level_of(RAM), config.huge ? 2 : 1); /* large again */
    world_check(&mmu);
}

static void log_by_write_protection(void **state)
{
    (void)state;
    log_writes((struct mmu_config){.huge = true});
    assert_true(mmu_stats(&mmu).splits == 1);
}

static void log_by_d_bits(void **state)
{
    (void)state;
    log_writes((struct mmu_config){.huge = true, .ad = true});
}

/* Writes to a deleted slot are not in the log of the slot that replaces it. */
static void a_new_slot_has_an_empty_log(void **state)
{
    (void)state;
    start(WORLD_CAPS, (struct mmu_config){.ad = true});
    world_touch(&mmu, GPA(RAM + 0x1000), ACCESS_WRITE);
    assert_int_equal(mmu_slot_delete(&mmu, 0), 0);
    assert_int_equal(mmu_slot_add(&mmu, 0, GPA(RAM), 512 + 16, (uint32_t)MEMSLOT_LOG_DIRTY), 0);
    assert_int_equal(dirty(), 0);
}

/* The D bits of an unlinked table would be read when its epoch is over, which is too late. */
static void recovery_loses_no_dirty_page(void **state)
{
    (void)state;
    start(WORLD_CAPS, (struct mmu_config){.ad = true, .huge = true, .nx_huge = true});
    world_touch(&mmu, GPA(RAM), ACCESS_WRITE);
    world_touch(&mmu, GPA(RAM), ACCESS_FETCH);
    assert_int_equal(mmu_slot_flags(&mmu, 0, (uint32_t)MEMSLOT_LOG_DIRTY), 0);
    world_touch(&mmu, GPA(RAM + 0x1000), ACCESS_WRITE);
    epoch_online(1, NULL);
    (void)mmu_nx_recover(&mmu);
    assert_int_equal(dirty(), 1);
    epoch_offline(1);
}

/* PML: the CPU logs the pages, and collecting clears D of these only. */
static void log_by_pml(void **state)
{
    (void)state;
    uint64_t word;
    start(WORLD_CAPS, (struct mmu_config){.ad = true, .pml = true});
    assert_int_equal(mmu_slot_flags(&mmu, 0, (uint32_t)MEMSLOT_LOG_DIRTY), 0);
    world_touch(&mmu, GPA(RAM + 0x4000), ACCESS_WRITE);
    const uint64_t buffer[] = {RAM + 0x4000, RAM + 0x5678, 0xfe000000};
    mmu_pml_note(&mmu, buffer, 3);
    assert_int_equal(mmu_dirty_get(&mmu, 0, 0, &word, 1), 0);
    assert_int_equal(word, 3u << 4);
    unsigned level;
    assert_int_equal(mmu_spte(&mmu, GPA(RAM + 0x4000), &level) & EPT_DIRTY, 0);
    assert_int_equal(dirty(), 0);
}

/* ---- Write tracking -------------------------------------------------------------------------- */

static void tracked_writes_fault(void **state)
{
    (void)state;
    struct mmio_info info;
    start(WORLD_CAPS, (struct mmu_config){.huge = true});
    world_touch(&mmu, GPA(RAM), ACCESS_WRITE);
    assert_int_equal(mmu_track(&mmu, GPA(0xfe000000)), -EFAULT);
    assert_int_equal(mmu_untrack(&mmu, GPA(RAM)), -EINVAL);
    assert_int_equal(mmu_track(&mmu, GPA(RAM)), 0);
    assert_int_equal(mmu_track(&mmu, GPA(RAM)), 0);
    expect_assert_failure(tlb_assert_paid(&mmu, 0)); /* before the lock was dropped (S4) */
    for (unsigned i = 0; i < 2; i++) {
        tlb_enter(&mmu, 0);
        assert_int_equal(hw_walk(mmu_eptp(&mmu), GFN(RAM >> 12), 2).result, HW_VIOLATION);
        assert_int_equal(mmu_fault(&mmu, GPA(RAM), ACCESS_WRITE | FAULT_PRESENT, &info),
                         FAULT_WRITE_PROTECTED);
        assert_int_equal(hw_walk(mmu_eptp(&mmu), GFN(RAM >> 12), 1).result, HW_OK);
        assert_int_equal(mmu_zap(&mmu, GPA(RAM), 1), 0);
        assert_int_equal(mmu_fault(&mmu, GPA(RAM), ACCESS_READ, &info), FAULT_FIXED);
    }
    assert_int_equal(world_touch(&mmu, GPA(RAM + 0x1000), ACCESS_WRITE).outcome, FAULT_FIXED);
    assert_int_equal(mmu_untrack(&mmu, GPA(RAM)), 0);
    assert_int_equal(mmu_fault(&mmu, GPA(RAM), ACCESS_WRITE | FAULT_PRESENT, &info),
                     FAULT_WRITE_PROTECTED); /* it is still tracked once */
    assert_int_equal(mmu_untrack(&mmu, GPA(RAM)), 0);
    assert_int_equal(world_touch(&mmu, GPA(RAM), ACCESS_WRITE).outcome, FAULT_FIXED);
}

static int write_fault(gpa_t gpa)
{
    struct mmio_info info;
    return mmu_fault(&mmu, gpa, ACCESS_WRITE | FAULT_FINAL, &info);
}

/* N10: writes by the CPU itself. Two vCPUs have openings; a page is writable while one of them has
 * it open. When the last one has closed it, no CPU has a translation by which it could write. */
static void openings(void **state)
{
    (void)state;
    struct track_opening one = {0}, two = {0};
    start(WORLD_CAPS, (struct mmu_config){.huge = true});
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(mmu_track(&mmu, GPA(RAM + i * PAGE_SIZE)), 0);
    assert_int_equal(write_fault(GPA(RAM)), FAULT_WRITE_PROTECTED);
    assert_int_equal(mmu_track_open(&mmu, &one, GPA(RAM + 8)), 0);
    assert_int_equal(mmu_track_open(&mmu, &one, GPA(RAM + PAGE_SIZE)), 0);
    assert_int_equal(mmu_track_open(&mmu, &two, GPA(RAM)), 0);
    assert_int_equal(write_fault(GPA(RAM)), FAULT_FIXED);
    assert_int_equal(write_fault(GPA(RAM + PAGE_SIZE)), FAULT_FIXED);
    assert_int_equal(write_fault(GPA(RAM + 2 * PAGE_SIZE)), FAULT_WRITE_PROTECTED);

    tlb_enter(&mmu, 0);
    epoch_online(1, &mmu);
    tlb_enter(&mmu, 1); /* another CPU, which must leave its guest before the function returns */
    unsigned before = kicks;
    mmu_track_close(&mmu, &one);
    assert_int_equal(kicks, before + 1);
    expect_assert_failure(tlb_assert_paid(&mmu, 0)); /* before the lock was dropped (S4) */
    assert_int_equal(one.count, 0);
    assert_int_equal(write_fault(GPA(RAM)), FAULT_FIXED);
    assert_int_equal(write_fault(GPA(RAM + PAGE_SIZE)), FAULT_WRITE_PROTECTED);
    /* Its slot may be deleted in between. */
    assert_int_equal(mmu_slot_delete(&mmu, 0), 0);
    mmu_track_close(&mmu, &two);
    assert_null(mmu.openings);
    for (unsigned i = 0; i < TRACK_OPEN_MAX; i++)
        assert_int_equal(mmu_track_open(&mmu, &one, GPA(RAM)), 0);
    assert_int_equal(mmu_track_open(&mmu, &one, GPA(RAM)), -ENOSPC);
    mmu_track_close(&mmu, &one);
}

/* S4: the flush is owed even where W was clear already. */
static void tracking_flushes_what_logging_deferred(void **state)
{
    (void)state;
    start(WORLD_CAPS, (struct mmu_config){0});
    world_touch(&mmu, GPA(RAM), ACCESS_WRITE);
    assert_int_equal(mmu_slot_flags(&mmu, 0, (uint32_t)MEMSLOT_LOG_DIRTY), 0);
    assert_int_equal(mmu_spte(&mmu, GPA(RAM), &(unsigned){0}) & EPT_WRITE, 0);
    assert_int_equal(mmu_track(&mmu, GPA(RAM + 0x1000)), 0); /* the counters are there now */
    tlb_enter(&mmu, 0);
    uint64_t debt = mmu.tlb.debt;
    assert_int_equal(mmu_track(&mmu, GPA(RAM)), 0);
    assert_true(mmu.tlb.debt > debt);
}

/* ---- The host -------------------------------------------------------------------------------- */

static void a_remapped_page_keeps_its_bytes(void **state)
{
    (void)state;
    start(WORLD_CAPS, (struct mmu_config){.huge = true});
    assert_int_equal(mmu_host_remap(&mmu, GPA(RAM)), -EFAULT); /* never touched */
    struct world_access a = world_touch(&mmu, GPA(RAM + 0x7000), ACCESS_WRITE);
    *(uint64_t *)phys_to_virt(a.page) = 77;
    uint64_t sequence = mmu_invalidate_sequence(&mmu);
    assert_int_equal(mmu_host_remap(&mmu, GPA(RAM)), 0);
    assert_int_equal(mmu_invalidate_sequence(&mmu), sequence + 2);
    assert_int_equal(level_of(RAM + 0x7000), 0);
    struct world_access b = world_touch(&mmu, GPA(RAM + 0x7000), ACCESS_READ);
    assert_int_not_equal(a.page.v, b.page.v);
    assert_int_equal(*(uint64_t *)phys_to_virt(b.page), 77);
}

static void used_pages_are_young(struct mmu_config config)
{
    start(WORLD_CAPS, config);
    for (unsigned i = 0; i < 10; i++)
        world_touch(&mmu, GPA(RAM + i * 0x1000), ACCESS_WRITE);
    assert_int_equal(mmu_age(&mmu, GPA(RAM), 512), 10);
    assert_int_equal(mmu_age(&mmu, GPA(RAM), 512), 0);
    tlb_enter(&mmu, 0);
    uint64_t searches = mmu_stats(&mmu).slot_searches;
    world_touch(&mmu, GPA(RAM + 0x3000), ACCESS_WRITE);
    world_touch(&mmu, GPA(RAM + 0x5000), ACCESS_READ);
    assert_int_equal(mmu_age(&mmu, GPA(RAM), 512), 2);
    assert_int_equal(mmu_stats(&mmu).slot_searches, searches); /* no full fault */
    assert_int_equal(mmu_stats(&mmu).fast_faults, config.ad ? 0 : 2);
    world_check(&mmu);
}

static void aging_with_accessed_bits(void **state)
{
    (void)state;
    used_pages_are_young((struct mmu_config){.ad = true});
}

static void aging_by_taking_access(void **state)
{
    (void)state;
    used_pages_are_young((struct mmu_config){0});
}

/* A CPU whose MAXPHYADDR is 52 lets a guest use addresses that four levels do not translate: such
 * an access is a violation at the first level. It must not repair the entry to which the lower bits
 * would lead. */
static void aging_and_an_address_too_wide_for_the_tables(void **state)
{
    (void)state;
    struct ept_caps caps;
    struct mmio_info info;
    const struct mmu_config config = {.mmio_caching = true};
    const gpa_t wide = GPA(BIT(EPT_GPA_BITS) + RAM);
    world_reset(WORLD_CAPS, &config);
    assert_int_equal(ept_caps_parse(&caps, WORLD_CAPS, 52), 0);
    assert_int_equal(mmu_setup(&caps, &config), 0);
    assert_int_equal(mmu_create(&mmu), 0);
    assert_int_equal(mmu_slot_add(&mmu, 0, GPA(RAM), 16, 0), 0);
    world_touch(&mmu, GPA(RAM), ACCESS_WRITE);
    assert_int_equal(mmu_age(&mmu, GPA(RAM), 16), 1);
    assert_int_equal(mmu_fault(&mmu, wide, ACCESS_WRITE, &info), FAULT_EMULATE);
    assert_int_equal(mmu_age(&mmu, GPA(RAM), 16), 0); /* it is still old */
    assert_int_equal(mmu_fault(&mmu, GPA(RAM), ACCESS_WRITE, &info), FAULT_FIXED);
}

/* ---- Fast faults ----------------------------------------------------------------------------- */

static void fast_faults_give_back_what_they_may(void **state)
{
    (void)state;
    struct mmio_info info;
    const uint32_t write = ACCESS_WRITE | FAULT_PRESENT | FAULT_FINAL;
    start(WORLD_CAPS, (struct mmu_config){0});
    world_touch(&mmu, GPA(RAM), ACCESS_WRITE);
    assert_int_equal(mmu_slot_flags(&mmu, 0, (uint32_t)MEMSLOT_LOG_DIRTY), 0);
    write_lock(&mmu.lock); /* nobody uses it */
    assert_int_equal(mmu_fault(&mmu, GPA(RAM), write, &info), FAULT_FIXED);
    assert_int_equal(mmu_fault(&mmu, GPA(RAM), write, &info), FAULT_SPURIOUS);
    write_unlock(&mmu.lock);
    assert_int_equal(mmu_stats(&mmu).fast_faults, 1);
    assert_int_equal(dirty(), 1);

    /* Never a right that the slot forbids. */
    assert_int_equal(mmu_slot_flags(&mmu, 0, (uint32_t)MEMSLOT_READONLY), 0);
    world_touch(&mmu, GPA(RAM), ACCESS_READ);
    assert_int_equal(mmu_fault(&mmu, GPA(RAM), write, &info), FAULT_EMULATE);
    assert_int_equal(mmu_stats(&mmu).fast_faults, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, teardown)
    const struct CMUnitTest tests[] = {
        T(a_gib_where_it_fits),
        T(a_split_owes_nothing_a_collapse_does),
        T(large_pages_are_not_executed),
        T(a_gib_is_not_executed_in_large_pieces),
        T(log_by_write_protection),
        T(log_by_d_bits),
        T(a_new_slot_has_an_empty_log),
        T(recovery_loses_no_dirty_page),
        T(log_by_pml),
        T(openings),
        T(tracked_writes_fault),
        T(tracking_flushes_what_logging_deferred),
        T(a_remapped_page_keeps_its_bytes),
        T(aging_with_accessed_bits),
        T(aging_by_taking_access),
        T(aging_and_an_address_too_wide_for_the_tables),
        T(fast_faults_give_back_what_they_may),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
