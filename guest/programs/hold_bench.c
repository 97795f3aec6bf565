/* SPDX-License-Identifier: MIT */
/*
 * Measures how long a guest can hold its CPU: `make bench-smp`. Two vCPUs share the machine's only
 * CPU. The first vCPU begins a long operation shortly before its time slice ends. The second vCPU
 * only reads the TSC, and measures the time from the end of that slice to the beginning of its own.
 * Long operations check for the end of a slice at the same points as for a kick, another CPU's wait
 * for an epoch, and the end of the VM. So each row is also the longest time for which any of these
 * has to wait for this CPU.
 *
 * Each operation is begun at several distances from the end of the slice, because any of its pieces
 * may be a long one, and every slice that the operation takes is counted. The two switches between
 * the vCPUs, `hold_nothing`, are part of each row.
 */
#include "guest/programs/rt/sides.h"
#include "guest/programs/rt/smp.h"

#define SLOT       8
#define OTHER      9              /* a slot that logs */
#define BASE       0x100200000ull /* part of a GiB, so its tables are removed one by one */
#define SCATTERED  300u           /* tables of 2 MiB each, more than can wait to be freed */
#define DENSE      10u            /* tables of 2 MiB each, whose pages are all touched */
#define OTHER_BASE 0x200000000ull
#define MOVED      0x300200000ull
#define DEVICES    0x400000000ull /* no slots */
#define TABLES     700u           /* more tables than a VM of this size may keep */
#define STRING     0x2000u
#define FAR        0x4000000000ull
#define FAR_PAGES  (1ull << 24) /* 64 GiB, none of which is touched */
#define MANY       4000u        /* slots */
#define MANY_BASE  0x2000000000ull
#define PIECES     4u /* ranges of 2 MiB, for the rows with large pages */

struct work {
    const char *name;
    void (*prepare)(void), (*run)(void), (*after)(void);
    uint64_t most; /* instructions, after the measurement */
};

static volatile uint64_t longest; /* the longest time for which the other vCPU did not run */
static uint64_t slice;
static uint8_t text[STRING];

static void nothing(void)
{
}

/* ---- The clock ------------------------------------------------------------------------------- */

static void watch_clock(void)
{
    for (uint64_t last = rdtsc();;) {
        uint64_t now = rdtsc(), gap = now - last;
        if (gap > longest)
            longest = gap;
        last = now;
    }
}

/* Waits for the next time slice of this vCPU, and returns its beginning. */
static uint64_t next_slice(void)
{
    for (uint64_t last = rdtsc();;) {
        uint64_t now = rdtsc();
        if (now - last > slice / 2)
            return now;
        last = now;
    }
}

/* Begins the operation `lead` ticks before the end of this vCPU's slice. Returns by how many ticks
 * the time in which the other vCPU did not run exceeds a slice. */
static uint64_t held(const struct work *work, uint64_t lead)
{
    work->prepare();
    uint64_t end = next_slice() + slice;
    longest = 0;
    while (rdtsc() + lead < end)
        ;
    work->run();
    (void)next_slice(); /* the other vCPU has run in the meantime */
    uint64_t late = longest > slice ? longest - slice : 0;
    work->after();
    return late;
}

/* Prints nothing, because the time for printing would count in the next row. */
static void hold(struct work *work)
{
    static const uint32_t leads[] = {100, 2000, 20000};
    for (unsigned i = 0; i < ARRAY_SIZE(leads); i++) {
        uint64_t late = held(work, leads[i]);
        work->most = late > work->most ? late : work->most;
    }
}

/* ---- Long operations ------------------------------------------------------------------------- */

static uint64_t va(uint64_t gpa)
{
    return TEST_VA + (gpa - BASE);
}

static void map_window(uint64_t gpa, uint64_t count)
{
    for (uint64_t at = gpa; count--; at += RT_2M)
        map_page(rt_pml4, va(at & ~shared_bit()), at, PTE_P | PTE_W | PTE_PS);
}

static void touch(uint64_t gpa, uint64_t count, uint64_t step)
{
    for (; count--; gpa += step)
        write64(va(gpa), 1);
}

static void add(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, BASE, SCATTERED * 512, 0), 0);
}

