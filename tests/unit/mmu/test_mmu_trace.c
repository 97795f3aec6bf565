/* SPDX-License-Identifier: MIT */
/* The events that the MMU emits: exactly one for each change of an SPTE (rule P8), which describes
 * the change; the others where KVM has them (rule N8). */
#include "tests/unit/mmu/mmu_world.h"

#include <string.h>

#include "lib/trace.h"

#define RAM         0x40000000ull
#define RAM_PAGES   1024u
#define DEVICE      0xfe000000ull
#define RING_PAGES  8u
#define FRAME(i)    ((RAM >> PAGE_SHIFT) + (i))
#define ALL_CHANGES 4u

static struct mmu mmu;
static uint64_t counts[TRACE_EVENT_COUNT];
static const uint16_t change_events[ALL_CHANGES] = {TRACE_mmu_set_spte, TRACE_tdp_mmu_spte_changed,
                                                    TRACE_mmu_split_huge_page,
                                                    TRACE_mark_mmio_spte};

static int setup_with(const struct mmu_config *config)
{
    world_reset(WORLD_CAPS, config);
    trace_select(0, 0);
    if (trace_create_ring(0) || mmu_create(&mmu) || mmu_slot_add(&mmu, 0, GPA(RAM), RAM_PAGES, 0))
        return -1;
    memset(counts, 0, sizeof(counts));
    trace_run(1, 0, counts);
    trace_select(0, ~0u >> (32 - TRACE_EVENT_COUNT));
    return 0;
}

static int setup(void **state)
{
    static const struct mmu_config config = {.mmio_caching = true, .ad = true, .huge = true};
    (void)state;
    return setup_with(&config);
}

static int setup_small_without_ad(void **state)
{
    static const struct mmu_config config = {.mmio_caching = true};
    (void)state;
    return setup_with(&config);
}

static int teardown(void **state)
{
    (void)state;
    trace_select(0, 0);
    mmu_destroy(&mmu);
    return support_pages_in_use() == RING_PAGES ? 0 : -1;
}

/* ---- One change, one event ------------------------------------------------------------------- */

static uint64_t change_count(void)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < ALL_CHANGES; i++)
        sum += counts[change_events[i]];
    return sum;
}

struct since {
    uint64_t changes, events, of[TRACE_EVENT_COUNT];
};

static struct since mark(void)
{
    struct since since = {mmu_stats(&mmu).spte_changes, change_count(), {0}};
    for (unsigned i = 0; i < TRACE_EVENT_COUNT; i++)
        since.of[i] = counts[i];
    return since;
}

/* Checks that there were as many events as changes, and some. */
static uint64_t same_number(const struct since *since)
{
    uint64_t changes = mmu_stats(&mmu).spte_changes - since->changes;
    assert_int_equal(change_count() - since->events, changes);
    assert_int_not_equal(changes, 0);
    return changes;
}

static uint64_t events(const struct since *since, enum trace_event event)
{
    return counts[event] - since->of[event];
}

/* The last record of an event. */
static struct trace_record last(enum trace_event event)
{
    struct trace_reader reader;
    const struct trace_record *record;
    struct trace_record found = {.event = TRACE_EVENT_COUNT};
    trace_read_begin(&reader, 1, UINT64_MAX);
    while ((record = trace_read_next(&reader)))
        if (record->event == event)
            found = *record;
    assert_int_equal(found.event, event);
    return found;
}

static uint64_t spte_of(uint64_t gpa)
{
    unsigned level;
    return mmu_spte(&mmu, GPA(gpa), &level);
}

static void first_touch_of_ram(void **state)
{
    (void)state;
    struct since since = mark();
    world_touch(&mmu, GPA(RAM + 5 * PAGE_SIZE), ACCESS_WRITE);
    assert_int_equal(same_number(&since), 3); /* two links and the leaf of 2 MiB */
    assert_int_equal(events(&since, TRACE_mmu_set_spte), 1);
    assert_int_equal(events(&since, TRACE_tdp_mmu_spte_changed), 2);
    assert_int_equal(events(&since, TRACE_page_fault), 1);
    assert_int_equal(events(&since, TRACE_mmu_spte_requested), 1);
    struct trace_record set = last(TRACE_mmu_set_spte), fault = last(TRACE_page_fault);
    assert_int_equal(set.values[0], FRAME(0)); /* the first frame of the leaf */
    assert_int_equal(set.values[1] | EPT_ACCESSED | EPT_DIRTY,
                     spte_of(RAM) | EPT_ACCESSED | EPT_DIRTY);
    assert_int_equal(set.values[3], EPT_LEVEL_2M);
    assert_int_equal(set.values[4], EPT_RWX);
    assert_int_equal(fault.values[0], RAM + 5 * PAGE_SIZE);
    assert_int_equal(fault.values[1], ACCESS_WRITE | FAULT_FINAL);
    assert_int_equal(last(TRACE_mmu_spte_requested).values[0], FRAME(5));

    since = mark(); /* nothing changes, so there is no event */
    world_touch(&mmu, GPA(RAM), ACCESS_READ);
    struct mmio_info info;
    assert_int_equal(mmu_fault(&mmu, GPA(RAM), ACCESS_READ, &info), FAULT_SPURIOUS);
    assert_int_equal(change_count(), since.events);
    assert_int_equal(mmu_stats(&mmu).spte_changes, since.changes);
}

