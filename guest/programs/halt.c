/* SPDX-License-Identifier: MIT */
/*
 * HLT halts the host's CPU: there is one exit for HLT and one for the event that ends it, and the
 * hypervisor does not poll. Exits are counted for each vCPU, so each vCPU checks its own. With the
 * argument `shared` there are fewer CPUs than vCPUs, and a halted vCPU may leave its CPU.
 */
#include "guest/programs/rt/smp.h"

#define VECTOR   0x61
#define TIMER    0x62
#define DEADLINE 0x40000u /* TSC-deadline mode, in the LVT entry */
#define MASKED   0x10000u
#define LONG     300000u /* ticks: many turns of a loop that would poll */
#define ROUNDS   50

#define EXITS_NMI COUNTER_EXIT(0)

static volatile uint64_t taken, waits;

static void take(struct frame *frame)
{
    taken++;
    if (frame->vector != VECTOR_NMI)
        apic_write(APIC_REG_EOI, 0);
}

static void hlt(void)
{
    __asm__ volatile("sti; hlt; cli" : : : "memory");
}

/* One HLT that ends after about LONG ticks causes one exit for HLT and one exit of the preemption
 * timer, or none if the CPU was still printing what other VMs have said when the time came. */
static void expect_one_halt(void)
{
    struct watch hlts = watch(EXITS_HLT), timers = watch(EXITS_TIMER);
    uint64_t start = rdtsc();
    taken = 0;
    hlt();
    EXPECT_EQ(taken, 1);
    EXPECT(rdtsc() - start >= LONG / 2);
    EXPECT_EQ(watched(hlts), 1);
    uint64_t expired = watched(timers);
    EXPECT(expired <= 1);
    note("exits", 1 + expired);
}

static void one_shot(void)
{
    apic_write(APIC_REG_TIMER, TIMER);
    apic_write(APIC_REG_DIVIDE, 0xb);
    apic_write(APIC_REG_INITIAL, LONG);
    expect_one_halt();
}

static void tsc_deadline(void)
{
    apic_write(APIC_REG_TIMER, DEADLINE | TIMER);
    wrmsr(MSR_TSC_DEADLINE, rdtsc() + LONG);
    expect_one_halt();
    apic_write(APIC_REG_TIMER, MASKED);
}

/* An interrupt as from a device ends a HLT. */
static void interrupt_from_outside(void)
{
    EXPECT_EQ(hc_inject(EVENT(EVENT_INTERRUPT, VECTOR), 0, LONG), 0);
    expect_one_halt();
}

static void nmi_from_outside(void)
{
    EXPECT_EQ(hc_inject(EVENT(EVENT_NMI, VECTOR_NMI), 0, LONG), 0);
    expect_one_halt();
}

/* An interrupt whose priority is too low does not end a HLT. */
static void low_priority(void)
{
    apic_write(APIC_REG_TPR, 0x60);
    send_ipi(0, ICR_SELF | 0x51);
    EXPECT_EQ(hc_inject(EVENT(EVENT_INTERRUPT, 0x71), 0, LONG), 0);
    expect_one_halt();
    apic_write(APIC_REG_TPR, 0);
    __asm__ volatile("sti; nop; cli" : : : "memory");
    EXPECT_EQ(taken, 2);
}

/* ---- Two CPUs -------------------------------------------------------------------------------- */

static volatile uint64_t nmis, timers;
static volatile bool with_interrupts;

static void halt_often(void)
{
    struct watch kicked = watch(EXITS_NMI), timed = watch(EXITS_TIMER);
    for (unsigned i = 0; i < ROUNDS; i++) {
        waits++;
        if (with_interrupts)
            hlt();
        else
            __asm__ volatile("hlt" : : : "memory");
    }
    nmis = watched(kicked);
    timers = watched(timed);
}

static void let_it_fall_asleep(void)
{
    for (uint64_t end = rdtsc() + LONG / 10; rdtsc() < end;)
        pause();
}

/* Each message kicks a halted vCPU once, if it has kept its pCPU. */
static void woken_by(uint32_t command, bool interrupts)
{
    taken = waits = 0;
    with_interrupts = interrupts;
    run_on(1, halt_often);
    for (unsigned i = 1; i <= ROUNDS; i++) {
        while (waits < i)
            pause();
        let_it_fall_asleep();
        EXPECT_EQ(taken, i - 1);
        send_ipi(apic_id_of(1), command);
    }
    EXPECT(finished(1));
    EXPECT_EQ(taken, ROUNDS);
    if (*rt_args != 's')
        EXPECT_EQ(nmis, ROUNDS);
    EXPECT_EQ(timers, 0);
    note("kicks", nmis);
}

static void ipi(void)
{
    if (EXPECT(start_cpus(1, 1)))
        woken_by(ICR_FIXED | VECTOR, true);
}

static void nmi(void)
{
    woken_by(ICR_NMI, false);
}

/* An INIT ends the HLT of a CPU, which then waits for a start-up IPI. */
static void init(void)
{
    waits = 0;
    run_on(1, halt_often);
    while (!waits)
        pause();
    let_it_fall_asleep();
    send_ipi(apic_id_of(1), ICR_INIT);
    forget_cpus();
    EXPECT(start_cpus(1, 1));
}

#define MOMENTS 400
#define STEP    4

static volatile bool stop;
static unsigned sent;
static uint64_t give_up;

static void delay(unsigned turns)
{
    while (turns--)
        __asm__ volatile("");
}

