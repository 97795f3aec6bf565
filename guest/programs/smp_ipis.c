/* SPDX-License-Identifier: MIT */
/*
 * All CPUs interrupt each other as fast as they can, while the timer of each fires: no interrupt is
 * lost or delivered twice. Interrupts are merged exactly where the architecture allows it: those of
 * the same vector in the IRR, and NMIs while NMIs are blocked. The argument `x2apic` selects x2APIC
 * mode. The argument `shared`, for vCPUs that share a CPU of the machine, leaves out the NMIs.
 */
#include "guest/programs/rt/smp.h"

#define TIMERS   300u
#define INTERVAL 4000u /* TSC ticks */
#define PATIENCE 1000000000ull

#define VECTOR_FROM  0x40 /* plus the sender's number */
#define VECTOR_ALL   0x60
#define VECTOR_TIMER 0xe0

#define TIMER_DEADLINE 0x40000
#define TIMER_MASKED   0x10000
#define DIVIDE_BY_1    0xb

static struct cpu {
    volatile uint64_t taken[CPUS_MAX]; /* interrupts taken, by sender */
    volatile uint64_t fired, early, deadline;
    volatile uint64_t sent, seen[CPUS_MAX], taken_of_all;
} __attribute__((aligned(64))) cpus[CPUS_MAX];

static unsigned rounds; /* fewer if there are many CPUs */

static struct cpu *self(void)
{
    return &cpus[apic_id()];
}

static void end_of_interrupt(void)
{
    apic_write(APIC_REG_EOI, 0);
}

/* Runs a function on all CPUs, and waits until all have finished. */
static void on_all(void (*function)(void))
{
    memset(cpus, 0, sizeof(cpus));
    for (unsigned i = 1; i < cpus_running; i++)
        run_on(i, function);
    function();
    for (unsigned i = 1; i < cpus_running; i++)
        EXPECT(finished(i));
}

/* ---- The timers ------------------------------------------------------------------------------ */

/* Every second CPU uses TSC-deadline mode, the others use counts. */
static void arm(struct cpu *cpu)
{
    cpu->deadline = rdtsc() + INTERVAL;
    if ((cpu - cpus) % 2)
        wrmsr(MSR_TSC_DEADLINE, cpu->deadline);
    else
        apic_write(APIC_REG_INITIAL, INTERVAL);
}

static void take_timer(struct frame *frame)
{
    struct cpu *cpu = self();
    (void)frame;
    cpu->early += rdtsc() < cpu->deadline;
    if (++cpu->fired < TIMERS)
        arm(cpu);
    end_of_interrupt();
}

static void start_timer(struct cpu *cpu)
{
    apic_write(APIC_REG_DIVIDE, DIVIDE_BY_1);
    apic_write(APIC_REG_TIMER, VECTOR_TIMER | ((cpu - cpus) % 2 ? TIMER_DEADLINE : 0));
    arm(cpu);
}

/* ---- One interrupt at a time, from each CPU to each ------------------------------------------ */

static void take_one(struct frame *frame)
{
    self()->taken[frame->vector - VECTOR_FROM]++;
    end_of_interrupt();
}

/* A running timer ends each halt. Returns false if the wait takes too long. */
static bool wait_for(const struct cpu *cpu, const volatile uint64_t *count, uint64_t wanted)
{
    bool halts = (cpu - cpus) % 4 == 3;
    for (uint64_t end = rdtsc() + PATIENCE; *count < wanted;) {
        if (rdtsc() > end)
            return false;
        if (halts && cpu->fired < TIMERS)
            __asm__ volatile("hlt" : : : "memory");
        else
            pause();
    }
    return true;
}

static void send_paced(void)
{
    struct cpu *cpu = self();
    unsigned me = (unsigned)(cpu - cpus);
    bool arrived = true;
    start_timer(cpu);
    __asm__ volatile("sti");
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned to = 0; to < cpus_running; to++) {
            if (to == me)
                continue;
            arrived = arrived && wait_for(cpu, &cpus[to].taken[me], round);
            send_ipi(to, ICR_FIXED | (VECTOR_FROM + me));
        }
    }
    for (unsigned i = 0; i < cpus_running; i++) {
        if (i == me)
            continue;
        arrived = arrived && wait_for(cpu, &cpus[i].taken[me], rounds);
        arrived = arrived && wait_for(cpu, &cpu->taken[i], rounds);
    }
    arrived = arrived && wait_for(cpu, &cpu->fired, TIMERS);
    __asm__ volatile("cli");
    apic_write(APIC_REG_TIMER, TIMER_MASKED);
}

static void every_one_arrives(void)
{
    uint64_t early = 0, fired = 0, taken = 0;
    for (unsigned i = 0; i < CPUS_MAX; i++)
        set_handler(VECTOR_FROM + i, take_one);
    set_handler(VECTOR_TIMER, take_timer);
    on_all(send_paced);
    for (unsigned to = 0; to < cpus_running; to++) {
        for (unsigned from = 0; from < cpus_running; from++) {
            EXPECT_EQ(cpus[to].taken[from], to == from ? 0 : rounds);
            taken += cpus[to].taken[from];
        }
        EXPECT_EQ(cpus[to].fired, TIMERS);
        fired += cpus[to].fired;
        early += cpus[to].early;
    }
    EXPECT_EQ(early, 0);
    note("ipis", taken);
    note("timers", fired);
}

