/* SPDX-License-Identifier: MIT */
/*
 * Debug exceptions and alignment checks exit and are given back to the guest (vmx/reflect.c): DR6,
 * DR7, the frame and the registers are as on a CPU without a hypervisor (SDM 3, 18.2, 18.3).
 * Everything but the counts also holds without a hypervisor (QEMU has neither DR7.GD nor INT1).
 */
#include "guest/programs/rt/rt.h"

#define VECTOR_AC       17
#define DR6_RESET       0xffff0ff0ull
#define DR6_BD          BIT(13)
#define DR6_BS          BIT(14)
#define DR7_RESET       0x400ull
#define DR7_GD          BIT(13)
#define DR7_LEN4        3ull
#define DR7_WRITE       1ull
#define FLAG_TF         BIT(8)
#define FLAG_RF         BIT(16)
#define EXITS_EXCEPTION COUNTER_EXIT(0)

static uint64_t read_dr6(void)
{
    uint64_t value;
    __asm__ volatile("mov %%dr6, %0" : "=r"(value));
    return value;
}

static void write_dr6(uint64_t value)
{
    __asm__ volatile("mov %0, %%dr6" : : "r"(value));
}

static uint64_t read_dr7(void)
{
    uint64_t value;
    __asm__ volatile("mov %%dr7, %0" : "=r"(value));
    return value;
}

static void write_dr7(uint64_t value)
{
    __asm__ volatile("mov %0, %%dr7" : : "r"(value));
}

/* Sets a breakpoint in DR0 or DR1. `kind` is R/W and LEN in DR7's format; 0: on execution. */
static void set_breakpoint(unsigned which, uint64_t address, uint64_t kind)
{
    if (which)
        __asm__ volatile("mov %0, %%dr1" : : "r"(address));
    else
        __asm__ volatile("mov %0, %%dr0" : : "r"(address));
    write_dr7(DR7_RESET | 2ull << 2 * which | kind << (16 + 4 * which));
}
#define ON_WRITE (DR7_LEN4 << 2 | DR7_WRITE)

/* The addresses at which exceptions are expected; the names say which. */
extern uint8_t debug_step[], debug_execute[], debug_write[], debug_detect[], debug_int1[],
    debug_int1_long[], debug_shadow[], debug_sti[], debug_ac[], debug_sink[];
void debug_run_step(void), debug_run_execute(void), debug_run_write(uint32_t *where),
    debug_run_detect(void), debug_run_int1(void), debug_run_int1_long(void),
    debug_run_shadow(const uint16_t *ss), debug_run_sti(void);

__asm__(".text\n"
        "debug_run_step: pushfq\n orq $0x100, (%rsp)\n popfq\n nop\n"
        "debug_step: nop\n ret\n"
        "debug_run_execute: nop\n"
        "debug_execute: nop\n ret\n"
        "debug_run_write: movl $1, (%rdi)\n"
        "debug_write: nop\n ret\n"
        "debug_run_detect: nop\n"
        "debug_detect: mov %dr0, %rax\n ret\n"
        "debug_run_int1: .byte 0xf1\n"
        "debug_int1: nop\n ret\n"
        "debug_run_int1_long: .byte 0x66, 0x66, 0xf1\n"
        "debug_int1_long: nop\n ret\n"
        "debug_run_shadow: movw (%rdi), %ss\n nop\n"
        "debug_shadow: nop\n ret\n"
        "debug_run_sti: pushfq\n orq $0x100, (%rsp)\n popfq\n sti\n"
        "debug_sti: cli\n ret\n");

static uint64_t frame_rflags;

/* Records what look_for() would record, and lets the guest continue. */
static void note_frame(struct frame *frame)
{
    seen.count = seen.count + 1;
    seen.rip = frame->rip;
    seen.error = frame->error;
    seen.dr6 = read_dr6();
    frame_rflags = frame->rflags;
    frame->rflags = (frame->rflags & ~FLAG_TF) | FLAG_RF; /* past a breakpoint on execution */
    if (frame->rip == (uint64_t)debug_detect)
        frame->rip += 3;
}