static void drop(void)
{
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

/* Touches one page in each table; a slot that logs is mapped by 4 KiB pages. */
static void add_scattered(void)
{
    add();
    EXPECT_EQ(hc_slot_flags(SLOT, SLOT_LOG_DIRTY), 0);
    touch(BASE, SCATTERED, RT_2M);
}

static void add_dense(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, BASE, DENSE * 512, 0), 0);
    EXPECT_EQ(hc_slot_flags(SLOT, SLOT_LOG_DIRTY), 0);
    touch(BASE, DENSE * 512, RT_PAGE);
}

static void add_dense_unlogged(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, BASE, DENSE * 512, 0), 0);
    touch(BASE, DENSE * 512, RT_PAGE);
}

static void end_log(void)
{
    EXPECT_EQ(hc_slot_flags(SLOT, 0), 0);
}

static void begin_log(void)
{
    EXPECT_EQ(hc_slot_flags(SLOT, SLOT_LOG_DIRTY), 0);
}

static void add_beside_log(void)
{
    EXPECT_EQ(hc_slot_add(OTHER, OTHER_BASE, 1, 0), 0);
    EXPECT_EQ(hc_slot_flags(OTHER, SLOT_LOG_DIRTY), 0);
    add_scattered();
    end_log();
    touch(BASE, SCATTERED, RT_2M);
}

static void drop_other(void)
{
    EXPECT_EQ(hc_slot_delete(OTHER), 0);
}

static void move(void)
{
    EXPECT_EQ(hc_slot_move(SLOT, MOVED), 0);
}

static void zap(void)
{
    EXPECT_EQ(hc_zap(BASE, DENSE * 512), 0);
}

static void convert(void)
{
    EXPECT_EQ(map_gpa(BASE | shared_bit(), DENSE * RT_2M), 0);
}

static void age(void)
{
    (void)hc_age(BASE, DENSE * 512);
}

/* Makes the generation in MMIO SPTEs wrap, which drops all tables. */
static void outdate(void)
{
    EXPECT_EQ(hc_generation_set(hc_generation() + 2), 0);
}

/* Accesses addresses outside of all slots, each of which needs a table of its own. */
static void scatter(void)
{
    for (uint64_t i = 0; i < TABLES; i++)
        (void)read64(va(DEVICES + i * RT_2M));
}

static void outs(uint16_t port, uint32_t count)
{
    const void *from = text;
    __asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(port) : "memory");
}

static void ins_string(void)
{
    void *to = text;
    uint32_t count = STRING;
    __asm__ volatile("rep insb" : "+D"(to), "+c"(count) : "d"((uint16_t)0x80) : "memory");
}

static void outs_string(void)
{
    outs(0x80, STRING);
}

static void flood(void)
{
    for (unsigned i = 0; i < STRING; i++)
        text[i] = i % 64 == 63 ? '\n' : '.';
    outs(0x3f8, STRING);
}

static void add_far(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, FAR, FAR_PAGES, 0), 0);
}

/* Adds the slots at the first call; they are never deleted. */
static void add_many(void)
{
    static bool done;
    for (uint64_t i = 0; i < MANY && !done; i++)
        EXPECT_EQ(hc_slot_add(100 + i, MANY_BASE + 2 * i * RT_PAGE, 1, 0), 0);
    done = true;
}

static void add_first(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, BASE, 1, 0), 0);
}

static void move_first(void)
{
    EXPECT_EQ(hc_slot_move(SLOT, MANY_BASE + 2 * MANY * RT_PAGE), 0);
}

static void get_dirty(void)
{
    (void)hc_dirty_get(SLOT, 0);
}

static void count(void)
{
    (void)counter(COUNTER_TABLES);
}

static void have_first(void)
{
    add_many();
    add_first();
}

/* ---- Operations on large pages --------------------------------------------------------------- */

static void add_pieces(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, BASE, PIECES * 512, 0), 0);
}

static void touch_pieces(void)
{
    touch(BASE, PIECES, RT_2M);
}

/* Maps a 2 MiB range by small pages, except for the first page, whose side changes twice. */
static void add_small(void)
{
    add_pieces();
    EXPECT_EQ(map_gpa(BASE | shared_bit(), RT_PAGE), 0);
    touch(BASE + RT_PAGE, 511, RT_PAGE);
    EXPECT_EQ(map_gpa(BASE, RT_PAGE), 0);
}

static void have_pieces(void)
{
    add_pieces();
    touch_pieces();
}

static void remap(void)
{
    EXPECT_EQ(hc_page(HC_HOST_REMAP, BASE), 0);
}

static void track(void)
{
    EXPECT_EQ(hc_page(HC_TRACK, BASE), 0);
}

