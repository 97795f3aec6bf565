/* SPDX-License-Identifier: MIT */
/*
 * The local APIC as a guest uses it: self-IPIs, priorities, EOI, all modes of the timer, HLT that
 * the timer ends. Tests of behaviour that all APICs share also run without the hypervisor. With the
 * argument `x2apic` all accesses use MSRs.
 */
#include "guest/programs/rt/apic.h"

#define SVR_ON       0x1ff
#define SVR_OFF      0xff
#define MASKED       0x10000
#define PERIODIC     0x20000
#define DEADLINE     0x40000
#define DIVIDE_BY_1  0xb
#define DIVIDE_BY_16 0x3

#define LONG_TIME 20000000ull /* ticks of the TSC: longer than any of the tests may take */

static bool in_set(unsigned set, unsigned vector)
{
    return apic_read(set + vector / 32 * 16) >> vector % 32 & 1;
}

static void send(unsigned vector)
{
    send_ipi(0, ICR_SELF | vector);
}

/* The vectors that have arrived, in order. */
static volatile unsigned arrived;
static volatile uint8_t arrivals[64];
static volatile bool keeps_in_service;
static volatile uint64_t arrived_at; /* TSC, of the last arrival */

static void handler(struct frame *frame)
{
    arrived_at = rdtsc();
    arrivals[arrived++ % ARRAY_SIZE(arrivals)] = (uint8_t)frame->vector;
    if (!keeps_in_service)
        apic_write(APIC_REG_EOI, 0);
}

/* Switches the APIC on, with nothing pending, and sets handlers for these vectors. */
static void begin(const uint8_t *vectors, unsigned count)
{
    arrived = 0;
    keeps_in_service = false;
    apic_write(APIC_REG_SVR, SVR_ON);
    apic_write(APIC_REG_TPR, 0);
    apic_write(APIC_REG_TIMER, MASKED);
    apic_write(APIC_REG_DIVIDE, DIVIDE_BY_1);
    for (unsigned i = 0; i < count; i++)
        set_handler(vectors[i], handler);
}

static void window(void)
{
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
}

/* Ends a block of code. An emulator that translates code in blocks takes interrupts only between
 * two of them. */
static void boundary(void)
{
    __asm__ volatile("jmp 1f; 1: nop" : : : "memory");
}

/* Waits with interrupts enabled until `count` interrupts have arrived, or until a time-out. */
static void wait_for(unsigned count)
{
    uint64_t start = rdtsc();
    __asm__ volatile("sti" : : : "memory");
    while (arrived < count && rdtsc() - start < LONG_TIME * 100)
        ;
    __asm__ volatile("cli" : : : "memory");
    EXPECT_EQ(arrived, count);
}

/* ---- Presence -------------------------------------------------------------------------------- */

static void present(void)
{
    begin(NULL, 0);
    EXPECT(cpuid(1).edx & BIT(9));
    EXPECT(rdmsr(MSR_APIC_BASE) & APIC_BASE_ENABLE);
    EXPECT_EQ(rdmsr(MSR_APIC_BASE) & ~0xfffull, APIC);
    EXPECT_EQ(apic_id(), 0);
    EXPECT_EQ(apic_read(APIC_REG_VERSION) & 0xff, 0x14);
    EXPECT_EQ(apic_read(APIC_REG_VERSION) >> 16 & 0xff, 5);
    note("version", apic_read(APIC_REG_VERSION));
}

static void switched_off(void)
{
    uint64_t base = rdmsr(MSR_APIC_BASE);
    begin(NULL, 0);
    apic_write(APIC_REG_TPR, 0x30);
    wrmsr(MSR_APIC_BASE, base & ~(APIC_BASE_ENABLE | APIC_BASE_X2APIC));
    EXPECT(!(cpuid(1).edx & BIT(9)));
    EXPECT_EQ(read32(APIC + APIC_REG_VERSION), ~0u);
    write32(APIC + APIC_REG_TPR, 0x40);
    wrmsr(MSR_APIC_BASE, base & ~APIC_BASE_X2APIC);
    EXPECT(cpuid(1).edx & BIT(9));
    EXPECT_EQ(read32(APIC + APIC_REG_TPR), 0);
    wrmsr(MSR_APIC_BASE, base);
    EXPECT_EQ(apic_read(APIC_REG_SVR), SVR_OFF);
}

/* ---- IPIs and priorities --------------------------------------------------------------------- */