static struct watch exits;

static void expect_debug(void)
{
    seen.count = 0;
    set_handler(VECTOR_DB, note_frame);
    exits = missing_need(NEED_TESTCTL) ? (struct watch){0} : watch(EXITS_EXCEPTION);
}

/* Expects that the exception occurred once, at `rip`, with this DR6. */
static void came(const uint8_t *rip, uint64_t dr6)
{
    uint64_t left = missing_need(NEED_TESTCTL) ? 0 : watched(exits);
    write_dr7(DR7_RESET);
    set_handler(VECTOR_DB, NULL);
    EXPECT_EQ(seen.count, 1);
    EXPECT_EQ(seen.rip, rip);
    EXPECT_EQ(seen.dr6, dr6);
    EXPECT_EQ(read_dr6(), dr6);
    if (!missing_need(NEED_TESTCTL))
        note("exits", left);
}

static void single_step(void)
{
    write_dr6(DR6_RESET | 0xf); /* the CPU clears B0 to B3 that are not of this exception */
    expect_debug();
    debug_run_step();
    came(debug_step, DR6_RESET | DR6_BS);
}

static void execution(void)
{
    write_dr6(DR6_RESET | DR6_BS); /* BS is not cleared by another exception */
    expect_debug();
    set_breakpoint(1, (uint64_t)debug_execute, 0);
    debug_run_execute();
    came(debug_execute, DR6_RESET | DR6_BS | 2);
    EXPECT_EQ(frame_rflags & FLAG_RF, 0); /* this fault does not set RF (SDM 3, 18.3.1.1) */
}

static void write(void)
{
    static uint32_t word;
    write_dr6(DR6_RESET);
    expect_debug();
    set_breakpoint(0, (uint64_t)&word, ON_WRITE);
    debug_run_write(&word);
    came(debug_write, DR6_RESET | 1);
    EXPECT_EQ(word, 1);
}

/* The #DB of GD clears GD, so the handler can access the debug registers. */
static void general_detect(void)
{
    write_dr6(DR6_RESET);
    expect_debug();
    write_dr7(DR7_RESET | DR7_GD);
    debug_run_detect();
    EXPECT_EQ(read_dr7(), DR7_RESET);
    came(debug_detect, DR6_RESET | DR6_BD);
}

/* INT1 does not change DR6, and its handler returns to the next instruction, whatever the length of
 * the INT1. */
static void int1(void)
{
    write_dr6(DR6_RESET | DR6_BS | 4);
    expect_debug();
    debug_run_int1();
    came(debug_int1, DR6_RESET | DR6_BS | 4);
    expect_debug();
    debug_run_int1_long();
    came(debug_int1_long, DR6_RESET | DR6_BS | 4);
}

/* INT1 does not check the DPL of its gate. */
static void user_int1(void *code)
{
    rt_user((uint64_t)code);
}

static uint8_t *user_code(const void *bytes, unsigned size)
{
    static uint8_t *page;
    if (!page) {
        page = (uint8_t *)new_page();
        map_page(rt_pml4, TEST_VA, (uint64_t)page, PTE_P | PTE_W | PTE_U);
    }
    memcpy(page, bytes, size);
    return (uint8_t *)TEST_VA;
}

static void int1_of_a_user(void)
{
    static const uint8_t code[] = {0xf1};
    const uint8_t *rip = user_code(code, sizeof(code));
    struct fault fault = try_run(user_int1, user_code(code, sizeof(code)));
    EXPECT_EQ(fault.vector, VECTOR_DB);
    EXPECT_EQ(fault.rip, rip + 1);
}

