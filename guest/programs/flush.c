/* SPDX-License-Identifier: MIT */
/*
 * The number of INVEPTs for each change of the EPT (rules T2, T6, S4, N2, N4): a change that
 * removes a right or a page costs one before the guest runs again, however many entries it touched;
 * a change that adds rights costs none. Bochs drops all translations at every exit, so a missing
 * INVEPT does not show as a stale byte there; the count shows it.
 */
#include "guest/programs/rt/rt.h"

#define SLOT  8
#define BASE  0xc0000000ull
#define PAGES 16u /* too few for a large leaf */

static uint64_t page(uint64_t i)
{
    return BASE + i * RT_PAGE;
}

static void touch_all(void)
{
    for (uint64_t i = 0; i < PAGES; i++)
        write64(page(i), i);
}

static uint64_t wrong_pages(void)
{
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < PAGES; i++)
        wrong += read64(page(i)) != i;
    return wrong;
}

static uint64_t changes; /* that the running test has made */

static void begin(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, BASE, PAGES, 0), 0);
    touch_all();
}

static void end(void)
{
    EXPECT_EQ(wrong_pages(), 0);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
    EXPECT_EQ(read64(BASE), ~0ull);
    note("changes", changes);
    changes = 0;
}

static void costs(struct flushes invepts, uint64_t n, const char *change, int line)
{
    changes++;
    rt_expect_eq(flushed(invepts, n), n, change, __FILE__, line);
}