static void self_ipi(void)
{
    begin((const uint8_t[]){0x41}, 1);
    send(0x41);
    EXPECT(in_set(APIC_REG_IRR, 0x41));
    window();
    EXPECT_EQ(arrived, 1);
    send_ipi(0, 0x41); /* physical destination: APIC ID 0 */
    window();
    EXPECT_EQ(arrived, 2);
    apic_take_logical_id();
    send_ipi(apic_logical_id(0) | 4, ICR_LOGICAL | 0x41);
    window();
    EXPECT_EQ(arrived, 3);
    send_ipi(4, ICR_LOGICAL | 0x41);
    window();
    EXPECT_EQ(arrived, 3);
    EXPECT(!in_set(APIC_REG_IRR, 0x41) && !in_set(APIC_REG_ISR, 0x41));
    note("arrived", arrived);
}

static void priorities(void)
{
    static const uint8_t sent[] = {0x41, 0x72, 0x55, 0x57, 0xf0};
    static const uint8_t want[] = {0xf0, 0x72, 0x57, 0x55, 0x41};
    begin(sent, ARRAY_SIZE(sent));
    for (unsigned i = 0; i < ARRAY_SIZE(sent); i++)
        send(sent[i]);
    __asm__ volatile("sti; nop; nop; nop; nop; nop; nop; cli" : : : "memory");
    EXPECT_EQ(arrived, ARRAY_SIZE(want));
    for (unsigned i = 0; i < ARRAY_SIZE(want); i++)
        EXPECT_EQ(arrivals[i], want[i]);
    note("arrived", arrived);
}

static void write_cr8(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr8" : : "r"(value) : "memory");
}

static void task_priority(void)
{
    begin((const uint8_t[]){0x55, 0x72}, 2);
    apic_write(APIC_REG_TPR, 0x50);
    send(0x55);
    window();
    EXPECT_EQ(arrived, 0);
    send(0x72);
    window();
    EXPECT_EQ(arrived, 1);
    EXPECT_EQ(arrivals[0], 0x72);
    uint64_t cr8;
    __asm__ volatile("mov %%cr8, %0" : "=r"(cr8));
    EXPECT_EQ(cr8, 5);
    __asm__ volatile("sti" : : : "memory");
    write_cr8(4); /* takes effect at once */
    boundary();
    __asm__ volatile("cli" : : : "memory");
    EXPECT_EQ(arrived, 2);
    EXPECT_EQ(arrivals[1], 0x55);
    EXPECT_EQ(apic_read(APIC_REG_TPR), 0x40);
    EXPECT_EQ(apic_read(APIC_REG_PPR), 0x40);
    apic_write(APIC_REG_TPR, 0);
    note("arrived", arrived);
}

/* Only a higher class interrupts a handler; EOI lets the others through. */
static void in_service(void)
{
    begin((const uint8_t[]){0x55, 0x57, 0x72}, 3);
    keeps_in_service = true;
    send(0x55);
    window();
    EXPECT_EQ(arrived, 1);
    EXPECT(in_set(APIC_REG_ISR, 0x55));
    EXPECT_EQ(apic_read(APIC_REG_PPR), 0x50);
    send(0x57);
    window();
    EXPECT_EQ(arrived, 1);
    send(0x72);
    window();
    EXPECT_EQ(arrived, 2);
    EXPECT_EQ(arrivals[1], 0x72);
    apic_write(APIC_REG_EOI, 0); /* ends 0x72 */
    EXPECT(in_set(APIC_REG_ISR, 0x55) && !in_set(APIC_REG_ISR, 0x72));
    window();
    EXPECT_EQ(arrived, 2);
    __asm__ volatile("sti" : : : "memory");
    apic_write(APIC_REG_EOI, 0); /* ends 0x55 */
    boundary();
    __asm__ volatile("cli" : : : "memory");
    EXPECT_EQ(arrived, 3);
    EXPECT_EQ(arrivals[2], 0x57);
    apic_write(APIC_REG_EOI, 0);
    for (unsigned vector = 0; vector < 256; vector += 32)
        EXPECT_EQ(apic_read(APIC_REG_ISR + vector / 2), 0);
    note("arrived", arrived);
}

static void nmi(void)
{
    begin(NULL, 0);
    look_for(VECTOR_NMI, 0);
    send_ipi(0, ICR_NMI);
    boundary();
    EXPECT_EQ(seen.count, 1);
    set_handler(VECTOR_NMI, NULL);
    note("arrived", seen.count);
}