static void mmio(void **state)
{
    (void)state;
    struct since since = mark();
    world_touch(&mmu, GPA(DEVICE), ACCESS_READ);
    same_number(&since);
    assert_int_equal(events(&since, TRACE_mark_mmio_spte), 1);
    assert_int_equal(events(&since, TRACE_mmu_set_spte), 0);
    struct trace_record marked = last(TRACE_mark_mmio_spte);
    assert_int_equal(*(const uint64_t *)marked.values[0], spte_of(DEVICE));
    assert_int_equal(marked.values[1], DEVICE >> PAGE_SHIFT);
    assert_int_equal(marked.values[3], mmu_slot_generation(&mmu));

    since = mark();
    world_touch(&mmu, GPA(DEVICE + 8), ACCESS_READ); /* the MMIO SPTE exists now */
    assert_int_equal(change_count(), since.events);
    assert_int_equal(events(&since, TRACE_check_mmio_spte), 1);
    assert_int_equal(events(&since, TRACE_handle_mmio_page_fault), 1);
    assert_int_equal(last(TRACE_handle_mmio_page_fault).values[0], DEVICE + 8);

    assert_int_equal(mmu_slot_add(&mmu, 1, GPA(RAM + RAM_PAGES * PAGE_SIZE), 1, 0), 0);
    since = mark();
    world_touch(&mmu, GPA(DEVICE), ACCESS_READ); /* stale: stored again */
    assert_int_equal(same_number(&since), 1);
    assert_int_equal(events(&since, TRACE_mark_mmio_spte), 1);
    assert_int_equal(events(&since, TRACE_handle_mmio_page_fault), 1);
    struct trace_record check = last(TRACE_check_mmio_spte);
    assert_int_equal(check.values[0], check.values[1] + 1);
}

static void split_and_collapse(void **state)
{
    (void)state;
    world_touch(&mmu, GPA(RAM), ACCESS_WRITE);
    struct since since = mark();
    assert_int_equal(mmu_track(&mmu, GPA(RAM)), 0);
    assert_int_equal(same_number(&since), 2); /* the split, and W of one page */
    assert_int_equal(events(&since, TRACE_mmu_split_huge_page), 1);
    assert_int_equal(events(&since, TRACE_tdp_mmu_spte_changed), 1);
    assert_int_equal(last(TRACE_mmu_split_huge_page).values[0], FRAME(0));
    struct trace_record taken = last(TRACE_tdp_mmu_spte_changed);
    assert_int_equal(taken.values[0], FRAME(0));
    assert_int_equal(taken.values[1] & ~taken.values[2], EPT_WRITE | SPTE_MMU_WRITABLE);

    assert_int_equal(mmu_untrack(&mmu, GPA(RAM)), 0);
    since = mark();
    world_touch(&mmu, GPA(RAM), ACCESS_WRITE); /* 512 children and their parent are frozen */
    assert_int_equal(same_number(&since), 514);
    assert_int_equal(events(&since, TRACE_mmu_set_spte), 1);
    struct trace_record set = last(TRACE_mmu_set_spte);
    assert_int_equal(set.values[3], EPT_LEVEL_2M);
    assert_int_equal(last(TRACE_tdp_mmu_spte_changed).values[0], FRAME(511));
}

static void zaps(void **state)
{
    (void)state;
    world_touch(&mmu, GPA(RAM), ACCESS_WRITE);
    world_touch(&mmu, GPA(DEVICE), ACCESS_WRITE);
    struct since since = mark();
    assert_int_equal(mmu_zap(&mmu, GPA(RAM), RAM_PAGES), 0);
    assert_int_equal(same_number(&since), 1);
    struct trace_record zapped = last(TRACE_tdp_mmu_spte_changed);
    assert_int_equal(zapped.values[2], SPTE_NONPRESENT);
    assert_int_equal(zapped.values[3], EPT_LEVEL_2M);
    since = mark();
    assert_int_equal(mmu_zap(&mmu, GPA(DEVICE), 1), 0);
    assert_int_equal(same_number(&since), 1);

    world_touch(&mmu, GPA(RAM), ACCESS_WRITE);
    since = mark();
    uint64_t tables = mmu_stats(&mmu).tables;
    assert_int_equal(mmu_set_generation(&mmu, 100), 0);
    same_number(&since); /* the entries of the root, whatever is below them */
    assert_int_equal(events(&since, TRACE_mmu_zap_all_fast), 1);
    assert_int_equal(last(TRACE_mmu_zap_all_fast).values[1], tables);
    since = mark();
    tlb_enter(&mmu, 0);
    assert_int_equal(events(&since, TRACE_invept), 1);
    assert_int_equal(last(TRACE_invept).values[0], INVEPT_DEBT);
}

