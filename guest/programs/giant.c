/* SPDX-License-Identifier: MIT */
/*
 * Leaves of 1 GiB (rules N1, T6): a slot of an aligned GiB is mapped by one entry where host memory
 * and CPU have such pages, is split where a page of it is tracked, and is one entry again
 * afterwards. The argument 1 says that there are such pages, which takes 2080 MiB of host memory on
 * Bochs; else 2 MiB leaves do the same.
 */
#include "guest/programs/rt/rt.h"

#define SLOT  8
#define BASE  0xc0000000ull
#define PAGES 0x40000ull
#define STEP  0x8000ull /* pages between the eight places */

static uint64_t place(uint64_t i)
{
    return BASE + i * STEP * RT_PAGE;
}

static uint64_t wrong_places(uint64_t salt)
{
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < PAGES / STEP; i++)
        wrong += read64(place(i)) != salt + i;
    return wrong;
}

static bool giants_expected(void)
{
    return *rt_args == '1';
}

/* Writes to the eight places. Returns the number of 1 GiB leaves that this created. */
static uint64_t fill(uint64_t salt)
{
    struct watch giants = watch(COUNTER_PAGES_1G);
    for (uint64_t i = 0; i < PAGES / STEP; i++)
        write64(place(i), salt + i);
    return watched(giants);
}

static void one_leaf(void)
{
    struct watch violations = watch(EXITS_VIOLATION);
    struct flushes invepts = watch_flushes();
    EXPECT_EQ(hc_slot_add(SLOT, BASE, PAGES, 0), 0);
    uint64_t giants = fill(100);
    EXPECT_EQ(giants, giants_expected());
    /* Clearing a block pauses if a recovery of large pages is due. Then the access is retried,
     * which is another violation. */
    uint64_t least = giants ? 1 : PAGES / STEP, ms = hc_config(CONFIG_NX_RECOVERY_MS);
    EXPECT(ms && ms < 1000 ? watched(violations) >= least : watched(violations) == least);
    EXPECT_EQ(wrong_places(100), 0);
    EXPECT_EQ(flushed(invepts, 0), 0);
    note("giants", giants);
    note("violations", watched(violations));
}

/* A tracked page needs a leaf of 4 KiB; all other leaves stay as large as possible. */
static void split(void)
{
    struct watch splits = watch(COUNTER_SPLITS), giants = watch(COUNTER_PAGES_1G);
    EXPECT_EQ(hc_page(HC_TRACK, place(3)), 0);
    EXPECT_EQ(watched(splits), giants_expected() ? 2 : hc_config(CONFIG_HUGE));
    EXPECT_EQ(watched(giants), giants_expected() ? ~0ull : 0);
    struct watch violations = watch(EXITS_VIOLATION);
    EXPECT_EQ(wrong_places(100), 0);
    EXPECT_EQ(watched(violations), 0); /* a split removes no translation */
    write64(place(3), 103);
    EXPECT_EQ(watched(violations), 1);
    EXPECT_EQ(wrong_places(100), 0);
    EXPECT_EQ(hc_page(HC_UNTRACK, place(3)), 0);
    note("splits", watched(splits));
}

/* Logging splits the whole leaf at once. When logging ends, one leaf is mapped again. */
static void logged_and_back(void)
{
    struct watch small = watch(COUNTER_PAGES_4K);
    EXPECT_EQ(hc_slot_flags(SLOT, SLOT_LOG_DIRTY), 0);
    if (giants_expected())
        EXPECT_EQ(watched(small), PAGES - 512); /* 512 leaves were small already */
    write64(place(5), 205);
    uint64_t dirty = 0;
    for (uint64_t i = 0; i < PAGES / STEP; i++)
        dirty |= (hc_dirty_get(SLOT, i * STEP) & 1) << i;
    EXPECT_EQ(dirty, 1 << 5);
    note("small", watched(small));
    EXPECT_EQ(hc_slot_flags(SLOT, 0), 0);
    EXPECT_EQ(fill(300), giants_expected());
    EXPECT_EQ(wrong_places(300), 0);
}

/* N1: one page of the GiB contains code. */
static void executed(void)
{
    struct watch splits = watch(COUNTER_SPLITS);
    bool nx = hc_config(CONFIG_NX_HUGE);
    write32(place(2), 0xc3); /* ret */
    ((void (*)(void))place(2))();
    EXPECT_EQ(watched(splits), !nx ? 0 : giants_expected() ? 2 : 1);
    write64(place(2), 302);
    EXPECT_EQ(wrong_places(300), 0);
    note("splits", watched(splits));
}

static void no_stale_read(void)
{
    struct watch giants = watch(COUNTER_PAGES_1G);
    struct flushes invepts = watch_flushes();
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
    uint64_t stale = 0;
    for (uint64_t i = 0; i < PAGES / STEP; i++)
        stale += read64(place(i)) != ~0ull && place(i) < TESTDEV_A_BASE;
    EXPECT_EQ(stale, 0);
    EXPECT_EQ(flushed(invepts, 1), 1);
    EXPECT_EQ(watched(giants), giants_expected() && !hc_config(CONFIG_NX_HUGE) ? ~0ull : 0);
    note("invepts", flushed(invepts, 1));
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"one_leaf", one_leaf, NEED_TESTCTL},
        {"split", split, NEED_TESTCTL},
        {"logged_and_back", logged_and_back, NEED_TESTCTL},
        {"executed", executed, NEED_TESTCTL},
        {"no_stale_read", no_stale_read, NEED_TESTCTL},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
