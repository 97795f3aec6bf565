/* SPDX-License-Identifier: MIT */
/* The handling of faults and misconfigurations: rules F1 to F6, S10, S11, P5, P7, P24. */
#include "tests/unit/mmu/mmu_world.h"

#include <string.h>

static struct mmu mmu;
static const struct mmu_config plain = {
    .mmio_caching = true, .ad = true, .huge = true, .slot_generation_start = 1};

static int start(const struct mmu_config *config)
{
    world_reset(WORLD_CAPS, config);
    return mmu_create(&mmu);
}

static int setup(void **state)
{
    (void)state;
    return start(&plain);
}

static int teardown(void **state)
{
    (void)state;
    invept_hook = NULL;
    mmu_destroy(&mmu);
    return support_pages_in_use() == 0 ? 0 : -1;
}

static void add(uint32_t id, uint64_t gpa, uint64_t pages, uint32_t flags)
{
    assert_int_equal(mmu_slot_add(&mmu, id, GPA(gpa), pages, flags), 0);
}

#define DEVICE 0xfe000000ull

/* Scenario 1: one violation, and then one misconfiguration for each access, without a slot search.
 */
static void mmio_repeats_without_a_search(void **state)
{
    (void)state;
    struct world_access a = world_touch(&mmu, GPA(DEVICE + 0x123), ACCESS_WRITE);
    assert_int_equal(a.outcome, FAULT_EMULATE);
    assert_int_equal(a.violations, 1);
    assert_int_equal(a.misconfigurations, 0);
    assert_int_equal(a.info.alias.v, DEVICE >> 12);
    assert_int_equal(a.info.generation, mmu_slot_generation(&mmu));
    assert_int_equal(mmu_stats(&mmu).mmio_spte_created, 1);
    uint64_t searches = mmu_stats(&mmu).slot_searches, changes = mmu_stats(&mmu).spte_changes;
    uint64_t pages = support_pages_in_use();

    for (unsigned i = 0; i < 1000; i++) {
        a = world_touch(&mmu, GPA(DEVICE + 4 * i), 1u << i % 3);
        assert_int_equal(a.outcome, FAULT_EMULATE);
        assert_int_equal(a.violations, 0);
        assert_int_equal(a.misconfigurations, 1);
        assert_int_equal(a.info.alias.v, DEVICE >> 12);
        assert_int_equal(a.info.generation, mmu_slot_generation(&mmu));
    }
    assert_int_equal(mmu_stats(&mmu).slot_searches, searches);
    assert_int_equal(mmu_stats(&mmu).spte_changes, changes);
    assert_int_equal(mmu_stats(&mmu).mmio_spte_hits, 1000);
    assert_int_equal(mmu_stats(&mmu).faults, 1);
    assert_int_equal(support_pages_in_use(), pages);
    assert_int_equal(invept_calls, 1); /* the first load of the root */
    assert_int_equal(world_check(&mmu).mmio, 1);
}

static void ram_is_mapped_and_cleared(void **state)
{
    (void)state;
    add(0, 0x200000, 512 + 3, 0);
    struct world_access a = world_touch(&mmu, GPA(0x3ff008), ACCESS_READ);
    assert_int_equal(a.outcome, FAULT_FIXED);
    assert_int_equal(a.violations, 1);
    const uint64_t *page = phys_to_virt(a.page);
    for (unsigned i = 0; i < 512; i++)
        assert_true(page[i] == 0);
    assert_int_equal(mmu_stats(&mmu).pages[1],
                     1); /* the piece lies wholly in the slot: one 2 MiB leaf */
    assert_int_equal(world_touch(&mmu, GPA(0x200000), ACCESS_WRITE).violations, 0);

    a = world_touch(&mmu, GPA(0x402fff),
                    ACCESS_WRITE); /* the last piece is allocated page by page */
    assert_int_equal(a.violations, 1);
    assert_int_equal(mmu_stats(&mmu).pages[0], 1);
    assert_int_equal(world_touch(&mmu, GPA(0x403000), ACCESS_READ).outcome, FAULT_EMULATE);

    unsigned level;
    assert_true(spte_is_leaf(mmu_spte(&mmu, GPA(0x2abcde), &level), 2));
    assert_int_equal(level, 2);
    assert_true(spte_is_mmio(mmu_spte(&mmu, GPA(0x403000), &level), mmu.mmio_value));
    assert_int_equal(level, 1);
    assert_true(mmu_spte(&mmu, GPA(0x8000000000), &level) == SPTE_NONPRESENT);
    assert_int_equal(level, 4);
    world_check(&mmu);
}