/* A trap on MOV SS is delivered after the next instruction. */
static void shadow(void)
{
    uint64_t ss = 0;
    __asm__ volatile("mov %%ss, %0" : "=r"(ss));
    static uint16_t selector;
    selector = (uint16_t)ss;
    write_dr6(DR6_RESET);
    expect_debug();
    set_breakpoint(0, (uint64_t)&selector, 1ull << 2 | 3); /* read or written, two bytes */
    debug_run_shadow(&selector);
    came(debug_shadow, DR6_RESET | 1);
}

/* The shadow of STI does not delay a trap. */
static void step_over_sti(void)
{
    write_dr6(DR6_RESET);
    expect_debug();
    debug_run_sti();
    came(debug_sti, DR6_RESET | DR6_BS);
}

#define VECTOR_SOFTWARE 0x50
static struct frame outer;
static unsigned taken;

static void on_software(struct frame *frame)
{
    outer = *frame;
    taken++;
}

static uint8_t stack[4096] __attribute__((aligned(4096)));

/* If the delivery of an event hits a data breakpoint, the trap comes at the first instruction of
 * the event's handler. */
static void in_a_delivery(void)
{
    extern uint8_t rt_vectors[][16];
    write_dr6(DR6_RESET);
    set_stack(VECTOR_SOFTWARE, (uint64_t)stack + sizeof(stack));
    set_handler(VECTOR_SOFTWARE, on_software);
    taken = 0;
    expect_debug();
    /* where the delivery pushes SS */
    set_breakpoint(0, (uint64_t)stack + sizeof(stack) - 8, ON_WRITE);
    __asm__ volatile("int %0" : : "i"(VECTOR_SOFTWARE) : "memory");
    came(rt_vectors[VECTOR_SOFTWARE], DR6_RESET | 1);
    set_handler(VECTOR_SOFTWARE, NULL);
    set_stack(VECTOR_SOFTWARE, 0);
    EXPECT_EQ(taken, 1);
    EXPECT_EQ(outer.vector, VECTOR_SOFTWARE);
}

/* A misaligned load at CPL 3, with CR0.AM and RFLAGS.AC set. */
static void alignment_check(void)
{
    static const uint8_t code[] = {
        0x48, 0xbc, 0x00, 0x08, 0,    0, 0x80, 0, 0, 0, /* mov $0x8000000800, %rsp */
        0x68, 0x02, 0x00, 0x04, 0x00,                   /* push $0x40002 */
        0x9d,                                           /* popf: AC */
        0x8b, 0x44, 0x24, 0x01,                         /* mov 1(%rsp), %eax */
        0x0f, 0x0b,                                     /* ud2 */
    };
    uint64_t cr0;
    const uint8_t *at = user_code(code, sizeof(code));
    __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
    __asm__ volatile("mov %0, %%cr0" : : "r"(cr0 | BIT(18)));
    exits = missing_need(NEED_TESTCTL) ? (struct watch){0} : watch(EXITS_EXCEPTION);
    struct fault fault = try_run(user_int1, user_code(code, sizeof(code)));
    uint64_t left = missing_need(NEED_TESTCTL) ? 0 : watched(exits);
    __asm__ volatile("mov %0, %%cr0" : : "r"(cr0));
    EXPECT_EQ(fault.vector, VECTOR_AC);
    EXPECT_EQ(fault.error, 0);
    EXPECT_EQ(fault.rip, at + 16);
    if (!missing_need(NEED_TESTCTL))
        note("exits", left);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"single_step", single_step, 0},
        {"execution", execution, 0},
        {"write", write, 0},
        {"general_detect", general_detect, 0},
        {"int1", int1, 0},
        {"int1_of_a_user", int1_of_a_user, 0},
        {"shadow", shadow, 0},
        {"step_over_sti", step_over_sti, 0},
        {"in_a_delivery", in_a_delivery, 0},
        {"alignment_check", alignment_check, 0},
    };
    run_tests(tests, ARRAY_SIZE(tests));
}