static void illegal_vector(void)
{
    begin(NULL, 0);
    apic_write(APIC_REG_ESR, 0);
    send(5);
    window();
    EXPECT_EQ(apic_read(APIC_REG_ESR), 0);
    apic_write(APIC_REG_ESR, 0);
    EXPECT_EQ(apic_read(APIC_REG_ESR), 0x60);
    if (!apic_is_x2apic) { /* in x2APIC mode this is #GP */
        read32(APIC + 0x40);
        apic_write(APIC_REG_ESR, 0);
        EXPECT_EQ(apic_read(APIC_REG_ESR), 0x80);
    }
    apic_write(APIC_REG_ESR, 0);
    EXPECT_EQ(apic_read(APIC_REG_ESR), 0);
}

/* An injected interrupt goes through the APIC if that is enabled, and bypasses it otherwise. */
static void injected(void)
{
    begin((const uint8_t[]){0x51, 0x62}, 2);
    EXPECT_EQ(hc_inject(EVENT(EVENT_INTERRUPT, 0x51), 0, 0), 0);
    EXPECT_EQ(hc_inject(EVENT(EVENT_INTERRUPT, 0x62), 0, 0), 0);
    EXPECT(in_set(APIC_REG_IRR, 0x51) && in_set(APIC_REG_IRR, 0x62));
    window();
    EXPECT_EQ(arrived, 2);
    EXPECT_EQ(arrivals[0], 0x62);
    EXPECT_EQ(arrivals[1], 0x51);

    /* It bypasses the disabled APIC and arrives before the APIC's pending interrupt, which follows
     * as soon as the guest can take it. */
    send(0x62);
    apic_write(APIC_REG_SVR, SVR_OFF);
    keeps_in_service = true;
    EXPECT_EQ(hc_inject(EVENT(EVENT_INTERRUPT, 0x51), 0, 0), 0);
    EXPECT(!in_set(APIC_REG_IRR, 0x51));
    window();
    EXPECT_EQ(arrived, 4);
    EXPECT_EQ(arrivals[2], 0x51);
    EXPECT_EQ(arrivals[3], 0x62);
    EXPECT(in_set(APIC_REG_ISR, 0x62) && !in_set(APIC_REG_ISR, 0x51));
    apic_write(APIC_REG_EOI, 0);
    note("arrived", arrived);
}

/* ---- The timer ------------------------------------------------------------------------------- */

static void count_down(void)
{
    begin(NULL, 0);
    apic_write(APIC_REG_DIVIDE, DIVIDE_BY_16);
    apic_write(APIC_REG_INITIAL, 1000000);
    uint32_t first = apic_read(APIC_REG_CURRENT), second = apic_read(APIC_REG_CURRENT);
    EXPECT(first <= 1000000 && second <= first && second > 0);
    uint64_t start = rdtsc();
    while (rdtsc() - start < 1000)
        ;
    EXPECT(apic_read(APIC_REG_CURRENT) < first);
    apic_write(APIC_REG_INITIAL, 0);
    EXPECT_EQ(apic_read(APIC_REG_CURRENT), 0);
}

/* The timer counts the documented clock, and does not expire a tick too early. */
static void one_shot(void)
{
    begin((const uint8_t[]){0x60}, 1);
    apic_write(APIC_REG_TIMER, 0x60);
    apic_write(APIC_REG_DIVIDE, DIVIDE_BY_16);
    uint64_t start = rdtsc();
    apic_write(APIC_REG_INITIAL, 5000);
    wait_for(1);
    if (under_eptvisor())
        EXPECT(rdtsc() - start >= 5000 * 16);
    EXPECT_EQ(apic_read(APIC_REG_CURRENT), 0);
    start = rdtsc();
    while (rdtsc() - start < 200000)
        window();
    EXPECT_EQ(arrived, 1);
    note("arrived", arrived);
}

static void periodic(void)
{
    begin((const uint8_t[]){0x60}, 1);
    apic_write(APIC_REG_TIMER, PERIODIC | 0x60);
    uint64_t start = rdtsc();
    apic_write(APIC_REG_INITIAL, 50000);
    wait_for(10);
    apic_write(APIC_REG_TIMER, MASKED);
    if (under_eptvisor())
        EXPECT(rdtsc() - start >= 10 * 50000);
    apic_write(APIC_REG_INITIAL, 0);
    note("arrived", arrived);
}

/* Time passes while the hypervisor handles exits. The guest exits repeatedly for `busy` of the
 * timer's 100000 ticks, and the interrupt is late by little more than the length of an exit. */
static void exit_and_wait(uint64_t busy)
{
    begin((const uint8_t[]){0x60}, 1);
    apic_write(APIC_REG_TIMER, 0x60);
    uint64_t before = rdtsc(), shortest = LONG_TIME;
    apic_write(APIC_REG_INITIAL, 100000);
    uint64_t start = rdtsc(), now = start;
    __asm__ volatile("sti" : : : "memory");
    while (!arrived && now - start < busy) {
        uint64_t last = now;
        cpuid(0);
        now = rdtsc();
        shortest = now - last < shortest ? now - last : shortest;
    }
    wait_for(1);
    EXPECT(arrived_at - before >= 100000);
    EXPECT(arrived_at - start < 100000 + 10 * shortest);
    note("late", arrived_at - start < 100000 ? 0 : arrived_at - start - 100000);
    note("exit", shortest);
}

