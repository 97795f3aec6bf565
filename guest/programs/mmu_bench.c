/* SPDX-License-Identifier: MIT */
/*
 * The cost of the MMU's operations, from one guest instruction to the next, in ticks of the TSC,
 * which counts instructions on Bochs: the median minus that of an empty measurement.
 * `make bench-mmu` runs it and prints the rows.
 */
#include "guest/programs/bench/measure.h"

#define SAMPLES 256u
#define SLOT    8
#define BASE    0x100000000ull
#define GIB     0x40000000ull
#define FRESH   (BASE + 4 * GIB) /* used only by tables() */

/* The page lies above the 4 GiB that the runtime maps to themselves. */
static uint64_t va(uint64_t gpa)
{
    return TEST_VA + (gpa - BASE);
}

static void touch(uint64_t gpa)
{
    write64(va(gpa), 1);
}

static void touch_64(uint64_t gpa)
{
    for (uint64_t i = 0; i < 64; i++)
        touch(gpa + i * RT_PAGE);
}

static void drop(uint64_t gpa)
{
    EXPECT_EQ(hc_zap(gpa, 1), 0);
}

static void map_window(uint64_t gpa, uint64_t bytes)
{
    for (uint64_t at = gpa; at < gpa + bytes; at += RT_2M)
        map_page(rt_pml4, va(at), at, PTE_P | PTE_W | PTE_PS);
}

/* Each page was touched, and then its EPT entry was dropped. */
static void fault_4k_present(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, BASE, SAMPLES, 0), 0); /* too few pages for a large leaf */
    for (unsigned i = 0; i < SAMPLES; i++)
        touch(BASE + i * RT_PAGE);
    touch_image(); /* KVM drops all mappings when a slot is deleted */
    struct watch violations = watch(EXITS_VIOLATION);
    row("fault_4k_present", drop, touch, nothing, BASE, RT_PAGE, SAMPLES);
    EXPECT_EQ(watched(violations), SAMPLES);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

static void fault_4k_cold(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, BASE, SAMPLES, 0), 0);
    touch_image();
    row("fault_4k_cold", nothing, touch, nothing, BASE, RT_PAGE, SAMPLES);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

static void fault_2m_present(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, BASE, 4 * 512, 0), 0);
    for (unsigned i = 0; i < 4; i++)
        touch(BASE + i * RT_2M);
    touch_image(); /* KVM drops all mappings when a slot is deleted */
    struct watch violations = watch(EXITS_VIOLATION);
    row("fault_2m_present", drop, touch, nothing, BASE, RT_2M, 4);
    EXPECT_EQ(watched(violations), 4);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

/* The cost of writes to pages whose dirty bits were just collected, with the exit that empties the
 * PML log if there is one, minus that of writes to pages that are dirty already. */
static void collect(uint64_t gpa)
{
    EXPECT_EQ(hc_dirty_get(SLOT, (gpa - BASE) / RT_PAGE), ~0ull);
}

static void write_64_and_exit(uint64_t gpa)
{
    touch_64(gpa);
    (void)cpuid(0);
}

static void write_after_harvest(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, BASE, SAMPLES, 0), 0);
    EXPECT_EQ(hc_slot_flags(SLOT, SLOT_LOG_DIRTY), 0);
    touch_64(BASE);
    uint32_t first = measure(collect, write_64_and_exit, BASE, 0, 16);
    uint32_t again = measure(nothing, write_64_and_exit, BASE, 0, 16);
    EXPECT(first > again);
    print_row("write_after_harvest", first - again, 64);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

static void ask(uint64_t gpa)
{
    (void)hc_spte(gpa);
}

/* A hypercall on the common path, which HC_NOP does not take. */
static void ask_little(uint64_t gpa)
{
    (void)gpa;
    (void)hc_config(CONFIG_AD);
}

/* The cost of a hypercall minus that of one that does almost nothing. */
static void less_hypercall(const char *name, void (*prepare)(uint64_t), void (*run)(uint64_t),
                           uint64_t gpa, uint64_t step, unsigned count, unsigned per)
{
    uint32_t gross = measure(prepare, run, gpa, step, count);
    uint32_t call = measure(nothing, ask_little, gpa, step, count);
    EXPECT(gross > call);
    print_row(name, gross - call, per);
}