static void small_pages_when_huge_is_off(void **state)
{
    (void)state;
    mmu_destroy(&mmu);
    assert_int_equal(start(&(struct mmu_config){.mmio_caching = true}), 0);
    assert_false(mmu_config()->huge || mmu_config()->ad);
    assert_int_equal(mmu_eptp(&mmu) & 0xfff, 0x1e);
    add(0, 0x200000, 512, 0);
    world_touch(&mmu, GPA(0x200000), ACCESS_WRITE);
    world_touch(&mmu, GPA(0x3ff000), ACCESS_WRITE);
    assert_int_equal(mmu_stats(&mmu).pages[0], 2);
    assert_int_equal(mmu_stats(&mmu).pages[1], 0);
    world_check(&mmu);
}

static void the_eptp_is_well_formed(void **state)
{
    (void)state;
    assert_int_equal(mmu_eptp(&mmu) & 0xfff, 0x5e); /* WB, four levels, A/D */
    assert_true(phys_to_virt(HPA(mmu_eptp(&mmu) & EPTP_ADDRESS)) == mmu.composite);
}

/* F6: a write to a read-only slot is emulated and leaves no MMIO SPTE, since that would make reads
 * MMIO, too. */
static void read_only_slots(void **state)
{
    (void)state;
    add(0, 0x100000, 4, MEMSLOT_READONLY);
    struct world_access a = world_touch(&mmu, GPA(0x100000), ACCESS_WRITE);
    assert_int_equal(a.outcome, FAULT_EMULATE);
    assert_int_equal(a.info.generation, 0); /* nothing to cache */
    assert_int_equal(mmu_stats(&mmu).mmio_spte_created, 0);
    assert_int_equal(world_touch(&mmu, GPA(0x100000), ACCESS_READ).outcome, FAULT_FIXED);
    assert_int_equal(world_touch(&mmu, GPA(0x100000), ACCESS_FETCH).violations, 0);
    a = world_touch(&mmu, GPA(0x100000), ACCESS_WRITE); /* mapped now, and still not writable */
    assert_int_equal(a.outcome, FAULT_EMULATE);
    assert_int_equal(a.info.generation, 0);
    assert_int_equal(mmu_stats(&mmu).mmio_spte_created, 0);

    assert_int_equal(mmu_slot_flags(&mmu, 0, 0), 0);
    assert_int_equal(world_touch(&mmu, GPA(0x100000), ACCESS_WRITE).outcome, FAULT_FIXED);
    assert_int_equal(mmu_slot_flags(&mmu, 0, MEMSLOT_READONLY), 0);
    assert_int_equal(world_touch(&mmu, GPA(0x100000), ACCESS_WRITE).outcome, FAULT_EMULATE);
    world_check(&mmu);
}

/* S10: with MMIO caching off there is no MMIO SPTE and no misconfiguration, but the vCPU may still
 * cache. */
static void without_mmio_caching(void **state)
{
    (void)state;
    mmu_destroy(&mmu);
    struct mmu_config off = plain;
    off.mmio_caching = false;
    assert_int_equal(start(&off), 0);
    assert_false(mmu_config()->mmio_caching);
    for (unsigned i = 0; i < 10; i++) {
        struct world_access a = world_touch(&mmu, GPA(DEVICE), ACCESS_READ);
        assert_int_equal(a.outcome, FAULT_EMULATE);
        assert_int_equal(a.violations, 1);
        assert_int_equal(a.misconfigurations, 0);
        assert_int_equal(a.info.generation, mmu_slot_generation(&mmu));
        assert_int_equal(a.info.alias.v, DEVICE >> 12);
    }
    assert_int_equal(mmu_stats(&mmu).mmio_spte_created, 0);
    assert_int_equal(mmu_stats(&mmu).spte_changes, 0);
    assert_int_equal(world_check(&mmu).mmio, 0);
    add(0, DEVICE, 1, 0);
    assert_int_equal(world_touch(&mmu, GPA(DEVICE), ACCESS_READ).outcome, FAULT_FIXED);
}

