/*
 * When an event may arrive (decision D15): nothing in an interrupt shadow, not even if the
 * instruction there exits and is emulated; HLT ends when it should; a single step is one step.
 */
#include "guest/programs/rt/rt.h"

#define DEV             ((uint64_t)TESTDEV_A_BASE)
#define DELAY           50000
#define VECTOR_EXTERNAL 0x51

/* windows/places.S */
extern uint8_t place_sti[], place_sti_at[], place_mov_ss[], place_mov_ss_at[], place_cpuid[],
    place_cpuid_at[], place_mmio[], place_mmio_at[], place_hlt[], place_hlt_at[], place_vmcall[],
    place_vmcall_at[], place_hlt_nmi[], place_hlt_nmi_at[], place_single_step[],
    place_single_step_at[];

/* Lets an interrupt wait with IF = 0, runs the place, and checks where it arrived. */
static void arrives_at(const uint8_t *place, const uint8_t *at, uint64_t argument)
{
    look_for(VECTOR_EXTERNAL, 0);
    EXPECT_EQ(hc_inject(EVENT(EVENT_INTERRUPT, VECTOR_EXTERNAL), 0, 0), 0);
    EXPECT_EQ(seen.count, 0);
    ((void (*)(uint64_t))(uintptr_t)place)(argument);
    EXPECT_EQ(seen.count, 1);
    EXPECT_EQ(seen.rip, at);
    note("arrived", seen.count);
}

static void shadow_of_sti(void)
{
    arrives_at(place_sti, place_sti_at, 0);
}

static void shadow_of_mov_ss(void)
{
    arrives_at(place_mov_ss, place_mov_ss_at, 0);
}

/* An instruction that exits ends the shadow like any other. */
static void shadow_over_cpuid(void)
{
    arrives_at(place_cpuid, place_cpuid_at, 0);
}

static void shadow_over_mmio(void)
{
    write32(DEV + TESTDEV_RESET, 1);
    arrives_at(place_mmio, place_mmio_at, DEV);
    EXPECT_EQ(read32(DEV + TESTDEV_WRITES), 1);
    note("device_writes", read32(DEV + TESTDEV_WRITES));
}

static void shadow_over_hlt(void)
{
    arrives_at(place_hlt, place_hlt_at, 0);
}

static void shadow_over_vmcall(void)
{
    look_for(VECTOR_EXTERNAL, 0);
    ((void (*)(uint64_t))(uintptr_t)place_vmcall)(EVENT(EVENT_INTERRUPT, VECTOR_EXTERNAL));
    EXPECT_EQ(seen.count, 1);
    EXPECT_EQ(seen.rip, place_vmcall_at);
    note("arrived", seen.count);
}

/* Injects `event` with a delay and halts; it must arrive behind the HLT, not early, and once. */
static void wakes(uint64_t event, unsigned vector, const uint8_t *place, const uint8_t *at)
{
    look_for(vector, 0);
    uint64_t start = rdtsc();
    EXPECT_EQ(hc_inject(event, 0, DELAY), 0);
    ((void (*)(uint64_t))(uintptr_t)place)(0);
    uint64_t ticks = rdtsc() - start;
    EXPECT_EQ(seen.count, 1);
    EXPECT_EQ(seen.rip, at);
    EXPECT(ticks >= DELAY);
    set_handler(vector, NULL);
    note("arrived", seen.count);
}

static void hlt_until_interrupt(void)
{
    wakes(EVENT(EVENT_INTERRUPT, VECTOR_EXTERNAL), VECTOR_EXTERNAL, place_hlt, place_hlt_at);
}

static void hlt_until_nmi(void)
{
    wakes(EVENT(EVENT_NMI, VECTOR_NMI), VECTOR_NMI, place_hlt_nmi, place_hlt_nmi_at);
}

static void delay_while_running(void)
{
    uint64_t start = rdtsc();

    look_for(VECTOR_EXTERNAL, 0);
    EXPECT_EQ(hc_inject(EVENT(EVENT_INTERRUPT, VECTOR_EXTERNAL), 0, DELAY), 0);
    __asm__ volatile("sti" : : : "memory");
    while (!seen.count && rdtsc() - start < 1000 * DELAY)
        ;
    __asm__ volatile("cli" : : : "memory");
    uint64_t ticks = rdtsc() - start;
    EXPECT_EQ(seen.count, 1);
    EXPECT(ticks >= DELAY);
    note("arrived", seen.count);
}

/* An emulated instruction is followed by the single-step trap as a real one is. */
static void single_step(uint64_t address)
{
    look_for(VECTOR_DB, 0);
    ((void (*)(uint64_t))(uintptr_t)place_single_step)(address);
    set_handler(VECTOR_DB, NULL);
    EXPECT_EQ(seen.count, 1);
    EXPECT_EQ(seen.rip, place_single_step_at);
    EXPECT(seen.dr6 & BIT(14));
    note("arrived", seen.count);
}

static void single_step_ram(void)
{
    single_step((uint64_t)new_page());
}

static void single_step_mmio(void)
{
    write32(DEV + TESTDEV_RESET, 1);
    single_step(DEV);
    EXPECT_EQ(read32(DEV + TESTDEV_WRITES), 1);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"shadow_of_sti", shadow_of_sti, NEED_TESTCTL},
        {"shadow_of_mov_ss", shadow_of_mov_ss, NEED_TESTCTL},
        {"shadow_over_cpuid", shadow_over_cpuid, NEED_TESTCTL},
        {"shadow_over_mmio", shadow_over_mmio, NEED_TESTCTL},
        {"shadow_over_hlt", shadow_over_hlt, NEED_TESTCTL},
        {"shadow_over_vmcall", shadow_over_vmcall, NEED_TESTCTL},
        {"hlt_until_interrupt", hlt_until_interrupt, NEED_TESTCTL},
        {"hlt_until_nmi", hlt_until_nmi, NEED_TESTCTL},
        {"delay_while_running", delay_while_running, NEED_TESTCTL},
        {"single_step_ram", single_step_ram, 0},
        {"single_step_mmio", single_step_mmio, NEED_TESTCTL},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
