/* SPDX-License-Identifier: MIT */
/*
 * Writes of every kind to one write-tracked page by several CPUs at once: those that are emulated,
 * and those for which the page becomes writable while the CPU makes them (see tracked.c). While the
 * page is writable, stores of the other CPUs succeed and may be missed by the tracking. No store is
 * lost, no CPU is blocked, and after the page is protected again each write is counted. The
 * argument is the number of rounds.
 */
#include "guest/programs/rt/peers.h"

#define AREA 192u /* bytes of the page that belong to one CPU, after the entries that are walked */

/* The page table of one 2 MiB region. Entry N maps a page for CPU N; the other entries hold
 * data. */
static uint64_t *page;
static uint64_t data[CPUS_MAX];

static volatile uint64_t locked_done[CPUS_MAX];

static uint64_t own_area(unsigned cpu)
{
    return (uint64_t)page + 1024 + AREA * cpu;
}

static uint64_t *locked_word(void)
{
    return &page[CPUS_MAX];
}

/* ---- Writes ---------------------------------------------------------------------------------- */

static bool store(unsigned cpu, uint64_t turn)
{
    write64(own_area(cpu), turn);
    return read64(own_area(cpu)) == turn;
}

/* All CPUs increment the same counter. */
static bool locked(unsigned cpu, uint64_t turn)
{
    (void)turn;
    __asm__ volatile("lock incq %0" : "+m"(*locked_word()));
    locked_done[cpu]++;
    return true;
}

static bool push(unsigned cpu, uint64_t turn)
{
    uint64_t out;
    __asm__ volatile("mov %%rsp, %%rbx; mov %1, %%rsp; push %2; pop %0; mov %%rbx, %%rsp"
                     : "=&r"(out)
                     : "r"(own_area(cpu) + AREA), "r"(turn)
                     : "rbx", "memory");
    return out == turn;
}

static bool sgdt(unsigned cpu, uint64_t turn)
{
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } want, *got = (void *)(own_area(cpu) + 64);
    (void)turn;
    __asm__ volatile("sgdt %0" : "=m"(want));
    __asm__ volatile("sgdt %0" : "=m"(*got));
    return got->limit == want.limit && got->base == want.base;
}

/* The CPU's page walk sets the accessed and the dirty flag. */
static bool walk(unsigned cpu, uint64_t turn)
{
    uint64_t va = TEST_VA + cpu * RT_PAGE;
    write64((uint64_t)&page[cpu], data[cpu] | PTE_P | PTE_W);
    invlpg(va);
    write64(va, turn);
    return (page[cpu] & (PTE_A | PTE_D)) == (PTE_A | PTE_D) && read64(data[cpu]) == turn;
}

/* The delivery of an event pushes its frame. Only the first CPU does this, because it has the
 * handler. */
static bool frame(unsigned cpu, uint64_t turn)
{
    (void)turn;
    set_stack(VECTOR_BP, own_area(cpu) + AREA);
    look_for(VECTOR_BP, 0);
    __asm__ volatile("int3");
    set_stack(VECTOR_BP, 0);
    return seen.count == 1;
}

/* The minimum and maximum number of exits while no other CPU writes. For a walk, it is that of the
 * store before it: without A and D flags in EPT, Bochs sets A and D without an EPT violation. */
struct way {
    bool (*write)(unsigned cpu, uint64_t turn);
    uint64_t least, most;
};

static const struct way ways[] = {
    {store, 1, 1}, {locked, 1, 1}, {push, 1, 1}, {sgdt, 1, 1}, {walk, 1, 8}, {frame, 1, 8},
};

/* ---- Peers ----------------------------------------------------------------------------------- */

static const struct way *volatile way_of_peers;
static volatile bool counting;
static volatile uint64_t unseen[CPUS_MAX];

#define EXIT_TICKS 250u /* ticks: an exit takes longer */

/* Reading the counter is an exit, which may flush. So in every other round, the time shows whether
 * there was an exit. */
static uint64_t seen_writes(struct peer *self, const struct way *way)
{
    if (!counting) {
        uint64_t begin = rdtsc();
        self->wrong += !way->write(self->number, self->turns);
        return rdtsc() - begin > EXIT_TICKS ? way->least : 0;
    }
    uint64_t before = counter(COUNTER_PF_EMULATE);
    self->wrong += !way->write(self->number, self->turns);
    return counter(COUNTER_PF_EMULATE) - before;
}

/* A peer that is asked writes while the first CPU waits. With two CPUs, no other CPU writes
 * meanwhile. */
static void write_and_count(struct peer *self)
{
    const struct way *way = way_of_peers;
    bool asked = peer_asked(self);
    uint64_t count = seen_writes(self, way);
    unseen[self->number] += !count;
    if ((way->write == store || way->write == locked) && count > 1)
        self->wrong++;
    if (!asked)
        return;
    if (peers_count() == 1 && (count < way->least || count > way->most))
        self->wrong++;
    self->answered++;
}

static uint64_t sum_of(const volatile uint64_t *words)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < CPUS_MAX; i++)
        sum += words[i];
    return sum;
}

static void beside(unsigned number, uint64_t rounds)
{
    uint64_t at_first = sum_of(locked_done), counted = *locked_word(), before = sum_of(unseen);
    way_of_peers = &ways[number];
    EXPECT_EQ(hc_page(HC_TRACK, (uint64_t)page), 0);
    peers_start(write_and_count);
    for (uint64_t i = 0; i < rounds * ARRAY_SIZE(ways); i++) {
        counting = i / ARRAY_SIZE(ways) % 2;
        EXPECT(ways[i % ARRAY_SIZE(ways)].write(0, i));
        peers_ask();
    }
    peers_stop();
    EXPECT_EQ(hc_page(HC_UNTRACK, (uint64_t)page), 0);
    EXPECT_EQ(*locked_word() - counted, sum_of(locked_done) - at_first);
    note("unseen", sum_of(unseen) - before);
}

#define BESIDE(name, number)              \
    static void name(void)                \
    {                                     \
        beside(number, peers_rounds(50)); \
    }
BESIDE(beside_stores, 0)
BESIDE(beside_locked, 1)
BESIDE(beside_pushes, 2)
BESIDE(beside_sgdt, 3)
BESIDE(beside_walks, 4)

static uint64_t *table_below(uint64_t entry)
{
    return (uint64_t *)(entry & ~0xfffull);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"beside_stores", beside_stores, NEED_TESTCTL},
        {"beside_locked", beside_locked, NEED_TESTCTL},
        {"beside_pushes", beside_pushes, NEED_TESTCTL},
        {"beside_sgdt", beside_sgdt, NEED_TESTCTL},
        {"beside_walks", beside_walks, NEED_TESTCTL},
    };
    for (unsigned i = 0; i < CPUS_MAX; i++) {
        data[i] = (uint64_t)new_page();
        map_page(rt_pml4, TEST_VA + i * RT_PAGE, data[i], PTE_P | PTE_W);
    }
    uint64_t *pdpt = table_below(rt_pml4[TEST_VA >> 39 & 511]);
    page = table_below(table_below(pdpt[TEST_VA >> 30 & 511])[TEST_VA >> 21 & 511]);
    run_tests(tests, ARRAY_SIZE(tests));
}
