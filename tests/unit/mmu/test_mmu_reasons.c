/* SPDX-License-Identifier: MIT */
/* Each flush shows its reason, in its trace event and in the counters (rule T2). */
#include "tests/unit/mmu/mmu_world.h"

#include "lib/trace.h"

#include <string.h>

#define RAM    0x40000000ull
#define PAGES  1024ull
#define SHARED BIT(38)
#define GIB    0x40000000ull
#define LOG    ((uint32_t)MEMSLOT_LOG_DIRTY)

static struct mmu mmu;

/* ---- What flushes are owed for --------------------------------------------------------------- */

static void settle(void)
{
    tlb_enter(&mmu, 0);
}

static void touch(uint64_t gpa, unsigned access)
{
    assert_int_equal(world_touch(&mmu, GPA(gpa), access).outcome, FAULT_FIXED);
}

/* Another CPU faults while this CPU waits for the epoch in which the new slot is published. */
static void fault_meanwhile(unsigned pcpu)
{
    struct mmio_info info;
    if (mmu.slots->used == 2 && !mmu_stats(&mmu).pages[1]) {
        tlb_leave(pcpu);
        support_cpu = pcpu;
        (void)!mmu_fault(&mmu, GPA(2 * RAM), ACCESS_READ | FAULT_FINAL, &info);
        support_cpu = 0;
    }
    world_leave(pcpu);
}

static void slot_added(void)
{
    epoch_online(1, &mmu);
    tlb_enter(&mmu, 1);
    kick_hook = fault_meanwhile;
    assert_int_equal(mmu_slot_add(&mmu, 1, GPA(2 * RAM), 512, 0), 0);
    kick_hook = NULL;
    epoch_offline(1);
}

static void slot_gone(void)
{
    touch(RAM, ACCESS_WRITE);
    assert_int_equal(mmu_slot_delete(&mmu, 0), 0);
}

static void slot_moved(void)
{
    touch(RAM, ACCESS_WRITE);
    assert_int_equal(mmu_slot_move(&mmu, 0, GPA(2 * RAM)), 0);
}

static void slot_flags(void)
{
    touch(RAM, ACCESS_WRITE);
    assert_int_equal(mmu_slot_flags(&mmu, 0, MEMSLOT_READONLY), 0);
}

static void log_started(void)
{
    touch(RAM, ACCESS_WRITE);
    assert_int_equal(mmu_slot_flags(&mmu, 0, LOG), 0);
}

static void log_read(void)
{
    uint64_t bits;
    log_started();
    settle();
    touch(RAM, ACCESS_WRITE);
    assert_int_equal(mmu_dirty_get(&mmu, 0, 0, &bits, 1), 0); /* this CPU sets no D bit */
}

static void writes_tracked(void)
{
    touch(RAM, ACCESS_WRITE);
    assert_int_equal(mmu_track(&mmu, GPA(RAM)), 0);
}

static void aged(void)
{
    touch(RAM, ACCESS_WRITE);
    assert_int_equal(mmu_age(&mmu, GPA(RAM), 1), 1);
}

static void host_remapped(void)
{
    touch(RAM, ACCESS_WRITE);
    assert_int_equal(mmu_host_remap(&mmu, GPA(RAM)), 0);
}

static void converted(void)
{
    touch(RAM, ACCESS_WRITE);
    assert_int_equal(mmu_convert(&mmu, GPA(RAM), 1, true), 1);
}

/* No fault removes a right at present; such a change is made by hand. */
static void leaf_replaced(void)
{
    struct tdp_mapping want = {.access = {.alias = gpa_to_alias(GPA(RAM)),
                                          .gfn = gpa_to_gfn(GPA(RAM)),
                                          .role = ROLE_RIGHTS,
                                          .bits = EPT_READ},
                               .page = HPA(0x1000),
                               .level = EPT_LEVEL_4K,
                               .rights = SPTE_HOST_WRITABLE};
    assert_int_equal(tdp_top_up(mmu_self(&mmu)), 0);
    assert_int_equal(tdp_map(mmu_self(&mmu), &want), FAULT_FIXED);
    settle();
    want.access.bits = EPT_WRITE;
    want.access.role &= ~(uint32_t)EPT_EXECUTE;
    want.rights |= SPTE_MMU_WRITABLE | EPT_WRITE;
    assert_int_equal(tdp_map(mmu_self(&mmu), &want), FAULT_FIXED);
}