static void time_in_exits(void)
{
    exit_and_wait(LONG_TIME);
}

static void time_after_exits(void)
{
    exit_and_wait(50000);
}

/* With the shortest period, the timer keeps the guest from running, but not its handler. */
static void shortest_period(void)
{
    begin((const uint8_t[]){0x60}, 1);
    apic_write(APIC_REG_TIMER, PERIODIC | 0x60);
    keeps_in_service = true; /* so that the interrupt arrives once */
    apic_write(APIC_REG_INITIAL, 1);
    window();
    EXPECT_EQ(arrived, 1);
    EXPECT(in_set(APIC_REG_IRR, 0x60) && in_set(APIC_REG_ISR, 0x60));
    apic_write(APIC_REG_TIMER, MASKED);
    apic_write(APIC_REG_INITIAL, 0);
    keeps_in_service = false;
    apic_write(APIC_REG_EOI, 0);
    window(); /* for the pending one */
    EXPECT_EQ(arrived, 2);
    note("arrived", arrived);
}

static void tsc_deadline(void)
{
    begin((const uint8_t[]){0x60}, 1);
    EXPECT(cpuid(1).ecx & BIT(24));
    apic_write(APIC_REG_TIMER, DEADLINE | 0x60);
    uint64_t end = rdtsc() + 100000;
    wrmsr(MSR_TSC_DEADLINE, end);
    EXPECT_EQ(rdmsr(MSR_TSC_DEADLINE), end);
    wait_for(1);
    EXPECT(rdtsc() >= end);
    EXPECT_EQ(rdmsr(MSR_TSC_DEADLINE), 0);
    note("arrived", arrived);
}

static void hlt(uint32_t mode)
{
    begin((const uint8_t[]){0x60}, 1);
    apic_write(APIC_REG_TIMER, mode | 0x60);
    apic_write(APIC_REG_INITIAL, 200000);
    for (unsigned i = 1; i <= (mode ? 3 : 1); i++) {
        __asm__ volatile("sti; hlt; cli" : : : "memory");
        EXPECT_EQ(arrived, i);
    }
    apic_write(APIC_REG_TIMER, MASKED);
    apic_write(APIC_REG_INITIAL, 0);
    note("arrived", arrived);
}

static void hlt_one_shot(void)
{
    hlt(0);
}

static void hlt_periodic(void)
{
    hlt(PERIODIC);
}

/* An interrupt of too low a priority does not end a HLT; the timer's does. */
static void hlt_by_priority(void)
{
    begin((const uint8_t[]){0x41, 0x60}, 2);
    apic_write(APIC_REG_TPR, 0x40);
    send(0x41);
    apic_write(APIC_REG_TIMER, 0x60);
    apic_write(APIC_REG_INITIAL, 200000);
    __asm__ volatile("sti; hlt; cli" : : : "memory");
    EXPECT_EQ(arrived, 1);
    EXPECT_EQ(arrivals[0], 0x60);
    apic_write(APIC_REG_TPR, 0);
    window();
    EXPECT_EQ(arrived, 2);
    note("arrived", arrived);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"present", present, 0},
        {"switched_off", switched_off, NEED_EPTVISOR},
        {"self_ipi", self_ipi, 0},
        {"priorities", priorities, 0},
        {"task_priority", task_priority, 0},
        {"in_service", in_service, 0},
        {"nmi", nmi, 0},
        {"illegal_vector", illegal_vector, NEED_EPTVISOR},
        {"injected", injected, NEED_TESTCTL},
        {"count_down", count_down, 0},
        {"one_shot", one_shot, 0},
        {"periodic", periodic, 0},
        {"time_in_exits", time_in_exits, NEED_EPTVISOR},
        {"time_after_exits", time_after_exits, NEED_EPTVISOR},
        {"shortest_period", shortest_period, NEED_EPTVISOR},
        {"tsc_deadline", tsc_deadline, NEED_EPTVISOR},
        {"hlt_one_shot", hlt_one_shot, 0},
        {"hlt_periodic", hlt_periodic, 0},
        {"hlt_by_priority", hlt_by_priority, 0},
    };

    if (*rt_args == 'x')
        apic_enter_x2apic();
    run_tests(tests, ARRAY_SIZE(tests));
}