/* ---- Without waiting ------------------------------------------------------------------------- */

static void take_any(struct frame *frame)
{
    struct cpu *cpu = self();
    (void)frame;
    cpu->taken_of_all++;
    for (unsigned i = 0; i < cpus_running; i++)
        cpu->seen[i] = cpus[i].sent;
    end_of_interrupt();
}

static void send_unpaced(void)
{
    struct cpu *cpu = self();
    unsigned me = (unsigned)(cpu - cpus);
    start_timer(cpu);
    __asm__ volatile("sti");
    for (unsigned round = 0; round < rounds; round++) {
        cpu->sent++;
        send_ipi(0, ICR_OTHERS | ICR_FIXED | VECTOR_ALL);
    }
    for (unsigned i = 0; i < cpus_running; i++)
        if (i != me && !wait_for(cpu, &cpu->seen[i], rounds))
            break;
    wait_for(cpu, &cpu->fired, TIMERS);
    __asm__ volatile("cli");
    apic_write(APIC_REG_TIMER, TIMER_MASKED);
}

/* Several interrupts may be merged, but one arrives after each that was sent. */
static void none_is_the_last(void)
{
    uint64_t taken = 0;
    set_handler(VECTOR_ALL, take_any);
    set_handler(VECTOR_TIMER, take_timer);
    on_all(send_unpaced);
    for (unsigned to = 0; to < cpus_running; to++) {
        for (unsigned from = 0; from < cpus_running; from++)
            EXPECT(from == to || cpus[to].seen[from] == rounds);
        EXPECT(cpus[to].taken_of_all && cpus[to].taken_of_all <= rounds * (cpus_running - 1));
        EXPECT_EQ(cpus[to].fired, TIMERS);
        taken += cpus[to].taken_of_all;
    }
    EXPECT(taken < rounds * cpus_running * (cpus_running - 1));
}

/* ---- Merged interrupts ----------------------------------------------------------------------- */

#define TARGET 1
#define MANY   5

static volatile bool ready, takes_any, may_return, done;
static volatile uint64_t in_handler;

static void take_and_stay(struct frame *frame)
{
    in_handler++;
    while (!may_return)
        pause();
    if (frame->vector != VECTOR_NMI)
        end_of_interrupt();
}

static void be_interrupted(void)
{
    ready = true;
    while (!takes_any)
        pause();
    __asm__ volatile("sti");
    while (!done)
        pause();
    __asm__ volatile("cli");
}

static bool wait_handler(uint64_t wanted)
{
    return wait_for(&cpus[0], &in_handler, wanted);
}

static void send_many(uint32_t command)
{
    for (unsigned i = 0; i < MANY; i++)
        send_ipi(apic_id_of(TARGET), command);
}

/* Waits long enough for another interrupt to be taken. */
static void let_time_pass(void)
{
    for (uint64_t end = rdtsc() + 100000; rdtsc() < end;)
        pause();
}

/* Interrupts that arrive while the target has them disabled are merged into one, and so are those
 * that arrive while its handler runs. NMIs are taken at once, so all of the first ones but one
 * arrive while the handler runs. */
static bool two_taken(uint32_t command)
{
    ready = takes_any = may_return = done = false;
    in_handler = 0;
    run_on(TARGET, be_interrupted);
    while (!ready)
        pause();
    send_many(command);
    takes_any = true;
    bool taken = wait_handler(1);
    send_many(command);
    may_return = true;
    taken = taken && wait_handler(2);
    let_time_pass();
    done = true;
    return EXPECT(taken) && EXPECT_EQ(in_handler, 2) && EXPECT(finished(TARGET));
}

static void interrupts_meet(void)
{
    set_handler(VECTOR_ALL, take_and_stay);
    for (unsigned i = 0; i < 50 && two_taken(ICR_FIXED | VECTOR_ALL); i++)
        ;
}

static void nmis_meet(void)
{
    set_handler(VECTOR_NMI, take_and_stay);
    for (unsigned i = 0; i < 50 && two_taken(ICR_NMI); i++)
        ;
}

static void cpus_start(void)
{
    EXPECT(start_cpus(1, cpu_total() - 1));
    rounds = 1200 / cpus_running;
    note("cpus", cpus_running);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"cpus_start", cpus_start, 0},
        {"every_one_arrives", every_one_arrives, 0},
        {"none_is_the_last", none_is_the_last, 0},
        {"interrupts_meet", interrupts_meet, 0},
        {"nmis_meet", nmis_meet, 0},
    };

    if (*rt_args == 'x')
        apic_enter_x2apic();
    apic_write(APIC_REG_SVR, 0x1ff);
    run_tests(tests, ARRAY_SIZE(tests) - (*rt_args == 's'));
}
