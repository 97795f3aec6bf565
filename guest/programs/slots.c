/* SPDX-License-Identifier: MIT */
/*
 * Slots are added, deleted and moved while the guest runs (scenario 2). A slot added over MMIO is
 * RAM at once and owes no flush; deleting a slot owes one; a moved slot keeps its contents.
 */
#include "guest/programs/rt/rt.h"

#define DEV    ((uint64_t)TESTDEV_A_BASE)
#define HOLE   0xc0000000ull
#define BEYOND 0xc8000000ull
#define SLOT   8

#define RAM_SLOT 0x2000 /* the VM's own slots have numbers from here on */

static void add_over_mmio(void)
{
    uint64_t caching = hc_config(CONFIG_MMIO_CACHING);

    write32(DEV + TESTDEV_RESET, 1);
    write32(DEV, 0x1234);
    EXPECT_EQ(read32(DEV), 0x1234);
    struct flushes invepts = watch_flushes();
    struct watch stale = watch(COUNTER_MMIO_SPTE_STALE);
    EXPECT_EQ(hc_slot_add(SLOT, DEV, 1, 0), 0);
    EXPECT_EQ(read32(DEV), 0);
    write32(DEV, 0x5678);
    EXPECT_EQ(read32(DEV), 0x5678);
    uint64_t ni = flushed(invepts, 0), ns = watched(stale);
    struct watch violations = watch(EXITS_VIOLATION), misconfigs = watch(EXITS_MISCONFIG);
    for (uint32_t i = 0; i < 100; i++)
        write32(DEV + 4 * i, i);
    EXPECT_EQ(watched(violations), 0);
    EXPECT_EQ(watched(misconfigs), 0);
    EXPECT_EQ(ni, 0);
    EXPECT_EQ(ns, caching);
    note("invepts", ni);
    note("stale_mmio_sptes", ns);
}

static void delete_again(void)
{
    struct flushes invepts = watch_flushes();

    EXPECT_EQ(hc_slot_delete(SLOT), 0);
    EXPECT_EQ(read32(DEV), 0x1234);
    uint64_t ni = flushed(invepts, 1);
    EXPECT_EQ(ni, 1);
    /* The device has seen only the accesses of this test: 1 write, and 1 read before and after the
     * RAM. */
    EXPECT_EQ(read32(DEV + TESTDEV_WRITES), 1);
    EXPECT_EQ(read32(DEV + TESTDEV_READS), 2);
    note("invepts", ni);
    note("device_reads", read32(DEV + TESTDEV_READS));
}

/* A slot that was never accessed has no translations, so its deletion owes no flush. */
static void delete_untouched(void)
{
    struct flushes invepts = watch_flushes();

    EXPECT_EQ(hc_slot_add(SLOT, HOLE, 4, 0), 0);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
    EXPECT_EQ(read32(HOLE), 0xffffffff);
    EXPECT_EQ(flushed(invepts, 0), 0);
    note("invepts", flushed(invepts, 0));
}

static void come_and_go(void)
{
    unsigned wrong = 0;

    write32(DEV, 0x4711);
    for (uint32_t i = 0; i < 200; i++) {
        wrong += hc_slot_add(SLOT, DEV, 1, 0) != 0;
        wrong += read32(DEV) != 0; /* the memory is new each time */
        write32(DEV, 0xbad00000 + i);
        wrong += read32(DEV) != 0xbad00000 + i;
        wrong += hc_slot_delete(SLOT) != 0;
        wrong += read32(DEV) != 0x4711;
    }
    EXPECT_EQ(wrong, 0);
    note("rounds", 200);
    note("wrong", wrong);
}

static bool holds(uint64_t base, uint32_t pages, uint32_t pattern)
{
    bool all = true;

    for (uint32_t i = 0; i < pages; i++)
        all &= read32(base + i * RT_PAGE) == pattern + i;
    return all;
}

static void move(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, HOLE, 16, 0), 0);
    for (uint32_t i = 0; i < 16; i++)
        write32(HOLE + i * RT_PAGE, 0xabc0 + i);
    EXPECT_EQ(read32(BEYOND), 0xffffffff);

    struct flushes invepts = watch_flushes();
    EXPECT_EQ(hc_slot_move(SLOT, BEYOND), 0);
    EXPECT(holds(BEYOND, 16, 0xabc0));
    EXPECT_EQ(read32(HOLE), 0xffffffff);
    write32(HOLE, 0);
    EXPECT(holds(BEYOND, 16, 0xabc0));
    uint64_t ni = flushed(invepts, 1);
    EXPECT_EQ(ni, 1);

    /* The slot moves by one page, onto a part of itself. */
    EXPECT_EQ(hc_slot_move(SLOT, BEYOND + RT_PAGE), 0);
    EXPECT(holds(BEYOND + RT_PAGE, 16, 0xabc0));
    EXPECT_EQ(read32(BEYOND), 0xffffffff);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
    EXPECT_EQ(read32(BEYOND + RT_PAGE), 0xffffffff);
    note("invepts", ni);
}

/* Reads come from RAM, and writes are emulated as MMIO; neither installs an MMIO SPTE. */
static void readonly(void)
{
    write32(DEV + TESTDEV_RESET, 1);
    EXPECT_EQ(hc_slot_add(SLOT, DEV, 1, SLOT_READONLY), 0);
    EXPECT_EQ(read32(DEV), 0);
    write32(DEV, 0x99);
    struct watch misconfigs = watch(EXITS_MISCONFIG);
    EXPECT_EQ(read32(DEV), 0);
    EXPECT_EQ(watched(misconfigs), 0);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
    EXPECT_EQ(read32(DEV), 0x99);
    EXPECT_EQ(read32(DEV + TESTDEV_WRITES), 1);
    note("device_writes", read32(DEV + TESTDEV_WRITES));
}

