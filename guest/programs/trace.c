/* SPDX-License-Identifier: MIT */
/*
 * Trace events, switched on and off by the guest itself (rule N8): an event that is on is recorded
 * each time, and an event that is off is not. The accesses are repeated ones, which take the fast
 * path while they are not traced.
 */
#include "guest/programs/rt/rt.h"
#include "lib/trace.h"

#define DEV  ((uint64_t)TESTDEV_A_BASE)
#define HOLE 0xc0000000ull
#define SLOT 8
#define N    100u

static uint64_t trace_events(uint64_t events)
{
    struct hypercall call = {.rbx = events};
    EXPECT_EQ(hypercall(HC_TRACE, &call), 0);
    return call.rbx;
}

static struct watch watch_event(unsigned event)
{
    return watch(COUNTER_TRACE(event));
}

/* One instruction, for which the first call makes a replay entry. */
static __attribute__((noinline)) void store_often(void)
{
    for (uint32_t i = 0; i < N; i++)
        write32(DEV + 4, i);
}

static void accesses(void)
{
    uint64_t at_boot = trace_events(0); /* trace= may have chosen some */
    struct watch mmio = watch_event(TRACE_mmio);
    store_often();
    EXPECT_EQ(watched(mmio), 0);
    EXPECT_EQ(trace_events(TRACE_BIT(mmio)), 0);
    store_often();
    EXPECT_EQ(watched(mmio), N);
    EXPECT_EQ(trace_events(TRACE_BIT(mmu_set_spte)), TRACE_BIT(mmio));
    store_often();
    EXPECT_EQ(watched(mmio), N);
    note("mmio", watched(mmio));
    trace_events(at_boot);
}

/* P8: RAM is added over MMIO and removed; each SPTE that changes is recorded once. */
static void changes(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, HOLE, 4, 0), 0); /* so that all tables are there */
    write32(HOLE, 1);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
    (void)read32(HOLE);
    uint64_t at_boot = trace_events(TRACE_SPTE_CHANGES);
    struct watch set = watch_event(TRACE_mmu_set_spte);
    struct watch marked = watch_event(TRACE_mark_mmio_spte);
    struct watch other = watch_event(TRACE_tdp_mmu_spte_changed);
    EXPECT_EQ(hc_slot_add(SLOT, HOLE, 4, 0), 0);
    write32(HOLE, 1);
    write32(HOLE, 2);
    EXPECT_EQ(watched(set), 1);
    EXPECT_EQ(watched(marked), 0);
    EXPECT_EQ(watched(other), 0);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
    EXPECT_EQ(watched(other), 1);
    (void)read32(HOLE);
    (void)read32(HOLE);
    EXPECT_EQ(watched(set), 1);
    EXPECT_EQ(watched(marked), hc_config(CONFIG_MMIO_CACHING));
    EXPECT_EQ(watched(other), 1);
    note("set", watched(set));
    note("marked", watched(marked));
    trace_events(at_boot);
}

static void refusals(void)
{
    struct hypercall unknown = {.rbx = BIT(TRACE_EVENT_COUNT)};
    struct hypercall beyond = {.rbx = COUNTER_TRACE(TRACE_EVENT_COUNT)};
    EXPECT_EQ(hypercall(HC_TRACE, &unknown), -EINVAL);
    EXPECT_EQ(hypercall(HC_COUNTER, &beyond), -EINVAL);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"accesses", accesses, NEED_TESTCTL},
        {"changes", changes, NEED_TESTCTL},
        {"refusals", refusals, NEED_TESTCTL},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
