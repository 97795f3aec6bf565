/* SPDX-License-Identifier: MIT */
/*
 * When an event may arrive (decision D15): no event arrives in an interrupt shadow, not even if the
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

/* An instruction that exits ends the shadow as any other instruction does. */
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

/* Injects `event` with a delay and halts; it must arrive after the HLT, not early, and once. */
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

/* A single-step trap follows an emulated instruction as it follows any other. */
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

/* ---- Traps and faults of emulated instructions ----------------------------------------------- */

static volatile uint64_t order[4], order_rips[4], order_flags[4];
static volatile unsigned order_count;

static void record(struct frame *frame)
{
    unsigned i = order_count++ % ARRAY_SIZE(order);
    order[i] = frame->vector;
    order_rips[i] = frame->rip;
    order_flags[i] = frame->rflags;
    frame->rflags &= ~BIT(8); /* clears TF */
    if (frame->vector == VECTOR_GP)
        frame->rip += 2;
}

/* The trap of an instruction is delivered before the interrupt that the instruction made
 * pending. */
static void trap_before_interrupt(void)
{
    order_count = 0;
    set_handler(VECTOR_DB, record);
    set_handler(VECTOR_EXTERNAL, record);
    uint64_t rax = HYPERCALL_INJECT, behind;
    __asm__ volatile("pushf; orq $0x300, (%%rsp); popf; vmcall\n"
                     "1: cli; lea 1b(%%rip), %1"
                     : "+a"(rax), "=&r"(behind)
                     : "b"(EVENT(EVENT_INTERRUPT, VECTOR_EXTERNAL)), "c"(0), "d"(0)
                     : "memory");
    set_handler(VECTOR_DB, NULL);
    set_handler(VECTOR_EXTERNAL, NULL);
    EXPECT_EQ(rax, 0);
    EXPECT_EQ(order_count, 2);
    EXPECT_EQ(order[0], VECTOR_DB);
    EXPECT_EQ(order[1], VECTOR_EXTERNAL);
    EXPECT_EQ(order_rips[0], behind);
    EXPECT_EQ(order_rips[1], behind);
    note("arrived", order_count);
}

/* The single-step trap of a HLT ends the HLT. */
static void single_step_hlt(void)
{
    uint64_t behind;
    look_for(VECTOR_DB, 0);
    __asm__ volatile("pushf; orq $0x100, (%%rsp); popf; hlt\n"
                     "1: lea 1b(%%rip), %0"
                     : "=&r"(behind)
                     :
                     : "memory");
    set_handler(VECTOR_DB, NULL);
    EXPECT_EQ(seen.count, 1);
    EXPECT_EQ(seen.rip, behind);
    note("arrived", seen.count);
}

/* RF keeps an instruction breakpoint from hitting twice: a fault's frame has it, an instruction
 * that was completed clears it (SDM 3, 18.3.1.1). */
static void rf_of_faults(void)
{
    order_count = 0;
    set_handler(VECTOR_GP, record);
    set_handler(VECTOR_DB, record);
    wrmsr(0x12345, 0);
    EXPECT_EQ(order_count, 1);
    EXPECT(order_flags[0] & BIT(16));
    /* IRET to a CPUID with RF and TF; RF must be gone in the frame of the trap after it. */
    __asm__ volatile("mov %%rsp, %%rax; mov %%ss, %%ecx; push %%rcx; push %%rax\n"
                     "pushf; orq $0x10100, (%%rsp); mov %%cs, %%ecx; push %%rcx\n"
                     "lea 1f(%%rip), %%rcx; push %%rcx; iretq\n"
                     "1: cpuid"
                     :
                     :
                     : "rax", "rbx", "rcx", "rdx", "memory");
    set_handler(VECTOR_GP, NULL);
    set_handler(VECTOR_DB, NULL);
    EXPECT_EQ(order_count, 2);
    EXPECT_EQ(order[1], VECTOR_DB);
    EXPECT(!(order_flags[1] & BIT(16)));
    note("arrived", order_count);
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
        {"single_step_hlt", single_step_hlt, NEED_EPTVISOR},
        {"trap_before_interrupt", trap_before_interrupt, NEED_TESTCTL},
        {"rf_of_faults", rf_of_faults, NEED_EPTVISOR},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