static void table_collapsed(void)
{
    touch(RAM, ACCESS_WRITE);
    assert_int_equal(mmu_track(&mmu, GPA(RAM)), 0);
    settle();
    assert_int_equal(mmu_untrack(&mmu, GPA(RAM)), 0);
    assert_int_equal(mmu_zap(&mmu, GPA(RAM), 1), 0);
    settle();
    struct mmio_info info;
    assert_int_equal(mmu_fault(&mmu, GPA(RAM), ACCESS_WRITE | FAULT_FINAL, &info), FAULT_FIXED);
    assert_int_equal(mmu_stats(&mmu).collapses, 1);
}

static void nx_recovered(void)
{
    touch(RAM, ACCESS_WRITE);
    touch(RAM, ACCESS_FETCH);
    settle();
    assert_int_equal(mmu_nx_recover(&mmu), 1);
}

static void zapped(void)
{
    touch(RAM, ACCESS_WRITE);
    assert_int_equal(mmu_zap(&mmu, GPA(RAM), 1), 0);
}

/* A guest that searches for devices in each GiB. */
static void too_many_tables(void)
{
    struct mmio_info info;
    uint64_t zaps = mmu_stats(&mmu).full_zaps;
    for (uint64_t i = 2; mmu_stats(&mmu).full_zaps == zaps; i++) {
        assert_in_range(i, 2, 1023);
        (void)!mmu_fault(&mmu, GPA(i * GIB), ACCESS_READ | FAULT_FINAL, &info);
    }
}

static void new_generation(void)
{
    touch(RAM, ACCESS_WRITE);
    assert_int_equal(mmu_set_generation(&mmu, 100), 0);
}

static void generation_wraps(void)
{
    touch(RAM, ACCESS_WRITE);
    assert_int_equal(mmu_set_generation(&mmu, SPTE_GENERATION_MASK), 0);
    settle();
    touch(RAM, ACCESS_WRITE);
    assert_int_equal(mmu_slot_add(&mmu, 1, GPA(2 * RAM), 1, 0), 0);
}

static void stray_leaf(void)
{
    touch(RAM, ACCESS_WRITE);
    assert_int_equal(tdp_top_up(mmu_self(&mmu)), 0);
    int result = tdp_map_mmio(mmu_self(&mmu), gpa_to_alias(GPA(RAM)), gpa_to_gfn(GPA(RAM)),
                              mmu_slot_generation(&mmu));
    assert_int_equal(result, FAULT_EMULATE);
}

static const struct row {
    void (*owe)(void);
    enum debt_reason reason;
    struct mmu_config config;
    bool sides, ve;
} rows[] = {
    {slot_added, DEBT_SLOT_ADDED, .config = {.mmio_caching = true, .huge = true}, .ve = true},
    {slot_gone, DEBT_SLOT_GONE, .config = {.ad = true}},
    {slot_moved, DEBT_SLOT_GONE, .config = {.huge = true}},
    {slot_flags, DEBT_SLOT_FLAGS, .config = {.huge = true}},
    {log_started, DEBT_LOG_STARTED, .config = {.ad = true}},
    {log_started, DEBT_LOG_STARTED, .config = {.ad = true, .pml = true}},
    {log_started, DEBT_LOG_STARTED, .config = {.ad = false}},
    {log_read, DEBT_LOG_READ, .config = {.ad = true}},
    {log_read, DEBT_LOG_READ, .config = {.ad = true, .pml = true}},
    {log_read, DEBT_LOG_READ, .config = {.ad = false}},
    {writes_tracked, DEBT_WRITES_TRACKED, .config = {.huge = true}},
    {aged, DEBT_AGED, .config = {.ad = false}},
    {host_remapped, DEBT_HOST_REMAPPED, .config = {.huge = true}},
    {converted, DEBT_CONVERTED, .config = {.ad = true}, .sides = true},
    {leaf_replaced, DEBT_LEAF_REPLACED, .config = {.ad = true}},
    {table_collapsed, DEBT_TABLE_COLLAPSED, .config = {.ad = true, .huge = true}},
    {nx_recovered, DEBT_NX_RECOVERED, .config = {.huge = true, .nx_huge = true}},
    {zapped, DEBT_ZAPPED, .config = {.huge = true}},
    {too_many_tables, DEBT_TOO_MANY_TABLES, .config = {.mmio_caching = true}},
    {new_generation, DEBT_NEW_GENERATION, .config = {.mmio_caching = true}},
    {generation_wraps, DEBT_NEW_GENERATION, .config = {.mmio_caching = true}},
    {stray_leaf, DEBT_STRAY_LEAF, .config = {.mmio_caching = true}},
};

