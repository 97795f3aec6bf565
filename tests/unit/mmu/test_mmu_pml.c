/* SPDX-License-Identifier: MIT */
/*
 * PML on several CPUs (rule N2): each CPU switches its own log when it enters, and no write is lost
 * in between. CPU 1 is in the guest, and writes until the moment at which it is made to leave; CPU
 * 0 starts the log and reads it.
 */
#include "tests/unit/mmu/mmu_world.h"

#include <string.h>

#define RAM   0x200000ull
#define PAGES 64u
#define SLOT  3u
#define LOG   ((uint32_t)MEMSLOT_LOG_DIRTY)

static struct mmu mmu;

/* The state of PML on a CPU. */
static struct {
    bool on;
    uint64_t entries[512];
    size_t used;
} pml[2];

static uint64_t store_when_kicked; /* 0: no log */
static bool dirty_when_kicked;     /* the first page of RAM, at the last kick */

/* ---- A CPU that enters as vm/ does ----------------------------------------------------------- */

static void enter(unsigned cpu)
{
    if (tlb_enter(&mmu, cpu) && mmu_wants_pml(&mmu))
        pml[cpu].on = true;
}

static void leave(unsigned cpu)
{
    if (pml[cpu].on) {
        mmu_pml_note(&mmu, pml[cpu].entries, pml[cpu].used);
        pml[cpu].used = 0;
        pml[cpu].on = mmu_wants_pml(&mmu);
    }
    world_leave(cpu);
}

/* A store by a CPU in the guest whose TLB is empty. Returns false if it faults. */
static bool try_store(unsigned cpu, uint64_t gpa)
{
    unsigned level;
    bool was_dirty = mmu_spte(&mmu, GPA(gpa), &level) & EPT_DIRTY;
    if (hw_walk(mmu_eptp(&mmu), gpa_to_gfn(GPA(gpa)), ACCESS_WRITE).result != HW_OK)
        return false;
    if (!was_dirty && pml[cpu].on)
        pml[cpu].entries[pml[cpu].used++] = gpa;
    return true;
}

static void store(unsigned cpu, uint64_t gpa)
{
    struct mmio_info info;
    while (!try_store(cpu, gpa)) {
        leave(cpu);
        support_cpu = cpu;
        assert_int_equal(mmu_fault(&mmu, GPA(gpa), ACCESS_WRITE | FAULT_FINAL, &info), FAULT_FIXED);
        support_cpu = 0;
        enter(cpu);
    }
}

static void on_kick(unsigned cpu)
{
    unsigned level;
    dirty_when_kicked = mmu_spte(&mmu, GPA(RAM), &level) & EPT_DIRTY;
    if (store_when_kicked)
        (void)try_store(cpu, store_when_kicked);
    leave(cpu);
    enter(cpu); /* at once: it does not wait for the CPU that kicked it */
}