/* Executes in each large page, which makes it small pages where large ones may not be executed. */
static void have_executed(void)
{
    have_pieces();
    for (uint64_t i = 0; i < PIECES; i++) {
        write64(va(BASE + i * RT_2M), 0xc3); /* ret */
        ((void (*)(void))va(BASE + i * RT_2M))();
    }
}

static void recover(void)
{
    struct hypercall call = {0};
    EXPECT_EQ(hypercall(HC_NX_RECOVER, &call), 0);
    EXPECT_EQ(call.rbx, hc_config(CONFIG_NX_HUGE) ? 1 : 0);
}

static void touch_first(void)
{
    touch(BASE, 1, RT_PAGE);
}

/* Operations that any guest can execute. */
static struct work for_all[] = {
    {"nothing", nothing, nothing, nothing, 0},  {"convert", add_dense, convert, drop, 0},
    {"scatter", nothing, scatter, nothing, 0},  {"ins", nothing, ins_string, nothing, 0},
    {"outs", nothing, outs_string, nothing, 0}, {"flood", nothing, flood, nothing, 0},
};

static struct work for_testctl[] = {
    {"slot_add", nothing, add, drop, 0},
    {"slot_delete", add_scattered, drop, nothing, 0},
    {"slot_delete_dense", add_dense, drop, nothing, 0},
    {"slot_delete_beside_log", add_beside_log, drop, drop_other, 0},
    {"slot_move", add_scattered, move, drop, 0},
    {"begin_log", add_dense_unlogged, begin_log, drop, 0},
    {"end_log", add_scattered, end_log, drop, 0},
    {"end_log_dense", add_dense, end_log, drop, 0},
    {"zap", add_dense, zap, drop, 0},
    {"age", add_dense, age, drop, 0},
    {"dirty_get", add_dense, get_dirty, drop, 0},
    {"counter", nothing, count, nothing, 0},
    {"generation", add_scattered, outdate, drop, 0},
    {"slot_add_far", nothing, add_far, drop, 0},
    {"slot_add_many", add_many, add_first, drop, 0},
    {"slot_move_many", have_first, move_first, drop, 0},
    {"slot_delete_many", have_first, drop, nothing, 0},
};

/* Operations on large pages that any guest can execute. */
static struct work for_large[] = {
    {"populate", add_pieces, touch_pieces, drop, 0},
    {"collapse", add_small, touch_first, drop, 0},
};

static struct work for_large_testctl[] = {
    {"remap", have_pieces, remap, drop, 0},
    {"track", have_pieces, track, drop, 0},
    {"nx_recover", have_executed, recover, drop, 0},
};

static void measure(struct work *works, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        hold(&works[i]);
}

static void print_rows(const struct work *works, unsigned count, const char *name)
{
    uint64_t worst = 0;
    for (unsigned i = 0; i < count; i++) {
        print("BENCH hold_%s %lu instructions\n", works[i].name, works[i].most);
        worst = works[i].most > worst ? works[i].most : worst;
    }
    print("BENCH %s %lu instructions\n", name, worst);
}

static void measure_all(void)
{
    EXPECT(start_cpus(1, 1));
    run_on(1, watch_clock);
    if (hc_config(CONFIG_HUGE)) {
        measure(for_large, ARRAY_SIZE(for_large));
        measure(for_large_testctl, ARRAY_SIZE(for_large_testctl));
        print_rows(for_large, ARRAY_SIZE(for_large), "longest_hold");
        print_rows(for_large_testctl, ARRAY_SIZE(for_large_testctl), "longest_hold_testctl");
        return;
    }
    measure(for_testctl, ARRAY_SIZE(for_testctl));
    measure(for_all, ARRAY_SIZE(for_all));
    print_rows(for_all, ARRAY_SIZE(for_all), "longest_hold");
    print_rows(for_testctl, ARRAY_SIZE(for_testctl), "longest_hold_testctl");
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"hold", measure_all, NEED_TESTCTL},
    };

    map_window(BASE, SCATTERED);
    map_window(DEVICES | shared_bit(), TABLES);
    if (shared_bit())
        map_page(rt_pml4, APIC, APIC | shared_bit(), PTE_P | PTE_W);
    apic_write(APIC_REG_SVR, 0x1ff);
    slice = hc_config(CONFIG_TSC_KHZ) * 10;
    run_tests(tests, ARRAY_SIZE(tests));
}