/* S11: an SPTE cannot hold an address beyond MAXPHYADDR, so each access is emulated. */
static void no_mmio_spte_beyond_maxphyaddr(void **state)
{
    (void)state;
    struct mmio_info info;
    for (unsigned i = 0; i < 3; i++) {
        uint64_t gpa = i ? BIT(WORLD_MAXPHYADDR) << i : BIT(WORLD_MAXPHYADDR);
        assert_int_equal(mmu_fault(&mmu, GPA(gpa), ACCESS_READ, &info), FAULT_EMULATE);
        assert_int_equal(info.alias.v, gpa >> 12);
        assert_int_equal(mmu_stats(&mmu).mmio_spte_created, 0);
    }
    assert_int_equal(mmu_fault(&mmu, GPA(BIT(40) - 1), ACCESS_READ, &info), FAULT_EMULATE);
    assert_int_equal(mmu_stats(&mmu).mmio_spte_created, 1);
    assert_int_equal(world_check(&mmu).mmio, 1);
}

static void a_second_fault_is_spurious(void **state)
{
    (void)state;
    struct mmio_info info;
    add(0, 0x100000, 4, 0);
    assert_int_equal(mmu_fault(&mmu, GPA(0x100000), ACCESS_WRITE, &info), FAULT_FIXED);
    uint64_t changes = mmu_stats(&mmu).spte_changes;
    world_touch(&mmu, GPA(0x100000), ACCESS_WRITE); /* the CPU sets D */
    assert_int_equal(mmu_fault(&mmu, GPA(0x100000), ACCESS_WRITE, &info), FAULT_SPURIOUS);
    assert_int_equal(mmu_stats(&mmu).spte_changes, changes); /* P8: no event without a change */
    assert_int_equal(mmu_fault(&mmu, GPA(DEVICE), ACCESS_WRITE, &info), FAULT_EMULATE);
    assert_int_equal(mmu_fault(&mmu, GPA(DEVICE), ACCESS_WRITE, &info), FAULT_EMULATE);
    assert_int_equal(mmu_stats(&mmu).mmio_spte_created, 1);
}

/* A misconfiguration whose MMIO SPTE is stale (F4d): the SPTE becomes current if there still is no
 * slot; if there is one, it is a full fault. */
static void stale_mmio_sptes_are_renewed_or_fault(void **state)
{
    (void)state;
    struct mmio_info info;
    world_touch(&mmu, GPA(DEVICE), ACCESS_READ);
    add(0, 0x100000, 1, 0); /* a slot elsewhere: only the generation changes */
    uint64_t faults = mmu_stats(&mmu).faults, searches = mmu_stats(&mmu).slot_searches;
    assert_int_equal(mmu_mmio_check(&mmu, GPA(DEVICE), &info), FAULT_EMULATE);
    assert_true(info.renewed);
    assert_int_equal(info.generation, mmu_slot_generation(&mmu));
    assert_int_equal(info.alias.v, DEVICE >> 12);
    assert_int_equal(mmu_stats(&mmu).mmio_spte_stale, 1);
    assert_int_equal(mmu_stats(&mmu).mmio_spte_created, 2);
    assert_int_equal(mmu_stats(&mmu).faults, faults); /* no fault, with or without the lock */
    assert_int_equal(mmu_stats(&mmu).slot_searches, searches);
    assert_int_equal(mmu_mmio_check(&mmu, GPA(DEVICE), &info), FAULT_EMULATE);
    assert_false(info.renewed);
    assert_int_equal(mmu_stats(&mmu).mmio_spte_hits, 1);
    world_check(&mmu);

    add(1, DEVICE, 1, 0);
    assert_int_equal(mmu_mmio_check(&mmu, GPA(DEVICE), &info), FAULT_INVALID);
    assert_int_equal(mmu_stats(&mmu).mmio_spte_created, 2);
    assert_int_equal(mmu_fault(&mmu, GPA(DEVICE), FAULT_RESERVED, &info), FAULT_FIXED);
}

static void zapped_meanwhile_is_a_retry(void **state)
{
    (void)state;
    struct mmio_info info;
    world_touch(&mmu, GPA(DEVICE), ACCESS_READ);
    assert_int_equal(mmu_zap(&mmu, GPA(DEVICE), 1), 0);
    assert_int_equal(world_check(&mmu).mmio, 0);
    assert_int_equal(mmu_mmio_check(&mmu, GPA(DEVICE), &info), FAULT_RETRY);
    assert_int_equal(mmu_mmio_check(&mmu, GPA(0x8000000000), &info), FAULT_RETRY); /* at the top */
    add(0, DEVICE, 1, 0);
    world_touch(&mmu, GPA(DEVICE), ACCESS_READ);
    assert_int_equal(mmu_mmio_check(&mmu, GPA(DEVICE), &info), FAULT_RETRY); /* it is RAM now */
    assert_string_equal(support_log(), "");
}

