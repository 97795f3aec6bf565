/* SPDX-License-Identifier: MIT */
/*
 * Several CPUs in one VM: they start, interrupt each other, fault on the same memory, and start
 * again. smp_flush.c and smp_slots.c test what one CPU takes away from the others. The argument
 * `x2apic` selects x2APIC mode.
 */
#include "guest/programs/rt/smp.h"

#define SLOT   8
#define ROUNDS 300
#define PEER   1

static volatile uint64_t stop, turns;

/* ---- Starting and interrupts ----------------------------------------------------------------- */

static void cpus_start(void)
{
    unsigned ids = 1;
    EXPECT_EQ(cpus_running, 1);
    EXPECT(start_cpus(1, cpu_total() - 1));
    EXPECT_EQ(cpus_running, cpu_total());
    for (unsigned i = 1; i < cpu_total(); i++)
        ids |= 1u << apic_id_of(i);
    EXPECT_EQ(ids, (1u << cpu_total()) - 1);
    note("cpus", cpus_running);
}

static volatile uint64_t taken[CPUS_MAX];

static void take(struct frame *frame)
{
    taken[apic_id()]++;
    if (frame->vector != VECTOR_NMI)
        apic_write(APIC_REG_EOI, 0);
}

static void let_interrupts_in(void)
{
    apic_take_logical_id();
    __atomic_add_fetch(&turns, 1, __ATOMIC_SEQ_CST);
    __asm__ volatile("sti");
    while (!stop)
        pause();
    __asm__ volatile("cli");
}

static uint64_t taken_by_others(void)
{
    uint64_t sum = 0;
    for (unsigned i = 1; i < CPUS_MAX; i++)
        sum += taken[i];
    return sum;
}

static bool wait_taken(uint64_t wanted)
{
    for (uint64_t end = rdtsc() + 100000000; taken_by_others() < wanted;)
        if (rdtsc() > end)
            return false;
    return true;
}

/* Each IPI arrives at the CPU that it addresses. */
static void interrupts(void)
{
    unsigned others = cpus_running - 1;
    uint64_t wanted = 0;
    set_handler(0x60, take);
    set_handler(VECTOR_NMI, take);
    stop = turns = 0;
    for (unsigned i = 1; i <= others; i++)
        run_on(i, let_interrupts_in);
    while (turns < others)
        pause();
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned id = apic_id_of(1 + round % others);
        uint64_t before = taken[id];
        send_ipi(id, ICR_FIXED | 0x60);
        EXPECT(wait_taken(++wanted));
        send_ipi(0, ICR_OTHERS | ICR_FIXED | 0x60);
        EXPECT(wait_taken(wanted += others));
        send_ipi(apic_logical_id(id), ICR_LOGICAL | ICR_FIXED | 0x60);
        EXPECT(wait_taken(++wanted));
        send_ipi(id, ICR_NMI);
        EXPECT(wait_taken(++wanted));
        EXPECT_EQ(taken[id], before + 4);
    }
    stop = 1;
    for (unsigned i = 1; i <= others; i++)
        EXPECT(finished(i));
    EXPECT_EQ(taken_by_others(), wanted);
    note("ipis", wanted);
}

static void sleep_and_wake(void)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        turns++;
        __asm__ volatile("sti; hlt; cli");
    }
}

/* An interrupt ends HLT, and none is lost between STI and HLT. */
static void halted_cpus_wake(void)
{
    uint64_t before = taken_by_others();
    turns = 0;
    run_on(PEER, sleep_and_wake);
    for (unsigned i = 0; i < ROUNDS; i++) {
        while (turns <= i)
            pause();
        send_ipi(apic_id_of(PEER), ICR_FIXED | 0x60);
        if (!EXPECT(wait_taken(before + i + 1)))
            return;
    }
    EXPECT(finished(PEER));
    note("halts", ROUNDS);
}

#define MOMENTS 1500

static volatile uint64_t asked, answered;

