/* SPDX-License-Identifier: MIT */
/*
 * Trace events, switched on and off by the guest itself (rule N8): an event that is on is recorded
 * each time, and an event that is off is not. The accesses are repeated ones, which take the fast
 * path while they are not traced. On two vCPUs it also sends IPIs, which tools/perfetto.py shows as
 * arrows.
 */
#include "guest/programs/rt/smp.h"
#include "lib/trace_events.h"

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

/* The ticks of a CPUID: the least, and the mean of many, some of which send a batch of events. As
 * many before them bring the ring to the state in which it stays. */
struct cost {
    uint64_t least, mean;
};

static struct cost cpuids(void)
{
    struct cost cost = {.least = UINT64_MAX};
    uint64_t all = 0;
    for (unsigned i = 0; i < 10 * N; i++)
        (void)cpuid(0);
    for (unsigned i = 0; i < 10 * N; i++) {
        uint64_t start = rdtsc();
        (void)cpuid(0);
        uint64_t ticks = rdtsc() - start;
        cost.least = ticks < cost.least ? ticks : cost.least;
        all += ticks;
    }
    cost.mean = all / (10 * N);
    return cost;
}

/* An exit and the entry after it are an event each, whatever the exit's reason. What they cost is
 * in docs/TRACE.md. */
static void exits_and_entries(void)
{
    uint64_t at_boot = trace_events(0);
    struct watch exit = watch_event(TRACE_exit), entry = watch_event(TRACE_entry);
    struct cost without = cpuids();
    EXPECT_EQ(watched(exit) + watched(entry), 0);
    trace_events(TRACE_BIT(exit));
    struct cost with_exit = cpuids();
    EXPECT(watched(exit) >= 10 * N);
    EXPECT_EQ(watched(entry), 0);
    trace_events(TRACE_BIT(exit) | TRACE_BIT(entry));
    struct cost with_both = cpuids();
    EXPECT(watched(entry) >= 10 * N);
    trace_events(0);
    uint64_t exits = watched(exit);
    EXPECT_EQ(cpuids().least, without.least);
    EXPECT_EQ(watched(exit), exits);
    note("exit_ticks", with_exit.mean - without.mean);
    note("entry_ticks", with_both.mean - with_exit.mean);
    trace_events(at_boot);
}

/* The machine's debug port is not the guest's. */
static void debug_port(void)
{
    EXPECT_EQ(inb(0xe9), 0xff);
    for (const char *at = "written by a guest"; *at; at++)
        outb(0xe9, (uint8_t)*at);
}

static volatile uint64_t taken, stop;

static void take(struct frame *frame)
{
    taken++;
    if (frame->vector != VECTOR_NMI)
        apic_write(APIC_REG_EOI, 0);
}

static void let_interrupts_in(void)
{
    __asm__ volatile("sti");
    while (!stop)
        pause();
    __asm__ volatile("cli");
}

static void ipis(void)
{
    apic_write(APIC_REG_SVR, 0x1ff);
    set_handler(0x60, take);
    set_handler(VECTOR_NMI, take);
    EXPECT(start_cpus(1, 1));
    run_on(1, let_interrupts_in);
    for (uint64_t i = 0; i < 10; i++) {
        send_ipi(1, i == 9 ? ICR_NMI : ICR_FIXED | 0x60);
        while (taken == i)
            pause();
    }
    stop = 1;
    EXPECT(finished(1));
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
        {"exits_and_entries", exits_and_entries, NEED_TESTCTL},
        {"refusals", refusals, NEED_TESTCTL},
        {"debug_port", debug_port, 0},
        {"ipis", ipis, 0},
    };

    run_tests(tests, ARRAY_SIZE(tests) - (cpu_total() == 1));
}