/* Zapping the SPTEs of RAM keeps the memory, and costs one flush and one fault. */
static void zap(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, HOLE, 4, 0), 0);
    for (uint32_t i = 0; i < 4; i++)
        write32(HOLE + i * RT_PAGE, 0x7000 + i);
    struct flushes invepts = watch_flushes();
    struct watch violations = watch(EXITS_VIOLATION);
    EXPECT_EQ(hc_zap(HOLE + RT_PAGE, 2), 0);
    EXPECT(holds(HOLE, 4, 0x7000));
    uint64_t ni = flushed(invepts, 1), nv = watched(violations);
    EXPECT_EQ(ni, 1);
    EXPECT_EQ(nv, 2);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
    note("invepts", ni);
    note("violations", nv);
}

static void refusals(void)
{
    struct flushes invepts = watch_flushes();
    uint64_t generation = hc_generation();

    EXPECT_EQ(hc_slot_add(SLOT, 0x100000, 1, 0), -EEXIST); /* RAM is there */
    EXPECT_EQ(hc_slot_add(RAM_SLOT, HOLE, 1, 0), -EINVAL); /* reserved for the VM's own slots */
    EXPECT_EQ(hc_slot_delete(RAM_SLOT), -EINVAL);
    EXPECT_EQ(hc_slot_move(RAM_SLOT, HOLE), -EINVAL);
    EXPECT_EQ(hc_slot_add(SLOT, HOLE + 1, 1, 0), -EINVAL);
    EXPECT_EQ(hc_slot_add(SLOT, HOLE, 0, 0), -EINVAL);
    EXPECT_EQ(hc_slot_add(SLOT, HOLE, 1, 0x80), -EINVAL);
    EXPECT_EQ(hc_slot_add(1ull << 32, HOLE, 1, 0), -EINVAL);
    EXPECT_EQ(hc_slot_add(SLOT, HOLE, 1, 1ull << 32), -EINVAL);
    EXPECT_EQ(hc_slot_add(SLOT, ~0xfffull, 2, 0), -ERANGE);
    EXPECT_EQ(hc_slot_add(SLOT, HOLE, ~0ull, 0), -ERANGE);
    EXPECT_EQ(hc_slot_delete(SLOT), -EINVAL);
    EXPECT_EQ(hc_slot_move(SLOT, HOLE), -EINVAL);
    EXPECT_EQ(hc_zap(HOLE + 1, 1), -EINVAL);
    EXPECT_EQ(hc_zap(HOLE, 0), -EINVAL);
    EXPECT_EQ(hc_zap(HOLE, ~0ull), -ERANGE);
    EXPECT_EQ(hc_generation(), generation);

    EXPECT_EQ(hc_slot_add(SLOT, HOLE, 2, 0), 0);
    EXPECT_EQ(hc_slot_add(SLOT, BEYOND, 2, 0), -EEXIST);
    EXPECT_EQ(hc_slot_add(SLOT + 1, HOLE + RT_PAGE, 2, 0), -EEXIST);
    EXPECT_EQ(hc_slot_move(SLOT, 0x1000), -EEXIST);
    EXPECT_EQ(hc_slot_move(SLOT, BEYOND + 8), -EINVAL);
    EXPECT_EQ(hc_slot_move(SLOT, ~0xfffull), -ERANGE);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
    EXPECT_EQ(flushed(invepts, 0), 0);
    note("invepts", flushed(invepts, 0));
}

static void unknown_questions(void)
{
    struct hypercall counter_call = {.rbx = 0xfff}, config_call = {.rbx = 0xfff};

    EXPECT_EQ(hypercall(HC_COUNTER, &counter_call), -EINVAL);
    EXPECT_EQ(hypercall(HC_CONFIG, &config_call), -EINVAL);
    EXPECT_EQ(hc_generation_set(0), -EINVAL); /* never backwards */
}

static void too_many(void)
{
    uint64_t added = 0;
    int error;

    while (added < 5000 && !(error = hc_slot_add(100 + added, HOLE + added * RT_PAGE, 1, 0)))
        added++;
    EXPECT_EQ(error, -ENOSPC);
    /* from the end, so that no other slot has to be moved in the table */
    for (uint64_t i = added; i-- > 0;)
        EXPECT_EQ(hc_slot_delete(100 + i), 0);
    EXPECT_EQ(read32(HOLE), 0xffffffff);
    note("slots", added);
}

/* Avoids a wrap of the generation, which flushes everything and would change the counts. wrap.c
 * tests that. */
static void stay_clear_of_wrap(void)
{
    uint64_t bits = hc_config(CONFIG_GEN_BITS);
    uint64_t wrap = ((hc_generation() >> bits) + 1) << bits;

    if (wrap - hc_generation() < 0x1000) {
        EXPECT_EQ(hc_generation_set(wrap + 1), 0);
        touch_image();
    }
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"add_over_mmio", add_over_mmio, NEED_TESTCTL},
        {"delete", delete_again, NEED_TESTCTL},
        {"delete_untouched", delete_untouched, NEED_TESTCTL},
        {"come_and_go", come_and_go, NEED_TESTCTL},
        {"move", move, NEED_TESTCTL},
        {"readonly", readonly, NEED_TESTCTL},
        {"zap", zap, NEED_TESTCTL},
        {"refusals", refusals, NEED_TESTCTL},
        {"unknown_questions", unknown_questions, NEED_TESTCTL},
        {"too_many", too_many, NEED_TESTCTL},
    };

    if (!missing_need(NEED_TESTCTL))
        stay_clear_of_wrap();
    run_tests(tests, ARRAY_SIZE(tests));
}