static void exit_when_asked(void)
{
    __asm__ volatile("sti");
    while (!stop) {
        uint64_t now = asked;
        if (now == answered)
            continue;
        for (uint64_t i = 0; i < now; i++)
            __asm__ volatile("");
        (void)cpuid(0);
        answered = now;
    }
    __asm__ volatile("cli");
}

#define FAR_AWAY 0x0fffffffu /* ticks: more than the test takes */

/* While the guest's timer is armed, the hypervisor arms the preemption timer at each entry. */
static void exit_with_a_timer(void)
{
    apic_write(APIC_REG_TIMER, 0x61);
    apic_write(APIC_REG_DIVIDE, 0xb); /* by 1 */
    apic_write(APIC_REG_INITIAL, FAR_AWAY);
    exit_when_asked();
    EXPECT(apic_read(APIC_REG_CURRENT) > 0);
    apic_write(APIC_REG_INITIAL, 0);
}

/* The interrupt arrives at each possible moment of an exit of the peer and of the entry after it.
 * An interrupt that this entry missed would never be delivered, because the peer does not exit
 * again. */
static void find_at_every_moment(void (*peer)(void))
{
    uint64_t before = taken_by_others();
    asked = answered = stop = 0;
    run_on(PEER, peer);
    for (uint64_t i = 1; i <= MOMENTS; i++) {
        asked = i;
        send_ipi(apic_id_of(PEER), ICR_FIXED | 0x60);
        if (!EXPECT(wait_taken(before + i)))
            break;
        while (answered != i)
            pause();
    }
    stop = 1;
    EXPECT(finished(PEER));
    note("moments", MOMENTS);
}

static void ipi_at_every_moment(void)
{
    find_at_every_moment(exit_when_asked);
}

static void ipi_beside_a_timer(void)
{
    find_at_every_moment(exit_with_a_timer);
}

/* ---- Faults together, and again from the start ----------------------------------------------- */

#define AREA  0xd0000000u
#define PAGES 512u

/* Every CPU accesses every page, in different orders, so that different CPUs fault first. */
static void touch_area(void)
{
    unsigned self = apic_id();
    for (unsigned i = 0; i < PAGES; i++) {
        unsigned page = (i + self * 37) % PAGES;
        __atomic_add_fetch((uint64_t *)(uintptr_t)(AREA + page * RT_PAGE), 1, __ATOMIC_SEQ_CST);
    }
}

static void faults_together(void)
{
    for (unsigned round = 0; round < 8; round++) {
        uint64_t bad = 0;
        EXPECT_EQ(hc_slot_add(SLOT, AREA, PAGES, 0), 0);
        for (unsigned i = 1; i < cpus_running; i++)
            run_on(i, touch_area);
        touch_area();
        for (unsigned i = 1; i < cpus_running; i++)
            EXPECT(finished(i));
        for (unsigned i = 0; i < PAGES; i++)
            bad += read64(AREA + i * RT_PAGE) != cpus_running;
        EXPECT_EQ(bad, 0);
        EXPECT_EQ(hc_slot_delete(SLOT), 0);
    }
    note("pages", 8 * PAGES);
}

static void cpus_start_again(void)
{
    for (unsigned i = 0; i < 20; i++) {
        for (unsigned id = 1; id < cpu_total(); id++)
            send_ipi(id, ICR_INIT);
        forget_cpus();
        if (!EXPECT(start_cpus(1, cpu_total() - 1)))
            return;
    }
    EXPECT_EQ(cpus_running, cpu_total());
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"cpus_start", cpus_start, 0},
        {"interrupts", interrupts, 0},
        {"halted_cpus_wake", halted_cpus_wake, 0},
        {"ipi_at_every_moment", ipi_at_every_moment, 0},
        {"ipi_beside_a_timer", ipi_beside_a_timer, 0},
        {"faults_together", faults_together, NEED_TESTCTL},
        {"cpus_start_again", cpus_start_again, 0},
    };

    if (*rt_args == 'x')
        apic_enter_x2apic();
    apic_write(APIC_REG_SVR, 0x1ff);
    run_tests(tests, ARRAY_SIZE(tests));
}
