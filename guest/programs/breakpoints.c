/* SPDX-License-Identifier: MIT */
/*
 * Instruction breakpoints and RF (SDM 3, 18.3.1.1) around instructions that exit. An instruction
 * that the hypervisor completes ends with RF clear, so that a breakpoint on the next instruction is
 * hit. An instruction that is retried or continued has RF set, so that it does not hit its own
 * breakpoint again. Exception frames show RF accordingly.
 */
#include "guest/programs/rt/apic.h"
#include "guest/programs/rt/rt.h"

#define DEV             ((uint64_t)TESTDEV_A_BASE)
#define BELL            0xd0000000ull
#define RFLAGS_TF       BIT(8)
#define RFLAGS_IF       BIT(9)
#define RFLAGS_RF       BIT(16)
#define DR6_B0          BIT(0)
#define DR7_L0          BIT(0)
#define VECTOR_EXTERNAL 0x51
#define VECTOR_DE       0
#define ROUNDS          6 /* the first ones are violations and walks, the last ones replays */
#define ELEMENTS        200

/* Each instruction accesses the address in RDI. The label after it is where it ends. */
#define PLACE(name, instruction)                                              \
    __asm__(".text\n" #name ": " instruction "\n" #name "_next: nop\nret\n"); \
    extern uint8_t name[], name##_next[];
PLACE(place_store, "movl %esi, (%rdi)")
PLACE(place_load, "movl (%rdi), %eax")
PLACE(place_or, "orl %esi, (%rdi)")
PLACE(place_cpuid, "cpuid")
PLACE(place_divide, "divl (%rdi)")
PLACE(place_stos, "rep stosl")
PLACE(place_ins, "rep insl")

/* The #DBs, and the other exceptions and interrupts, in order. */
static volatile unsigned hits, others;
static volatile uint64_t hit_rip[4 * ELEMENTS], hit_flags[4 * ELEMENTS], other_rip, other_flags;

static void on_debug(struct frame *frame)
{
    unsigned i = hits++ % ARRAY_SIZE(hit_rip);
    hit_rip[i] = frame->rip;
    hit_flags[i] = frame->rflags;
    uint64_t dr6;
    __asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
    if (dr6 & DR6_B0)
        frame->rflags |= RFLAGS_RF; /* as a debugger continues */
    __asm__ volatile("mov %0, %%dr6" : : "r"(0xffff0ff0ull));
}

static void on_other(struct frame *frame)
{
    others++;
    other_rip = frame->rip;
    other_flags = frame->rflags;
    if (frame->vector == VECTOR_DE)
        frame->rip = (uint64_t)place_divide_next;
}

static void break_at(const void *place)
{
    hits = others = 0;
    set_handler(VECTOR_DB, place ? on_debug : NULL);
    __asm__ volatile("mov %0, %%dr0" : : "r"(place));
    __asm__ volatile("mov %0, %%dr7" : : "r"(0x400 | (place ? DR7_L0 : 0)));
}

static void run(const void *place, uint64_t address, uint64_t count)
{
    uint64_t rax = 0x55, rcx = count, rdx = PORT_TEST;
    __asm__ volatile("call *%4"
                     : "+a"(rax), "+c"(rcx), "+d"(rdx), "+D"(address)
                     : "r"(place), "S"(0x1234)
                     : "rbx", "memory");
}

/* Whether this CPU saves RF = 1 at exits by memory accesses. If it does not, a retried instruction
 * hits its breakpoint twice, which no hypervisor can prevent. */
static bool saves_rf(void)
{
    return counter(COUNTER_POISON_TICKS) != 0;
}

/* A breakpoint on the instruction is hit once in each round. A breakpoint after it is hit once in
 * each round as well, because RF is clear there. */
static void once_each(const void *place, const void *next, uint64_t address)
{
    const void *const stops[] = {place, next};
    for (unsigned i = 0; i < ARRAY_SIZE(stops); i++) {
        break_at(stops[i]);
        for (unsigned round = 0; round < ROUNDS; round++) {
            run(place, address, 1);
            EXPECT_EQ(hits, round + 1);
            EXPECT_EQ(hit_rip[round], stops[i]);
            EXPECT_EQ(hit_flags[round] & RFLAGS_RF, 0);
        }
        break_at(NULL);
    }
    note("hits", 2 * ROUNDS);
}

static void store(void)
{
    write32(DEV + TESTDEV_RESET, 1);
    once_each(place_store, place_store_next, DEV);
    EXPECT_EQ(read32(DEV + TESTDEV_WRITES), 2 * ROUNDS);
}

static void load(void)
{
    once_each(place_load, place_load_next, DEV);
}

static void read_and_write(void)
{
    once_each(place_or, place_or_next, DEV);
}

static void doorbell(void)
{
    struct hypercall call = {.rbx = BELL};
    EXPECT_EQ(hypercall(HC_DOORBELL_ADD, &call), 0);
    uint64_t id = call.rbx;
    once_each(place_store, place_store_next, BELL);
    call.rbx = id;
    EXPECT_EQ(hypercall(HC_DOORBELL_RINGS, &call), 0);
    EXPECT_EQ(call.rbx, 2 * ROUNDS);
    call.rbx = id;
    EXPECT_EQ(hypercall(HC_DOORBELL_REMOVE, &call), 0);
}

static void own_exit(void)
{
    once_each(place_cpuid, place_cpuid_next, 0);
}

/* The page is mapped by a fault: the store is executed twice, but hits its breakpoint once. */
static void retried(void)
{
    uint64_t page = (uint64_t)new_page();
    unsigned most = saves_rf() ? ROUNDS : 2 * ROUNDS;
    break_at(place_store);
    for (unsigned round = 0; round < ROUNDS; round++) {
        EXPECT_EQ(hc_zap(page, 1), 0);
        run(place_store, page, 1);
    }
    EXPECT(hits >= ROUNDS && hits <= most);
    note("retried", hits);
    break_at(place_store_next);
    for (unsigned round = 0; round < ROUNDS; round++) {
        EXPECT_EQ(hc_zap(page, 1), 0);
        run(place_store, page, 1);
    }
    EXPECT_EQ(hits, ROUNDS);
    note("hits", hits);
    break_at(NULL);
}

/* More iterations than the hypervisor makes in one exit. */
static void repetition(const void *place, const void *next, uint64_t address)
{
    break_at(place);
    run(place, address, ELEMENTS);
    EXPECT_EQ(hits, 1);
    break_at(next);
    run(place, address, ELEMENTS);
    EXPECT_EQ(hits, 1);
    EXPECT_EQ(hit_flags[0] & RFLAGS_RF, 0);
    break_at(NULL);
    note("hits", 2);
}

static void repeated_stores(void)
{
    write32(DEV + TESTDEV_RESET, 1);
    repetition(place_stos, place_stos_next, DEV);
    EXPECT_EQ(read32(DEV + TESTDEV_WRITES), 2 * ELEMENTS);
}

static uint32_t input[ELEMENTS];

static void repeated_input(void)
{
    repetition(place_ins, place_ins_next, (uint64_t)input);
}

/* The frame of a single step has RF between two iterations, but not after the last one. */
static void stepped(const void *place, uint64_t address)
{
    break_at(place);
    uint64_t rax = 0, rcx = 5, rdx = PORT_TEST, rflags;
    __asm__ volatile("pushf; popq %4; pushf; orq $0x100, (%%rsp); popf\n"
                     "call *%5\n"
                     "pushq %4; popf"
                     : "+a"(rax), "+c"(rcx), "+d"(rdx), "+D"(address), "=&r"(rflags)
                     : "r"(place)
                     : "rbx", "memory");
    unsigned within = 0, behind = 0;
    for (unsigned i = 0; i < hits; i++) {
        bool rf = hit_flags[i] & RFLAGS_RF;
        if (hit_rip[i] == (uint64_t)place)
            within += rf;
        else
            behind += rf;
    }
    EXPECT_EQ(within, 4);
    EXPECT_EQ(behind, 0);
    break_at(NULL);
    note("within", within);
}

static void stepped_stores(void)
{
    stepped(place_stos, DEV);
}

static void stepped_input(void)
{
    stepped(place_ins, (uint64_t)input);
}

/* An interrupt during a repetition arrives between two iterations, and the return from its handler
 * does not hit the breakpoint. */
static void interrupted(void)
{
    unsigned between = 0;
    set_handler(VECTOR_EXTERNAL, on_other);
    for (unsigned round = 0; round < 20; round++) {
        break_at(place_stos);
        EXPECT_EQ(hc_inject(EVENT(EVENT_INTERRUPT, VECTOR_EXTERNAL), 0, 500 + 500 * round), 0);
        __asm__ volatile("sti");
        run(place_stos, DEV, ELEMENTS);
        while (!others)
            __asm__ volatile("pause");
        __asm__ volatile("cli");
        EXPECT_EQ(hits, 1);
        if (other_rip == (uint64_t)place_stos && other_flags & RFLAGS_RF)
            between++;
        if (other_rip == (uint64_t)place_stos_next)
            EXPECT_EQ(other_flags & RFLAGS_RF, 0);
    }
    break_at(NULL);
    set_handler(VECTOR_EXTERNAL, NULL);
    EXPECT(between > 0);
    note("between", between);
}

static void on_own_interrupt(struct frame *frame)
{
    others++;
    other_flags |= frame->rflags;
    apic_write(APIC_REG_EOI, 0);
}

/* RF is clear in the frame of an interrupt that arrives after a replayed access, as after any
 * instruction. The access itself sends the interrupt. No breakpoint is enabled, because then
 * accesses are not replayed. */
static void interrupt_behind(void)
{
    others = 0;
    other_flags = 0;
    apic_write(APIC_REG_SVR, 0x1ff);
    set_handler(VECTOR_EXTERNAL, on_own_interrupt);
    __asm__ volatile("sti");
    for (unsigned i = 0; i < ROUNDS; i++)
        apic_write(APIC_REG_ICR, ICR_SELF | VECTOR_EXTERNAL);
    __asm__ volatile("cli");
    set_handler(VECTOR_EXTERNAL, NULL);
    EXPECT_EQ(others, ROUNDS);
    EXPECT_EQ(other_flags & RFLAGS_RF, 0);
}

/* A fault that the emulator raises has RF in its frame, and the handler's IRET loads it. */
static void emulated_fault(void)
{
    write32(DEV, 0);
    set_handler(VECTOR_DE, on_other);
    break_at(place_divide);
    run(place_divide, DEV, 1);
    EXPECT_EQ(hits, 1);
    EXPECT_EQ(others, 1);
    EXPECT_EQ(other_rip, place_divide);
    EXPECT(other_flags & RFLAGS_RF);
    note("faults", others);
    break_at(NULL);
    set_handler(VECTOR_DE, NULL);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"store", store, NEED_TESTCTL},
        {"load", load, NEED_TESTCTL},
        {"read_and_write", read_and_write, NEED_TESTCTL},
        {"doorbell", doorbell, NEED_TESTCTL},
        {"own_exit", own_exit, NEED_EPTVISOR},
        {"retried", retried, NEED_TESTCTL},
        {"repeated_stores", repeated_stores, NEED_TESTCTL},
        {"repeated_input", repeated_input, NEED_TESTCTL},
        {"stepped_stores", stepped_stores, NEED_TESTCTL},
        {"stepped_input", stepped_input, NEED_TESTCTL},
        {"interrupted", interrupted, NEED_TESTCTL},
        {"interrupt_behind", interrupt_behind, NEED_TESTCTL},
        {"emulated_fault", emulated_fault, NEED_TESTCTL},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
