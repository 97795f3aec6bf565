/* SPDX-License-Identifier: MIT */
/* What the MMU shows of itself: each entry on the way to a frame, in words; its slot and its page;
 * and that looking changes nothing. */
#include "tests/unit/mmu/mmu_world.h"

#include "mmu/dirty.h"
#include "mmu/look.h"

#include <stdio.h>

static struct mmu mmu;

#define RAM    0x200000ull
#define PAGES  64u
#define DEVICE 0xfe000000ull

static void start(bool mmio_caching)
{
    struct mmu_config config = {
        .mmio_caching = mmio_caching, .ad = true, .huge = true, .slot_generation_start = 4};
    world_reset(WORLD_CAPS, &config);
    assert_int_equal(mmu_create(&mmu), 0);
    assert_int_equal(mmu_slot_add(&mmu, 7, GPA(RAM), PAGES, 0), 0);
}

static void stop(void)
{
    world_check(&mmu);
    mmu_destroy(&mmu);
    assert_int_equal(support_pages_in_use(), 0);
}

static const char *words(const struct mmu_look *look, unsigned entry)
{
    static char text[200];
    spte_text(&mmu, look->entries[entry].spte, look->entries[entry].level,
              mmu_slot_generation(&mmu), text, sizeof(text));
    return text;
}

static struct mmu_look look_at(uint64_t gpa)
{
    struct mmu_look look;
    mmu_look(&mmu, GPA(gpa), 0, &look);
    return look;
}

static void memory(void **state)
{
    (void)state;
    char expected[200];
    start(true);
    struct mmu_look look = look_at(RAM + 0x5000);
    assert_true(look.in_slot);
    assert_int_equal(look.slot.id, 7);
    assert_true(page_is_none(look.page));
    assert_int_equal(look.count, 1);
    assert_string_equal(words(&look, 0), "nothing is mapped");

    hpa_t page = world_touch(&mmu, GPA(RAM + 0x5000), 2).page;
    look = look_at(RAM + 0x5123);
    assert_int_equal(look.page.v, page.v);
    assert_int_equal(look.page_level, EPT_LEVEL_4K);
    assert_int_equal(look.count, 4);
    assert_int_equal(look.alias.v, (RAM + 0x5000) >> 12);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(look.entries[i].level, 4 - i);
        snprintf(expected, sizeof(expected), "table at HPA %#lx, RWX, accessed, suppress #VE",
                 (unsigned long)spte_page(look.entries[i].spte).v);
        assert_string_equal(words(&look, i), expected);
    }
    snprintf(expected, sizeof(expected),
             "4 KiB page at HPA %#lx, RWX, WB, ignore PAT, accessed, dirty, host-writable, "
             "MMU-writable, suppress #VE",
             (unsigned long)page.v);
    assert_string_equal(words(&look, 3), expected);
    unsigned level;
    assert_int_equal(look.entries[3].spte, mmu_spte(&mmu, GPA(RAM + 0x5000), &level));
    stop();
}

static void devices(void **state)
{
    (void)state;
    start(true);
    (void)world_touch(&mmu, GPA(DEVICE), 1);
    struct mmu_look look = look_at(DEVICE);
    assert_false(look.in_slot);
    assert_string_equal(words(&look, look.count - 1), "MMIO of generation 0x5, current");
    assert_int_equal(mmu_slot_add(&mmu, 8, GPA(RAM + 0x1000000), 1, 0), 0);
    look = look_at(DEVICE);
    assert_string_equal(words(&look, look.count - 1), "MMIO of generation 0x5, stale");
    stop();
}

static void slots(void **state)
{
    (void)state;
    struct memslot slot;
    char text[100];
    start(true);
    assert_int_equal(mmu_slot_add(&mmu, 3, GPA(0), 16, MEMSLOT_READONLY | MEMSLOT_LOG_DIRTY), 0);
    assert_true(mmu_look_slot(&mmu, 0, &slot));
    assert_int_equal(slot.id, 3);
    memslot_flags_text(slot.flags, text, sizeof(text));
    assert_string_equal(text, "read-only, logs dirty pages");
    assert_true(mmu_look_slot(&mmu, 1, &slot));
    assert_int_equal(slot.id, 7);
    memslot_flags_text(slot.flags, text, sizeof(text));
    assert_string_equal(text, "read and write");
    assert_false(mmu_look_slot(&mmu, 2, &slot));
    stop();
}

static void logs(void **state)
{
    (void)state;
    struct memslot slot;
    start(true);
    assert_int_equal(mmu_slot_flags(&mmu, 7, MEMSLOT_LOG_DIRTY), 0);
    dirty_note(&mmu, GFN((RAM >> 12) + 1), 1);
    dirty_note(&mmu, GFN((RAM >> 12) + PAGES - 1), 1);
    assert_true(mmu_look_slot(&mmu, 0, &slot));
    assert_int_equal(mmu_look_dirty(&slot), 2);
    assert_true(look_at(RAM + 0x1000).dirty);
    assert_false(look_at(RAM + 0x2000).dirty);
    assert_int_equal(look_at(RAM).tracked, 0);
    assert_int_equal(mmu_track(&mmu, GPA(RAM)), 0);
    assert_int_equal(look_at(RAM).tracked, 1);
    assert_int_equal(look_at(RAM + 0x1000).tracked, 0);
    stop();
}

/* N101: the memory of a slot keeps its name when it is moved, and gives it to no other slot. */
static void memory_has_a_name(void **state)
{
    (void)state;
    struct mmu_memory before, now;
    bool tracked;
    gpa_t gpa;
    start(true);
    before = mmu_memory_at(&mmu, GPA(RAM + 0x2123), &tracked);
    assert_int_equal(before.born, 0);
    assert_false(tracked);
    assert_int_equal(mmu_track(&mmu, GPA(RAM + 0x1000)), 0);
    before = mmu_memory_at(&mmu, GPA(RAM + 0x2123), &tracked);
    assert_true(before.born);
    assert_int_equal(before.frame, 2);
    assert_false(tracked);
    assert_int_equal(mmu_track(&mmu, GPA(RAM + 0x2000)), 0);
    assert_int_equal(mmu_slot_move(&mmu, 7, GPA(RAM + 0x10000000)), 0);
    assert_true(mmu_memory_place(&mmu, &before, &gpa));
    assert_int_equal(gpa.v, RAM + 0x10002000);
    now = mmu_memory_at(&mmu, GPA(RAM + 0x10002000), &tracked);
    assert_memory_equal(&now, &before, sizeof(now));
    assert_true(tracked);
    now = mmu_memory_at(&mmu, GPA(RAM + 0x2000), &tracked);
    assert_int_equal(now.born, 0);
    assert_false(tracked);
    assert_false(mmu_memory_place(&mmu, &now, &gpa));
    assert_int_equal(mmu_slot_delete(&mmu, 7), 0);
    assert_int_equal(mmu_slot_add(&mmu, 7, GPA(RAM), PAGES, 0), 0);
    assert_int_equal(mmu_track(&mmu, GPA(RAM + 0x2000)), 0);
    assert_false(mmu_memory_place(&mmu, &before, &gpa));
    now = mmu_memory_at(&mmu, GPA(RAM + 0x2000), &tracked);
    assert_true(now.born && now.born != before.born);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory), cmocka_unit_test(devices),           cmocka_unit_test(slots),
        cmocka_unit_test(logs),   cmocka_unit_test(memory_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
