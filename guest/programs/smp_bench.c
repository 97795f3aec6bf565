/* SPDX-License-Identifier: MIT */
/*
 * The cost of flushes, IPIs and faults on several CPUs, each vCPU on a CPU of its own:
 * `make bench-smp`.
 *
 * With several CPUs the emulator lets each execute five instructions in turn, and then the TSC of
 * all CPUs advances by five. So a difference counts, to within five, the instructions that a CPU
 * which does not halt has executed, and the mean over samples that begin at any of the five is
 * exact. Each row is such a mean minus that of an empty measurement. After the samples of a row,
 * tools/bench.py traces one more.
 */
#include "guest/programs/rt/mark.h"
#include "guest/programs/rt/smp.h"

#define SAMPLES 320u
#define FIRST   4u
#define SLOT    8
#define BASE    0x100000000ull

/* the number of other CPUs that run; they are in the guest, unless a row says otherwise */
static unsigned others;
static volatile uint64_t stop;

/* ---- Measuring ------------------------------------------------------------------------------- */

/* Waits until no CPU has work left, and for a length that begins each sample at another of the five
 * instructions. */
static void settle(void)
{
    static uint32_t seed;
    seed = seed * 1664525 + 1013904223;
    for (unsigned turns = 500 + (seed >> 24); turns > 0; turns--)
        __asm__ volatile("");
}

/* A sample returns its own duration. `prepare` is called before each sample, and is not
 * measured. */
typedef uint64_t (*sample_t)(void);
typedef void (*prepare_t)(void);

static void nothing(void)
{
}

static uint64_t empty(void)
{
    uint64_t start = rdtsc();
    return rdtsc() - start;
}

/* Returns the sum of `count` samples. The first samples are not counted, because they fill the
 * hypervisor's caches. */
static uint64_t measure(prepare_t prepare, sample_t sample, unsigned count)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < FIRST + count; i++) {
        prepare();
        settle();
        uint64_t ticks = sample();
        sum += i < FIRST ? 0 : ticks;
    }
    return sum;
}

/* Makes one more sample between two marks; the second one comes when the other CPUs are back in the
 * guest. */
static void look(prepare_t prepare, sample_t sample)
{
    prepare();
    settle();
    mark();
    (void)sample();
    settle();
    mark();
}

/* `gross` and `less` are sums of `count` samples. A number other than 0 becomes part of the
 * name. */
static void print_row(const char *name, unsigned number, uint64_t gross, uint64_t less,
                      unsigned count)
{
    EXPECT(gross > less);
    print("BENCH %s", name);
    if (number)
        print("_%u", number);
    print(" %lu ticks\n", (gross - less + count / 2) / count);
}

static void row(const char *name, prepare_t prepare, sample_t sample)
{
    uint64_t gross = measure(prepare, sample, SAMPLES);
    look(prepare, sample);
    uint64_t less = measure(nothing, empty, SAMPLES);
    look(nothing, empty);
    print_row(name, 0, gross, less, SAMPLES);
}

/* ---- The other CPUs -------------------------------------------------------------------------- */

static void start_others(unsigned count)
{
    if (count)
        EXPECT(start_cpus(1, count));
    others = count;
}

/* The other vCPUs wait for a start-up IPI again, and their pCPUs are idle. */
static void stop_others(void)
{
    for (unsigned i = 1; i <= others; i++)
        send_ipi(apic_id_of(i), ICR_INIT);
    settle();
    forget_cpus();
    others = 0;
}

static void halt(void)
{
    __asm__ volatile("cli; hlt");
}

/* ---- Remote flushes -------------------------------------------------------------------------- */

#define ZAPS (FIRST + SAMPLES + 1) /* of measure() and look() */

/* Together with the zap and the hypercall, a sample makes three exits, so that the work that the
 * hypervisor does at every 64th exit falls on each of them equally often. */
static void touch(void)
{
    struct hypercall call = {0};
    (void)hypercall(HC_NOP, &call);
    write64(TEST_VA, 1);
}

static uint64_t zap(void)
{
    uint64_t start = rdtsc();
    hc_zap(BASE, 1);
    return rdtsc() - start;
}

/* Expects that a zap waits for no CPU, because the others are not in the guest. */
static void zap_waits_for_nobody(const char *name)
{
    struct watch flushes = watch(COUNTER_REMOTE_TLB_FLUSH);
    row(name, touch, zap);
    EXPECT_EQ(watched(flushes), 0);
}