static void start(const struct row *row)
{
    trace_forget(1);
    world_reset(WORLD_CAPS, &row->config);
    assert_int_equal(mmu_create(&mmu), 0);
    if (row->sides)
        assert_int_equal(mmu_steal_bit(&mmu, 38, STOLEN_SHARED), 0);
    if (row->ve)
        assert_int_equal(mmu_take_ve(&mmu), 0);
    assert_int_equal(mmu_slot_add(&mmu, 0, GPA(RAM), PAGES, 0), 0);
    settle();
    for (unsigned i = 0; i < DEBT_REASONS; i++)
        assert_int_equal(mmu_invept_for(&mmu, i), 0); /* the first entry pays no debt */
}

/* The newest event. */
static struct trace_record last_flush(void)
{
    struct trace_reader reader;
    struct trace_record last = {0};
    trace_read_begin(&reader, 1, UINT64_MAX);
    for (const struct trace_record *r; (r = trace_read_next(&reader));)
        last = *r;
    return last;
}

static void each_flush_names_its_reason(void **state)
{
    (void)state;
    uint64_t seen = 0;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct row *row = &rows[i];
        uint64_t before[DEBT_REASONS];
        start(row);
        trace_select(1, TRACE_BIT(invept));
        assert_int_equal(trace_create_ring(0), 0);
        trace_run(1, 0, NULL);
        row->owe();
        for (unsigned r = 0; r < DEBT_REASONS; r++)
            before[r] = mmu_invept_for(&mmu, r);
        settle();
        for (unsigned r = 0; r < DEBT_REASONS; r++)
            if (mmu_invept_for(&mmu, r) - before[r] != (r == row->reason))
                fail_msg("row %zu: %lu flushes for reason %u", i,
                         mmu_invept_for(&mmu, r) - before[r], r);
        assert_int_equal(last_flush().values[1], BIT(row->reason));
        seen |= BIT(row->reason);
        trace_forget(1);
        mmu_destroy(&mmu);
        assert_int_equal(mmu.tlb.newest[DEBT_NONE], 0);
    }
    seen |= BIT(DEBT_NONE) | BIT(DEBT_MMU_DESTROYED); /* no vCPU enters again */
    seen |= BIT(DEBT_REMOVAL_TRACKED); /* of protected VMs: test_mmu_mirror_removal */
    assert_int_equal(seen, BIT(DEBT_REASONS) - 1);
}

/* A pCPU that enters late pays for all changes since its last entry; one that was never here pays
 * for none. */
static void several_at_once(void **state)
{
    (void)state;
    start(&(struct row){.config = {.huge = true}});
    touch(RAM, ACCESS_WRITE);
    zapped();
    slot_flags();
    settle();
    assert_int_equal(mmu_invept_for(&mmu, DEBT_ZAPPED), 1);
    assert_int_equal(mmu_invept_for(&mmu, DEBT_SLOT_FLAGS), 1);
    tlb_enter(&mmu, 1);
    tlb_leave(1);
    assert_int_equal(mmu_invept_for(&mmu, DEBT_ZAPPED), 1);
    assert_int_equal(mmu_slot_flags(&mmu, 0, 0), 0);
    zapped();
    tlb_enter(&mmu, 1);
    tlb_leave(1);
    assert_int_equal(mmu_invept_for(&mmu, DEBT_ZAPPED), 2);
    touch(RAM, ACCESS_WRITE);
    mmu_destroy(&mmu);
    assert_int_equal(mmu.tlb.newest[DEBT_MMU_DESTROYED], tlb_debt(&mmu));
}

/* A change that removes something and has no reason is a bug. */
static void no_reason(void **state)
{
    (void)state;
    start(&(struct row){.config = {.huge = true}});
    uint64_t leaf = spte_default_leaf(HPA(0x1000), EPT_LEVEL_4K), entry = leaf;
    expect_assert_failure((void)!tdp_store(mmu_self(&mmu), GFN(0), &entry, EPT_LEVEL_4K, leaf,
                                           leaf & ~EPT_WRITE, DEBT_NONE));
    mmu_destroy(&mmu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_flush_names_its_reason),
        cmocka_unit_test(several_at_once),
        cmocka_unit_test(no_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