static int setup(void **state)
{
    static const struct mmu_config config = {.mmio_caching = true, .ad = true, .pml = true};
    (void)state;
    world_reset(WORLD_CAPS, &config);
    memset(pml, 0, sizeof(pml));
    store_when_kicked = 0;
    kick_hook = on_kick;
    if (mmu_create(&mmu) || mmu_slot_add(&mmu, SLOT, GPA(RAM), PAGES, 0))
        return -1;
    epoch_online(1, NULL);
    enter(1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    leave(1);
    epoch_offline(1);
    mmu_destroy(&mmu);
    return support_pages_in_use() ? -1 : 0;
}

static uint64_t word_of(uint32_t slot, uint64_t page)
{
    uint64_t bits;
    assert_int_equal(mmu_dirty_get(&mmu, slot, page, &bits, 1), 0);
    return bits;
}

static uint64_t dirty(void)
{
    return word_of(SLOT, 0);
}

/* ---- The rules ------------------------------------------------------------------------------- */

/* The CPU sets a D bit without PML just before it leaves. That page must not stay out of the log.
 * When the D bits are clear, the CPU is made to leave once more: it may have translations with D
 * set, by which it writes without a log (rule S4). */
static void a_write_while_the_log_starts(void **state)
{
    (void)state;
    store(1, RAM);
    store(1, RAM + PAGE_SIZE);
    store_when_kicked = RAM + PAGE_SIZE;
    assert_int_equal(mmu_slot_flags(&mmu, SLOT, LOG), 0);
    assert_true(kicks > 0);
    assert_true(pml[1].on);
    assert_false(dirty_when_kicked);
    store_when_kicked = 0;
    (void)dirty();
    store(1, RAM + PAGE_SIZE);
    assert_int_equal(dirty(), 2);
    assert_int_equal(dirty(), 0);
}

/* A slot that logs when it is added: there is nothing to protect, but a CPU in the guest has to
 * enable PML before its first write. */
static void a_slot_added_with_its_log(void **state)
{
    (void)state;
    assert_int_equal(mmu_slot_delete(&mmu, SLOT), 0);
    enter(1);
    assert_int_equal(mmu_slot_add(&mmu, SLOT, GPA(RAM), PAGES, LOG), 0);
    store(1, RAM + 5 * PAGE_SIZE);
    assert_true(pml[1].on);
    assert_int_equal(dirty(), 1 << 5);
}

/* Entries in the log of a CPU in the guest are collected. */
static void a_log_in_use(void **state)
{
    (void)state;
    assert_int_equal(mmu_slot_flags(&mmu, SLOT, LOG), 0);
    for (uint64_t i = 0; i < 8; i++)
        store(1, RAM + i * PAGE_SIZE);
    assert_int_equal(pml[1].used, 1); /* all but the last one; it faulted then */
    assert_int_equal(dirty(), 0xff);
    store(1, RAM);
    store(1, RAM + PAGE_SIZE);
    assert_int_equal(pml[1].used, 2);
    store_when_kicked = RAM + 2 * PAGE_SIZE; /* in this log or in the next one */
    uint64_t first = dirty();
    store_when_kicked = 0;
    assert_int_equal(first & 3, 3);
    assert_int_equal(first | dirty(), 7);
}

/* Entries of three slots, with two different words of the bitmap of one of them, and of pages that
 * are not logged. */
static void a_log_in_any_order(void **state)
{
    (void)state;
    const uint64_t other = RAM + PAGES * PAGE_SIZE;
    const uint64_t entries[] = {RAM,
                                other + PAGE_SIZE,
                                other + 65 * PAGE_SIZE,
                                0xfe000000,
                                other + 2 * PAGE_SIZE,
                                other + 128 * PAGE_SIZE,
                                other + 129 * PAGE_SIZE,
                                RAM + PAGE_SIZE};
    assert_int_equal(mmu_slot_flags(&mmu, SLOT, LOG), 0);
    assert_int_equal(mmu_slot_add(&mmu, 4, GPA(other), 128, LOG), 0);
    assert_int_equal(mmu_slot_add(&mmu, 5, GPA(other + 128 * PAGE_SIZE), 1, LOG), 0);
    assert_int_equal(mmu_slot_add(&mmu, 6, GPA(other + 129 * PAGE_SIZE), 1, 0), 0);
    mmu_pml_note(&mmu, entries, ARRAY_SIZE(entries));
    assert_int_equal(word_of(SLOT, 0), 3);
    assert_int_equal(word_of(4, 0), 6);
    assert_int_equal(word_of(4, 64), 2);
    assert_int_equal(word_of(5, 0), 1);
}

/* PML is disabled when no slot logs any more, not earlier. */
static void the_last_one_ends_it(void **state)
{
    (void)state;
    assert_int_equal(mmu_slot_add(&mmu, 4, GPA(RAM + 2 * PAGES * PAGE_SIZE), PAGES, LOG), 0);
    assert_int_equal(mmu_slot_flags(&mmu, SLOT, LOG), 0);
    assert_true(pml[1].on);
    assert_int_equal(mmu_slot_flags(&mmu, SLOT, 0), 0);
    leave(1);
    enter(1);
    assert_true(pml[1].on);
    assert_int_equal(mmu_slot_delete(&mmu, 4), 0);
    leave(1);
    enter(1);
    assert_false(pml[1].on);
    assert_false(mmu_wants_pml(&mmu));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_write_while_the_log_starts, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slot_added_with_its_log, setup, teardown),
        cmocka_unit_test_setup_teardown(a_log_in_use, setup, teardown),
        cmocka_unit_test_setup_teardown(a_log_in_any_order, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_one_ends_it, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
