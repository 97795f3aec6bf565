/* SPDX-License-Identifier: MIT */
/*
 * Interrupts from two senders: one CPU keeps another one busy with interrupts, each of which makes
 * it empty its mailbox; the interrupts of a third CPU still arrive at any moment.
 */
#include "guest/programs/rt/smp.h"

#define ROUNDS   3000
#define PAUSE    700
#define RECEIVER 1
#define STORMER  2
#define COUNTED  0x60
/* of lower priority, and in another 64-bit part of the mailbox, so that taking it takes no other
 * interrupt */
#define STORM 0x30

static volatile uint64_t stop, taken[256];

static void take(struct frame *frame)
{
    taken[frame->vector]++;
    write32(APIC + APIC_REG_EOI, 0);
}

static void receive(void)
{
    __asm__ volatile("sti");
    while (!stop)
        pause();
    __asm__ volatile("cli");
}

/* Waits for `turns` plus 1 to 256 iterations of two instructions, which does not depend on the
 * compiler: with half of that, the storm would leave the receiver no time at all. */
static void spin(unsigned turns, uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    turns += (*seed >> 24) + 1;
    __asm__ volatile("1: subl $1, %0; jnz 1b" : "+r"(turns) : : "cc");
}

/* The pause leaves the receiver some time besides the storm. */
static void storm(void)
{
    uint32_t seed = STORMER;
    while (!stop) {
        send_ipi(apic_id_of(RECEIVER), ICR_FIXED | STORM);
        spin(PAUSE, &seed);
    }
}

static bool wait_taken(uint64_t wanted)
{
    for (uint64_t end = rdtsc() + 10000000; taken[COUNTED] < wanted;)
        if (rdtsc() > end)
            return false;
    return true;
}

static void interrupts_from_two_sides(void)
{
    uint32_t seed = 0;
    set_handler(COUNTED, take);
    set_handler(STORM, take);
    if (!EXPECT(cpu_total() > STORMER) || !EXPECT(start_cpus(1, STORMER)))
        return;
    run_on(RECEIVER, receive);
    run_on(STORMER, storm);
    for (unsigned i = 1; i <= ROUNDS; i++) {
        spin(0, &seed);
        send_ipi(apic_id_of(RECEIVER), ICR_FIXED | COUNTED);
        if (!EXPECT(wait_taken(i)))
            break;
    }
    stop = 1;
    EXPECT(finished(RECEIVER));
    EXPECT(finished(STORMER));
    EXPECT_EQ(taken[COUNTED], ROUNDS);
    note("counted", taken[COUNTED]);
    EXPECT(taken[STORM] > ROUNDS / 5);
    note("storm", taken[STORM]);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"interrupts_from_two_sides", interrupts_from_two_sides, 0},
    };

    write32(APIC + APIC_REG_SVR, 0x1ff);
    run_tests(tests, ARRAY_SIZE(tests));
}