/* P24: the dump shows all levels, and the reason at the misconfigured one, and the VM ends. */
static void a_real_misconfiguration_is_explained(void **state)
{
    (void)state;
    struct mmio_info info;
    unsigned level;
    add(0, 0x200000, 512, 0);
    world_touch(&mmu, GPA(0x200000), ACCESS_READ);
    uint64_t good = mmu_spte(&mmu, GPA(0x200000), &level);
    uint64_t *root = phys_to_virt(HPA(mmu_eptp(&mmu) & EPTP_ADDRESS)), *table = root;
    for (unsigned l = 4; l > 2; l--)
        table = phys_to_virt(spte_page(table[0]));
    table[1] = good | BIT(45) | EPT_WRITE;
    table[1] &= ~(uint64_t)EPT_READ;
    assert_int_equal(mmu_mmio_check(&mmu, GPA(0x200000), &info), -EINVAL);
    const char *log = support_log();
    assert_non_null(strstr(log, "on the way to 0x200000"));
    assert_non_null(strstr(log, "  level 4: "));
    assert_non_null(strstr(log, "  level 3: "));
    assert_non_null(strstr(log, "  level 2: "));
    assert_null(strstr(log, "  level 1: "));
    assert_non_null(strstr(log, "110b (write without read); address bit 45 above MAXPHYADDR 40"));
    table[1] = good;

    root[0] |= EPT_IPAT; /* in a nonleaf, above a fine leaf */
    assert_int_equal(mmu_mmio_check(&mmu, GPA(0x200000), &info), -EINVAL);
    assert_non_null(strstr(support_log(), "bits 6:3 = 0x8 in an entry of level 4"));
    root[0] &= ~EPT_IPAT;
}

/* S12: an MMIO SPTE of the other kind of VM is a misconfiguration here, and with caching off even
 * one of this kind (S10). */
static void foreign_mmio_words(void **state)
{
    (void)state;
    struct mmio_info info;
    world_touch(&mmu, GPA(DEVICE), ACCESS_READ);
    mmu.mmio_value = SPTE_MMIO_NEVER;
    assert_int_equal(mmu_mmio_check(&mmu, GPA(DEVICE), &info), -EINVAL);
    mmu.mmio_value = SPTE_MMIO_VALUE;
    assert_int_equal(mmu_mmio_check(&mmu, GPA(DEVICE), &info), FAULT_EMULATE);
}

/* P7: if a frame without a slot is mapped, its SPTE is zapped, which owes a flush, and only then is
 * the MMIO SPTE installed. */
static void mmio_over_a_live_spte(void **state)
{
    (void)state;
    add(0, 0x200000, 512, 0);
    world_touch(&mmu, GPA(0x200000), ACCESS_READ);
    tlb_assert_paid(&mmu, 0);
    assert_int_equal(tdp_top_up(mmu_self(&mmu)), 0);
    uint64_t generation = mmu_slot_generation(&mmu);
    /* The fault has read an older set of slots: it is late, but this is no bug. */
    assert_int_equal(tdp_map_mmio(mmu_self(&mmu), ALIAS(0x205), GFN(0x205), generation - 1),
                     FAULT_RETRY);
    assert_int_equal(support_warnings(), 0);
    assert_int_equal(tdp_map_mmio(mmu_self(&mmu), ALIAS(0x205), GFN(0x205), generation),
                     FAULT_EMULATE);
    assert_int_equal(support_warnings(), 1);
    expect_assert_failure(tlb_assert_paid(&mmu, 0));
    tlb_enter(&mmu, 0);
    assert_int_equal(mmu_stats(&mmu).pages[1], 0);
    assert_int_equal(world_check(&mmu).mmio, 1);
}

/* ---- During an update ------------------------------------------------------------------------ */

static unsigned hook_runs;