/* Expects the number of INVEPTs of a change and the entry after it. */
#define COSTS(n, change)                          \
    do {                                          \
        struct flushes invepts = watch_flushes(); \
        change;                                   \
        costs(invepts, n, #change, __LINE__);     \
    } while (0)

/* T2: a change from MMIO or nonpresent to RAM needs no flush, because nothing was cached; the
 * reverse needs one. */
static void slots(void)
{
    (void)read64(BASE);
    COSTS(0, EXPECT_EQ(hc_slot_add(SLOT, BASE, PAGES, 0), 0));
    COSTS(0, touch_all());
    COSTS(0, EXPECT_EQ(hc_slot_add(SLOT + 1, page(PAGES), 1, 0), 0)); /* the generation advances */
    COSTS(0, EXPECT_EQ(hc_slot_delete(SLOT + 1), 0));                 /* never touched */
    EXPECT_EQ(wrong_pages(), 0);
    COSTS(1, EXPECT_EQ(hc_slot_flags(SLOT, SLOT_READONLY), 0));
    EXPECT_EQ(wrong_pages(), 0);
    COSTS(1, EXPECT_EQ(hc_slot_move(SLOT, page(PAGES)), 0));
    EXPECT_EQ(read64(page(PAGES + 1)), 1);
    EXPECT_EQ(read64(BASE), ~0ull);
    COSTS(1, EXPECT_EQ(hc_slot_delete(SLOT), 0));
    EXPECT_EQ(read64(page(PAGES + 1)), ~0ull);
    note("changes", changes);
    changes = 0;
}

static void zaps(void)
{
    begin();
    COSTS(1, EXPECT_EQ(hc_zap(BASE, PAGES), 0));
    COSTS(0, EXPECT_EQ(hc_zap(BASE, PAGES), 0)); /* nothing is mapped */
    EXPECT_EQ(wrong_pages(), 0);
    (void)read64(page(PAGES));
    COSTS(0, EXPECT_EQ(hc_zap(page(PAGES), 1), 0)); /* an MMIO SPTE */
    uint64_t bits = hc_config(CONFIG_GEN_BITS);
    COSTS(1, EXPECT_EQ(hc_generation_set(((hc_generation() >> bits) + 1) << bits), 0));
    touch_image();
    end();
}

/* S4, N10: tracking owes a flush for W even if W is clear already. */
static void tracking(void)
{
    begin();
    COSTS(1, EXPECT_EQ(hc_page(HC_TRACK, page(1)), 0));
    COSTS(0, EXPECT_EQ(hc_page(HC_TRACK, page(1)), 0)); /* twice */
    COSTS(0, EXPECT_EQ(hc_page(HC_UNTRACK, page(1)), 0));
    EXPECT_EQ(hc_zap(page(1), 1), 0);
    EXPECT_EQ(read64(page(1)), 1); /* a read maps the page again */
    struct watch violations = watch(EXITS_VIOLATION);
    COSTS(0, write64(page(1), 1));
    EXPECT_EQ(watched(violations), 1); /* the page is still tracked */
    COSTS(0, EXPECT_EQ(hc_page(HC_UNTRACK, page(1)), 0));
    COSTS(0, write64(page(1), 1)); /* W comes back */

    EXPECT_EQ(hc_slot_flags(SLOT, SLOT_LOG_DIRTY), 0);
    write64(page(2), 2);
    EXPECT_EQ(hc_dirty_get(SLOT, 0), 1 << 2);
    COSTS(1, EXPECT_EQ(hc_page(HC_TRACK, page(2)), 0));
    violations = watch(EXITS_VIOLATION);
    write64(page(2), 2);
    EXPECT_EQ(watched(violations), 1);
    EXPECT_EQ(hc_page(HC_UNTRACK, page(2)), 0);
    end();
}

/* S4, N2: one flush for all pages of a collection. If the CPU sets D bits itself, the flush is made
 * without a test whether any was set. */
static void dirty_log(void)
{
    bool ad = hc_config(CONFIG_AD);
    begin();
    COSTS(1, EXPECT_EQ(hc_slot_flags(SLOT, SLOT_LOG_DIRTY), 0));
    COSTS(0, touch_all());
    COSTS(1, EXPECT_EQ(hc_dirty_get(SLOT, 0), 0xffff));
    COSTS(ad, EXPECT_EQ(hc_dirty_get(SLOT, 0), 0));
    COSTS(0, write64(page(3), 3));
    COSTS(1, EXPECT_EQ(hc_dirty_get(SLOT, 0), 1 << 3));
    write64(page(4), 4);
    /* A page that was written and then dropped stays in the log. A write maps it again, directly or
     * after a read. */
    for (uint64_t i = 4; i < 7; i++)
        EXPECT_EQ(hc_zap(page(i), 1), 0);
    EXPECT_EQ(read64(page(5)), 5);
    write64(page(5), 5);
    write64(page(6), 6);
    EXPECT_EQ(hc_dirty_get(SLOT, 0), 7 << 4);
    EXPECT_EQ(hc_dirty_get(SLOT, 0), 0);
    COSTS(1, EXPECT_EQ(hc_slot_flags(SLOT, 0), 0));
    end();
}

/* N4: a change of the host page owes a flush. Clearing A does not. Without A bits, aging takes all
 * access away, which does. */
static void host(void)
{
    bool ad = hc_config(CONFIG_AD);
    begin();
    COSTS(1, EXPECT_EQ(hc_page(HC_HOST_REMAP, page(4)), 0));
    EXPECT_EQ(wrong_pages(), 0);
    COSTS(!ad, EXPECT_EQ(hc_age(BASE, PAGES), PAGES));
    COSTS(0, EXPECT_EQ(hc_age(BASE, PAGES), 0));
    COSTS(0, touch_all());
    end();
}

/* T6: a split does not change any translation. A leaf that replaces a table owes a flush, because
 * the CPU may have cached the table's address. */
static void large(void)
{
    bool huge = hc_config(CONFIG_HUGE), nx = hc_config(CONFIG_NX_HUGE);
    struct hypercall recover = {0};
    (void)read64(BASE); /* a table for the MMIO SPTE */
    EXPECT_EQ(hc_slot_add(SLOT, BASE, 512, 0), 0);
    COSTS(huge, write32(page(7), 0xc3)); /* ret */
    struct watch splits = watch(COUNTER_SPLITS);
    COSTS(0, ((void (*)(void))page(7))());
    EXPECT_EQ(watched(splits), nx);
    EXPECT_EQ(read32(page(7)), 0xc3);
    EXPECT_EQ(hc_zap(page(9), 1), 0);
    struct watch small = watch(COUNTER_NX_LPAGE_SPLITS);
    write64(page(9), 9); /* no leaf over code */
    EXPECT_EQ(watched(small), 0);
    if (nx) {
        do
            EXPECT_EQ(hypercall(HC_NX_RECOVER, &recover), 0);
        while (recover.rbx);
        COSTS(0, (void)read64(page(7)));
    }
    /* Nor is there a large leaf over a tracked page. */
    EXPECT_EQ(hc_page(HC_TRACK, page(3)), 0);
    EXPECT_EQ(hc_zap(BASE, 512), 0);
    touch_all();
    struct watch violations = watch(EXITS_VIOLATION);
    write64(page(3), 3);
    write64(page(4), 4);
    EXPECT_EQ(watched(violations), 1);
    EXPECT_EQ(hc_page(HC_UNTRACK, page(3)), 0);
    end();
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"slots", slots, NEED_TESTCTL},       {"zaps", zaps, NEED_TESTCTL},
        {"tracking", tracking, NEED_TESTCTL}, {"dirty_log", dirty_log, NEED_TESTCTL},
        {"host", host, NEED_TESTCTL},         {"large", large, NEED_TESTCTL},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