/* Dirty logging clears W, and the fast fault sets it again: one event of the fault, and one of the
 * change. Aging removes all rights, likewise. */
static void fast_faults(void **state)
{
    (void)state;
    struct mmio_info info;
    uint64_t bits;
    assert_int_equal(mmu_slot_flags(&mmu, 0, MEMSLOT_LOG_DIRTY), 0);
    world_touch(&mmu, GPA(RAM), ACCESS_WRITE);
    struct since since = mark();
    assert_int_equal(mmu_dirty_get(&mmu, 0, 0, &bits, 1), 0);
    assert_int_equal(bits, 1);
    assert_int_equal(same_number(&since), 1);
    since = mark();
    assert_int_equal(mmu_fault(&mmu, GPA(RAM), ACCESS_WRITE | FAULT_PRESENT | FAULT_FINAL, &info),
                     FAULT_FIXED);
    assert_int_equal(same_number(&since), 1);
    assert_int_equal(events(&since, TRACE_mmu_set_spte), 1);
    assert_int_equal(events(&since, TRACE_fast_page_fault), 1);
    struct trace_record fast = last(TRACE_fast_page_fault);
    assert_int_equal(fast.values[3] ^ fast.values[4], EPT_WRITE);
    assert_int_equal(fast.values[5], FAULT_FIXED);

    since = mark();
    assert_int_equal(mmu_age(&mmu, GPA(RAM), 1), 1);
    assert_int_equal(same_number(&since), 1);
    since = mark();
    assert_int_equal(mmu_fault(&mmu, GPA(RAM), ACCESS_READ | FAULT_FINAL, &info), FAULT_FIXED);
    assert_int_equal(same_number(&since), 1);
    since = mark();
    assert_int_equal(mmu_fault(&mmu, GPA(RAM), ACCESS_READ | FAULT_PRESENT, &info), FAULT_SPURIOUS);
    assert_int_equal(events(&since, TRACE_fast_page_fault), 1);
    assert_int_equal(change_count(), since.events);
}

/* All operations in random order: there are as many events as changes. */
static void any_order(void **state)
{
    (void)state;
    struct since since = mark();
    uint64_t random = 12345, bits;
    for (unsigned i = 0; i < 2000; i++) {
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        gpa_t page = GPA(RAM + (random >> 33) % RAM_PAGES * PAGE_SIZE);
        int error = 0;
        switch (random >> 60) {
        case 0:
            error = mmu_zap(&mmu, page, 1);
            break;
        case 1:
            error = mmu_host_remap(&mmu, page);
            error = error == -EFAULT ? 0 : error; /* never touched */
            break;
        case 2:
            error = mmu_track(&mmu, page) ?: mmu_untrack(&mmu, page);
            break;
        case 3:
            error = mmu_slot_flags(&mmu, 0, random >> 59 & 1 ? MEMSLOT_LOG_DIRTY : 0);
            break;
        case 4:
            if (mmu_is_logging(&mmu))
                error = mmu_dirty_get(&mmu, 0, 0, &bits, 1);
            break;
        case 5:
            mmu_age(&mmu, page, 64);
            break;
        case 6:
            error = mmu_slot_delete(&mmu, 0) ?: mmu_slot_add(&mmu, 0, GPA(RAM), RAM_PAGES, 0);
            break;
        case 7:
            world_touch(&mmu, GPA(DEVICE + (page.v & 0xf000)), ACCESS_READ);
            break;
        default:
            world_touch(&mmu, page, random >> 59 & 1 ? ACCESS_READ : ACCESS_WRITE);
        }
        assert_int_equal(error, 0);
        assert_int_equal(change_count() - since.events,
                         mmu_stats(&mmu).spte_changes - since.changes);
    }
    assert_true(same_number(&since) > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(first_touch_of_ram, setup, teardown),
        cmocka_unit_test_setup_teardown(mmio, setup, teardown),
        cmocka_unit_test_setup_teardown(split_and_collapse, setup, teardown),
        cmocka_unit_test_setup_teardown(zaps, setup, teardown),
        cmocka_unit_test_setup_teardown(fast_faults, setup_small_without_ad, teardown),
        cmocka_unit_test_setup_teardown(any_order, setup, teardown),
        {"any_order_without_ad", any_order, setup_small_without_ad, teardown, NULL},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