/* P5, F7, C4: a CPU runs while a slot is deleted. The update waits for its epoch. */
static void while_a_slot_goes(unsigned pcpu)
{
    struct mmio_info info;
    world_leave(pcpu);
    if (hook_runs++)
        return;
    uint64_t changes = mmu_stats(&mmu).mmio_spte_created;
    assert_int_equal(mmu_fault(&mmu, GPA(0x200000), ACCESS_READ, &info), FAULT_RETRY);
    assert_int_equal(info.generation, 0);
    assert_int_equal(mmu_stats(&mmu).mmio_spte_created, changes);
    assert_null(guest_page(&mmu, gfn_to_gpa(GFN(0x200)), ACCESS_READ));
    char byte = 0;
    assert_int_equal(guest_read(&mmu, GPA(0x200000), &byte, 1, ACCESS_READ), -EFAULT);
    assert_int_equal(guest_write(&mmu, GPA(0x200000), &byte, 1), -EFAULT);
    assert_int_equal(guest_may_write(&mmu, GPA(0x200000)), -EFAULT);
    assert_int_equal(mmu_invalidate_sequence(&mmu) & 1, 1);
    /* A fault on another slot waits, too: the result of its lookup may be outdated. */
    assert_int_equal(mmu_fault(&mmu, GPA(0x600000), ACCESS_READ, &info), FAULT_RETRY);
}

static void faults_wait_for_a_slot_that_goes(void **state)
{
    (void)state;
    add(0, 0x200000, 512, 0);
    add(1, 0x600000, 512, 0);
    for (unsigned i = 0; i < 2; i++) {
        hook_runs = 0;
        assert_int_equal(world_touch(&mmu, GPA(0x200000), ACCESS_WRITE).outcome, FAULT_FIXED);
        epoch_online(1, NULL);
        kick_hook = while_a_slot_goes;
        uint64_t generation = mmu_slot_generation(&mmu);
        if (i == 0)
            assert_int_equal(mmu_slot_move(&mmu, 0, GPA(0x40000000)), 0);
        else
            assert_int_equal(mmu_slot_delete(&mmu, 0), 0);
        assert_int_equal(hook_runs, 2);
        epoch_offline(1);
        kick_hook = NULL;
        assert_int_equal(mmu_slot_generation(&mmu), generation + 2); /* two swaps (F7) */
        assert_int_equal(mmu_invalidate_sequence(&mmu) & 1, 0);
        assert_int_equal(world_touch(&mmu, GPA(0x200000), ACCESS_READ).outcome, FAULT_EMULATE);
        if (i == 0)
            assert_int_equal(mmu_slot_move(&mmu, 0, GPA(0x200000)), 0);
    }
    assert_int_equal(world_touch(&mmu, GPA(0x600000), ACCESS_READ).outcome, FAULT_FIXED);
}

/* During the update no MMIO SPTE is trusted, none becomes current, and nothing is cached. */
static void nothing_is_trusted_during_an_update(void **state)
{
    (void)state;
    struct mmio_info info;
    world_touch(&mmu, GPA(DEVICE), ACCESS_READ);
    uint64_t created = mmu_stats(&mmu).mmio_spte_created;
    mmu.slots->generation |= SLOT_UPDATE_IN_PROGRESS;
    assert_int_equal(mmu_mmio_check(&mmu, GPA(DEVICE), &info), FAULT_INVALID);
    assert_int_equal(mmu_stats(&mmu).mmio_spte_created, created);
    assert_int_equal(mmu_fault(&mmu, GPA(DEVICE), FAULT_RESERVED, &info), FAULT_EMULATE);
    assert_int_equal(info.generation, 0);
    assert_int_equal(mmu_fault(&mmu, GPA(DEVICE + 0x1000), ACCESS_READ, &info), FAULT_EMULATE);
    assert_int_equal(info.generation, 0);
    mmu.slots->generation = (mmu.slots->generation & ~SLOT_UPDATE_IN_PROGRESS) + 1;
    assert_int_equal(mmu_mmio_check(&mmu, GPA(DEVICE + 0x1000), &info), FAULT_EMULATE);
    assert_true(info.renewed);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(mmio_repeats_without_a_search),
        T(ram_is_mapped_and_cleared),
        T(small_pages_when_huge_is_off),
        T(the_eptp_is_well_formed),
        T(read_only_slots),
        T(without_mmio_caching),
        T(no_mmio_spte_beyond_maxphyaddr),
        T(a_second_fault_is_spurious),
        T(stale_mmio_sptes_are_renewed_or_fault),
        T(zapped_meanwhile_is_a_retry),
        T(a_real_misconfiguration_is_explained),
        T(foreign_mmio_words),
        T(mmio_over_a_live_spte),
        T(faults_wait_for_a_slot_that_goes),
        T(nothing_is_trusted_during_an_update),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
