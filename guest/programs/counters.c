/* SPDX-License-Identifier: MIT */
/*
 * The counters that KVM also has are correct: faults by their outcome, pages by their size, MMIO,
 * and the guest's own flushes (rule N9).
 */
#include "guest/programs/rt/rt.h"

#define SLOT  8
#define BASE  0xc0000000ull
#define PAGES 16u
#define DEV   ((uint64_t)TESTDEV_B_BASE)

static uint64_t page(uint64_t i)
{
    return BASE + i * RT_PAGE;
}

static void add_slot(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, BASE, PAGES, 0), 0);
}

static void faults(void)
{
    struct watch taken = watch(COUNTER_PF_TAKEN), fixed = watch(COUNTER_PF_FIXED);
    struct watch emulated = watch(COUNTER_PF_EMULATE);
    struct watch created = watch(COUNTER_MMIO_SPTE_CREATED);
    bool caching = hc_config(CONFIG_MMIO_CACHING);
    (void)read32(page(0)); /* no slot yet */
    (void)read32(page(0));
    EXPECT_EQ(watched(taken), caching ? 1 : 2);
    EXPECT_EQ(watched(emulated), watched(taken));
    EXPECT_EQ(watched(created), caching);

    taken = watch(COUNTER_PF_TAKEN), emulated = watch(COUNTER_PF_EMULATE);
    add_slot();
    struct watch small = watch(COUNTER_PAGES_4K);
    for (uint64_t i = 0; i < PAGES; i++) /* the first access meets a stale MMIO SPTE */
        write32(page(i), 1);
    EXPECT_EQ(watched(taken), PAGES);
    EXPECT_EQ(watched(fixed), PAGES);
    EXPECT_EQ(watched(emulated), 0);
    EXPECT_EQ(watched(small), PAGES);

    EXPECT_EQ(hc_page(HC_TRACK, page(3)), 0);
    write32(page(3), 2);
    EXPECT_EQ(watched(emulated), 1);
    EXPECT_EQ(watched(fixed), PAGES);
    EXPECT_EQ(hc_page(HC_UNTRACK, page(3)), 0);
    note("fixed", watched(fixed));
    note("emulated", watched(emulated));
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
    EXPECT_EQ(watched(small), 0);
    EXPECT_EQ(counter(COUNTER_REMOTE_TLB_FLUSH), 0); /* there is only one CPU */
}

/* Without A/D bits, giving W back takes a fault. */
static void fast_faults(void)
{
    bool by_fault = !hc_config(CONFIG_AD);
    add_slot();
    write32(page(1), 1);
    EXPECT_EQ(hc_slot_flags(SLOT, SLOT_LOG_DIRTY), 0);
    struct watch fast = watch(COUNTER_FAST_FAULTS), fixed = watch(COUNTER_PF_FIXED);
    write32(page(1), 2);
    EXPECT_EQ(hc_dirty_get(SLOT, 0), 2);
    EXPECT_EQ(watched(fast), by_fault);
    EXPECT_EQ(watched(fixed), by_fault);
    note("fast", watched(fast));
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

static void mmio(void)
{
    (void)read32(DEV);
    struct watch exits = watch(COUNTER_MMIO_EMULATED), taken = watch(COUNTER_PF_TAKEN);
    for (uint32_t i = 0; i < 100; i++)
        write32(DEV, i);
    EXPECT_EQ(watched(exits), 100);
    EXPECT_EQ(watched(taken), hc_config(CONFIG_MMIO_CACHING) ? 0 : 100);
    note("mmio_exits", watched(exits));
}

/* INVLPG exits only with gva_cache=exits. */
static void invlpgs(void)
{
    struct watch count = watch(COUNTER_INVLPG);
    for (uint64_t i = 0; i < 10; i++)
        invlpg(TEST_VA + i * RT_PAGE);
    uint64_t n = watched(count);
    EXPECT_EQ(n, hc_config(CONFIG_GVA_CACHE) == 1 ? 10 : 0);
    note("invlpg", n);
}

static void refusals(void)
{
    struct hypercall beyond = {.rbx = COUNTER_COUNT};
    EXPECT_EQ(hypercall(HC_COUNTER, &beyond), -EINVAL);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"faults", faults, NEED_TESTCTL},     {"fast_faults", fast_faults, NEED_TESTCTL},
        {"mmio", mmio, NEED_TESTCTL},         {"invlpg", invlpgs, NEED_TESTCTL},
        {"refusals", refusals, NEED_TESTCTL},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