/* The additional cost of a zap while peers run loads in the guest. The zap returns while the peers
 * are on their way back to the guest, which the counts of VMREADs and other instructions
 * include. */
static void remote_flush(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, BASE, 1, 0), 0);
    for (unsigned peers = 1; peers < cpu_total(); peers++) {
        start_others(peers);
        struct watch flushes = watch(COUNTER_REMOTE_TLB_FLUSH);
        uint64_t with = measure(touch, zap, SAMPLES);
        look(touch, zap);
        EXPECT_EQ(watched(flushes), ZAPS * peers);
        stop_others();
        uint64_t alone = measure(touch, zap, SAMPLES);
        look(touch, zap);
        print_row("remote_flush", peers, with, alone, SAMPLES);
    }
    zap_waits_for_nobody("zap_idle");
    start_others(cpu_total() - 1);
    for (unsigned i = 1; i <= others; i++)
        run_on(i, halt);
    settle();
    zap_waits_for_nobody("zap_halted");
    stop_others();
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

#define AWAY 40 /* ticks: more than an iteration of the loop, less than the shortest exit */
static volatile uint64_t away_count, away_ticks, turns, turn_ticks;

static void watch_clock(void)
{
    uint64_t last = rdtsc();
    while (!stop) {
        uint64_t now = rdtsc();
        bool away = now - last > AWAY;
        away_count += away;
        away_ticks += away ? now - last : 0;
        turns += !away;
        turn_ticks += away ? 0 : now - last;
        last = now;
    }
}

/* The time for which a flush keeps a peer out of its guest. */
static void flushed_peer(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, BASE, 1, 0), 0);
    start_others(1);
    stop = 0;
    run_on(1, watch_clock);
    (void)measure(touch, zap, SAMPLES);
    settle();
    stop = 1;
    EXPECT(finished(1));
    EXPECT(away_count >= FIRST + SAMPLES); /* and some iterations of the loop that took longer */
    uint64_t away = away_ticks / away_count, turn = turn_ticks / turns;
    print("BENCH remote_flush_peer %lu instructions\n", away - turn);
    note("away", away_count);
    stop_others();
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

/* ---- Interrupts ------------------------------------------------------------------------------ */

#define VECTOR 0x60

static uint32_t receiver; /* the number of the last CPU, which is its APIC ID */
static volatile uint32_t arrived;
void handler(void), x2apic_handler(void);

/* RDTSC is the first instruction of the handler, because the interrupted code keeps nothing in
 * registers. */
__asm__(".text\n"
        "handler:\n"
        "    rdtsc\n"
        "    movl %eax, arrived\n"
        "    movl $0xfee000b0, %eax\n" /* EOI */
        "    movl $0, (%rax)\n"
        "    iretq\n"
        "x2apic_handler:\n"
        "    rdtsc\n"
        "    movl %eax, arrived\n"
        "    xorl %eax, %eax\n"
        "    xorl %edx, %edx\n"
        "    movl $0x80b, %ecx\n" /* EOI */
        "    wrmsr\n"
        "    iretq\n");

static void spin_for_interrupts(void)
{
    __asm__ volatile("sti\n"
                     "1: jmp 1b"
                     :
                     :
                     : "rax", "rcx", "rdx", "memory");
}

static void halt_for_interrupts(void)
{
    __asm__ volatile("sti\n"
                     "1: hlt\n"
                     "jmp 1b"
                     :
                     :
                     : "rax", "rcx", "rdx", "memory");
}

static void forget(void)
{
    arrived = 0;
}

static uint64_t arrival(uint32_t start)
{
    while (!arrived)
        pause();
    return arrived - start;
}

/* The ICR's destination was written before. */
static uint64_t ipi(void)
{
    uint32_t start = (uint32_t)rdtsc();
    write32(APIC + APIC_REG_ICR, ICR_FIXED | ICR_ASSERT | VECTOR);
    return arrival(start);
}

static uint64_t ipi_by_msr(void)
{
    uint32_t start = (uint32_t)rdtsc();
    wrmsr(MSR_X2APIC + APIC_REG_ICR / 16,
          (uint64_t)receiver << 32 | ICR_FIXED | ICR_ASSERT | VECTOR);
    return arrival(start);
}