static void walk_lockless(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, BASE, SAMPLES, 0), 0);
    for (unsigned i = 0; i < SAMPLES; i++)
        touch(BASE + i * RT_PAGE);
    less_hypercall("walk_lockless", nothing, ask, BASE, RT_PAGE, SAMPLES, 1);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

static void zap_all(uint64_t gpa)
{
    EXPECT_EQ(hc_zap(gpa, GIB >> 12), 0);
}

/* As much of a GiB as the machine has memory for: 64 MiB, in leaves of whatever size they get. */
static void touch_64m(uint64_t gpa)
{
    for (uint64_t i = 0; i < 32; i++)
        touch(gpa + i * RT_2M);
}

static void zap_1g(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, BASE, 32 * 512, 0), 0);
    less_hypercall("zap_1g", touch_64m, zap_all, BASE, 0, 4, 1);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

static void harvest(uint64_t gpa)
{
    (void)hc_dirty_get(SLOT, (gpa - BASE) / RT_PAGE);
}

static void harvest_page(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, BASE, SAMPLES, 0), 0);
    EXPECT_EQ(hc_slot_flags(SLOT, SLOT_LOG_DIRTY), 0);
    touch_64(BASE);
    less_hypercall("harvest_page", touch_64, harvest, BASE, 0, 16, 64);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

#define STRAY (BASE + 2 * 4096 * RT_PAGE) /* a slot of one page, above all others */

/* The fault before is in another slot, so that the slot it has found is of no use. */
static void drop_after_stray(uint64_t gpa)
{
    drop(gpa);
    drop(STRAY);
    touch(STRAY);
}

/* A fault on a page among `slots` slots, each of one page, with gaps between them. */
static void lookup_among(const char *name, unsigned slots)
{
    for (unsigned i = 0; i < slots; i++)
        EXPECT_EQ(hc_slot_add(SLOT + i, BASE + 2 * i * RT_PAGE, 1, 0), 0);
    EXPECT_EQ(hc_slot_add(SLOT + slots, STRAY, 1, 0), 0);
    uint64_t middle = BASE + 2 * (slots / 2) * RT_PAGE;
    touch(middle);
    row(name, drop_after_stray, touch, nothing, middle, 0, 16);
    for (unsigned i = slots + 1; i-- > 0;)
        EXPECT_EQ(hc_slot_delete(SLOT + i), 0);
}

static void slot_lookup(void)
{
    lookup_among("slot_lookup_1", 1);
    lookup_among("slot_lookup_32", 32);
    lookup_among("slot_lookup_4096", 4096);
}

/* The number of tables for a GiB in which nothing was mapped: first with one page in each 2 MiB,
 * which needs as many tables as all pages do, then with as many large pages as there is memory
 * for. */
static void tables(void)
{
    touch_image();
    struct watch watched_tables = watch(COUNTER_TABLES);
    for (uint64_t i = 0; i < 512; i++) {
        EXPECT_EQ(hc_slot_add(SLOT + i, FRESH + i * RT_2M, 1, 0), 0);
        touch(FRESH + i * RT_2M);
    }
    print("BENCH tables_per_gib_4k %u bytes\n", (uint32_t)(watched(watched_tables) * RT_PAGE));
    for (uint64_t i = 0; i < 512; i++)
        EXPECT_EQ(hc_slot_delete(SLOT + i), 0);

    EXPECT_EQ(hc_slot_add(SLOT, FRESH + GIB, 32 * 512, 0), 0);
    touch_image();
    watched_tables = watch(COUNTER_TABLES);
    touch_64m(FRESH + GIB);
    print("BENCH tables_per_gib_2m %u bytes\n", (uint32_t)(watched(watched_tables) * RT_PAGE));
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"fault_4k_present", fault_4k_present, NEED_HOST},
        {"fault_4k_cold", fault_4k_cold, NEED_HOST},
        {"fault_2m_present", fault_2m_present, NEED_HOST},
        {"write_after_harvest", write_after_harvest, NEED_HOST},
        {"walk_lockless", walk_lockless, NEED_TESTCTL},
        {"zap_1g", zap_1g, NEED_TESTCTL},
        {"harvest_page", harvest_page, NEED_TESTCTL},
        {"slot_lookup", slot_lookup, NEED_TESTCTL},
        {"tables", tables, NEED_HOST},
    };

    map_window(BASE, 32 * RT_2M); /* the largest range that a row uses */
    map_window(FRESH, GIB + 32 * RT_2M);
    run_tests(tests, ARRAY_SIZE(tests));
}