static void halt_when_ready(void)
{
    for (unsigned i = 1; i <= MOMENTS; i++) {
        waits = i;
        delay(MOMENTS * STEP / 2);
        hlt();
    }
}

/* The first of the other CPUs that sees CPU 1 ready to halt sends it an interrupt after a delay,
 * when CPU 1 may be asleep. */
static void send_when_ready(void)
{
    while (!stop) {
        unsigned ready = (unsigned)waits, before = ready - 1;
        if (ready && __atomic_compare_exchange_n(&sent, &before, ready, false, __ATOMIC_SEQ_CST,
                                                 __ATOMIC_SEQ_CST)) {
            delay(ready * STEP);
            send_ipi(apic_id_of(1), ICR_FIXED | VECTOR);
        }
        stop |= !apic_id() && (taken == MOMENTS || rdtsc() > give_up);
    }
}

/* The message arrives at each possible moment while a vCPU goes to sleep: a halted vCPU gives up
 * its pCPU if another vCPU waits for it. */
static void at_every_moment(void)
{
    EXPECT(cpu_total() < 3 || start_cpus(2, cpu_total() - 1));
    taken = waits = sent = 0;
    stop = false;
    give_up = rdtsc() + MOMENTS * 3ull * LONG;
    if (cpus_running > 2)
        run_on(2, send_when_ready);
    run_on(1, halt_when_ready);
    send_when_ready();
    EXPECT_EQ(taken, MOMENTS);
    EXPECT(finished(1) && (cpus_running < 3 || finished(2)));
    note("moments", taken);
}

static volatile uint64_t woken[CPUS_MAX];

/* Each CPU has its own timer with its own period. */
static void halt_by_timer(void)
{
    unsigned self = apic_id();
    apic_write(APIC_REG_TIMER, TIMER);
    apic_write(APIC_REG_DIVIDE, 0xb);
    for (unsigned i = 0; i < ROUNDS; i++) {
        apic_write(APIC_REG_INITIAL, LONG + 1000 * self);
        hlt();
        woken[self]++;
    }
}

static void halt_once(void)
{
    apic_write(APIC_REG_TIMER, TIMER);
    apic_write(APIC_REG_DIVIDE, 0xb);
    apic_write(APIC_REG_INITIAL, LONG);
    hlt();
    woken[apic_id()]++;
}

/* The timer of a halted vCPU expires in time although this vCPU keeps a shared pCPU busy without
 * exits. Only two vCPUs run so far, so no time slices interrupt this one. */
static void beside_a_busy_cpu(void)
{
    unsigned id = apic_id_of(1);
    woken[id] = 0;
    run_on(1, halt_once);
    for (uint64_t end = rdtsc() + 100 * LONG; !woken[id] && rdtsc() < end;)
        pause();
    EXPECT_EQ(woken[id], 1);
    EXPECT(finished(1));
    woken[id] = 0;
}

/* All vCPUs halt, however many there are for each pCPU. test_halt.py checks how often a pCPU
 * switches between them. */
static void all_halt(void)
{
    for (unsigned i = 1; i < cpus_running; i++)
        run_on(i, halt_by_timer);
    halt_by_timer();
    for (unsigned i = 1; i < cpus_running; i++)
        EXPECT(finished(i));
    for (unsigned i = 0; i < cpus_running; i++)
        EXPECT_EQ(woken[i], ROUNDS);
    note("halts", cpus_running * ROUNDS);
}

/* No CPU has a timer. Each wakes the next one, in a circle. */
static void halt_and_pass_on(void)
{
    unsigned self = apic_id(), next = (self + 1) % cpus_running;
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (self || i)
            hlt();
        send_ipi(next, ICR_FIXED | VECTOR);
    }
}

static void one_wakes_the_next(void)
{
    taken = 0;
    for (unsigned i = 1; i < cpus_running; i++)
        run_on(i, halt_and_pass_on);
    halt_and_pass_on();
    for (unsigned i = 1; i < cpus_running; i++)
        EXPECT(finished(i));
    hlt(); /* for the interrupt from the last CPU */
    EXPECT_EQ(taken, cpus_running * ROUNDS);
    note("ipis", taken);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"one_shot", one_shot, NEED_TESTCTL},
        {"tsc_deadline", tsc_deadline, NEED_TESTCTL},
        {"interrupt_from_outside", interrupt_from_outside, NEED_TESTCTL},
        {"nmi_from_outside", nmi_from_outside, NEED_TESTCTL},
        {"low_priority", low_priority, NEED_TESTCTL},
        {"ipi", ipi, NEED_TESTCTL},
        {"nmi", nmi, NEED_TESTCTL},
        {"init", init, NEED_TESTCTL},
        {"beside_a_busy_cpu", beside_a_busy_cpu, NEED_TESTCTL},
        {"at_every_moment", at_every_moment, NEED_TESTCTL},
        {"all_halt", all_halt, NEED_TESTCTL},
        {"one_wakes_the_next", one_wakes_the_next, NEED_TESTCTL},
    };

    const unsigned alone = 5; /* the number of tests for one CPU */

    for (unsigned vector = 0x51; vector <= 0x71; vector++)
        set_handler(vector, take);
    set_handler(VECTOR_NMI, take);
    apic_write(APIC_REG_SVR, 0x1ff);
    run_tests(tests, cpu_total() == 1 ? alone : ARRAY_SIZE(tests));
}