static void ipi_row(const char *name, void (*receive)(void), sample_t sample)
{
    start_others(receiver);
    EXPECT_EQ(apic_id_of(receiver), receiver);
    if (!apic_is_x2apic)
        write32(APIC + APIC_REG_HIGH, receiver << 24);
    run_on(receiver, receive);
    row(name, forget, sample);
    stop_others();
}

static void interrupts(void)
{
    receiver = cpu_total() - 1;
    set_gate(VECTOR, (uint64_t)handler);
    ipi_row("ipi_guest", spin_for_interrupts, ipi);
    ipi_row("ipi_halted", halt_for_interrupts, ipi);
    apic_enter_x2apic(); /* the xAPIC's rows come before, because there is no way back */
    set_gate(VECTOR, (uint64_t)x2apic_handler);
    ipi_row("ipi_x2apic", spin_for_interrupts, ipi_by_msr);
}

/* ---- Faults ---------------------------------------------------------------------------------- */

#define PAGES  256u /* of each CPU, in its own 2 MiB: too few for a large leaf */
#define LOOKED 16u  /* the number of these pages in the traced run */
#define ROUNDS 5u

static volatile unsigned ready, go, done;
static unsigned pages;

static uint64_t area(unsigned cpu)
{
    return cpu * RT_2M;
}

static void touch_pages(unsigned cpu)
{
    for (uint64_t at = TEST_VA + area(cpu), end = at + pages * RT_PAGE; at < end; at += RT_PAGE)
        write64(at, 1);
}

static void touch_own_pages(void)
{
    unsigned self = __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
    while (!go)
        pause();
    touch_pages(self);
    __atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
}

static void drop_pages(void)
{
    for (unsigned i = 0; i <= others; i++)
        EXPECT_EQ(hc_zap(BASE + area(i), pages), 0);
}

/* Returns the time from the start of all CPUs until all have accessed their pages. */
static uint64_t touch_together(void)
{
    ready = go = done = 0;
    for (unsigned i = 1; i <= others; i++)
        run_on(i, touch_own_pages);
    while (ready < others)
        pause();
    settle();
    uint64_t start = rdtsc();
    go = 1;
    touch_pages(0);
    while (done < others)
        pause();
    return rdtsc() - start;
}

/* Prints the cost of a fault while `cpus` CPUs fault, and the number of faults of all CPUs in a
 * million instructions of each. */
static void faults_of(unsigned cpus)
{
    start_others(cpus - 1);
    pages = PAGES;
    (void)touch_together();
    struct watch violations = watch(COUNTER_FAULTS);
    uint64_t gross = measure(drop_pages, touch_together, ROUNDS);
    EXPECT_EQ(watched(violations), (FIRST + ROUNDS) * PAGES * cpus);
    uint64_t less = measure(nothing, touch_together, ROUNDS);
    pages = LOOKED;
    look(drop_pages, touch_together);
    look(nothing, touch_together);
    print("# fault_4k_%u: one of %u\n", cpus, LOOKED * cpus);
    print_row("fault_4k", cpus, gross, less, ROUNDS * PAGES);
    print("BENCH faults_%u %lu faults\n", cpus, 1000000ul * ROUNDS * PAGES * cpus / (gross - less));
    stop_others();
}

static void faults(void)
{
    for (unsigned i = 0; i < cpu_total(); i++)
        EXPECT_EQ(hc_slot_add(SLOT + i, BASE + area(i), PAGES, 0), 0);
    for (unsigned cpus = 1; cpus <= cpu_total(); cpus++)
        faults_of(cpus);
    for (unsigned i = 0; i < cpu_total(); i++)
        EXPECT_EQ(hc_slot_delete(SLOT + i), 0);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"remote_flush", remote_flush, NEED_TESTCTL},
        {"flushed_peer", flushed_peer, NEED_TESTCTL},
        {"faults", faults, NEED_TESTCTL},
        {"interrupts", interrupts, 0},
    };

    write32(APIC + APIC_REG_SVR, 0x1ff);
    for (unsigned i = 0; i < cpu_total(); i++)
        map_page(rt_pml4, TEST_VA + area(i), BASE + area(i), PTE_P | PTE_W | PTE_PS);
    run_tests(tests, ARRAY_SIZE(tests));
}
