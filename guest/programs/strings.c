/* SPDX-License-Identifier: MIT */
/*
 * INS and OUTS with the port that returns the bytes written to it: repetitions in both directions,
 * address sizes and segments, faults and single steps between two iterations, and devices as
 * memory.
 */
#include "guest/programs/rt/rt.h"

#define DEV         ((uint64_t)TESTDEV_A_BASE)
#define RW          (PTE_P | PTE_W)
#define MSR_FS_BASE 0xc0000100u
#define BYTES       96
#define HIGH        (1ull << 32)
#define VECTOR_SOON 0x51

static uint8_t from[BYTES], to[BYTES];

/* The registers of a string instruction. */
struct regs {
    uint64_t count, source, target;
};

#define STRING_IO(name, instruction)                                        \
    static void name(struct regs *r)                                        \
    {                                                                       \
        __asm__ volatile(instruction                                        \
                         : "+c"(r->count), "+S"(r->source), "+D"(r->target) \
                         : "d"(PORT_TEST)                                   \
                         : "memory", "cc");                                 \
    }
STRING_IO(rep_outsb, "rep outsb")
STRING_IO(rep_outsw, "rep outsw")
STRING_IO(rep_outsl, "rep outsl")
STRING_IO(rep_insb, "rep insb")
STRING_IO(rep_insw, "rep insw")
STRING_IO(rep_insl, "rep insl")
STRING_IO(outsb, "outsb")
STRING_IO(outsl, "outsl")
STRING_IO(insw, "insw")
STRING_IO(rep_outsw_down, "std; rep outsw; cld")
STRING_IO(rep_insb_down, "std; rep insb; cld")
STRING_IO(rep_outsb_32, ".byte 0xf3, 0x67, 0x6e")
STRING_IO(rep_insw_32, ".byte 0xf3, 0x67, 0x66, 0x6d")
STRING_IO(outsb_fs, ".byte 0x64, 0x6e")

static void fill(void)
{
    for (unsigned i = 0; i < BYTES; i++) {
        from[i] = (uint8_t)(0x31 * i + 7);
        to[i] = 0xcc;
    }
}

/* Expects that the port is empty. */
static void expect_empty(void)
{
    EXPECT_EQ(inb(PORT_TEST), 0xff);
}

static void expect_regs(const struct regs *r, uint64_t count, uint64_t source, uint64_t target)
{
    EXPECT_EQ(r->count, count);
    EXPECT_EQ(r->source, source);
    EXPECT_EQ(r->target, target);
}

static void expect_copied(const uint8_t *source, unsigned size)
{
    unsigned wrong = 0;
    for (unsigned i = 0; i < size; i++)
        wrong += to[i] != source[i];
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(size < BYTES ? to[size] : 0xcc, 0xcc);
}

/* Writes in one size and reads in another one: the bytes are in the order of their addresses. */
static void repeated(void)
{
    static const struct {
        void (*out)(struct regs *), (*in)(struct regs *);
        unsigned out_size, in_size;
    } cases[] = {
        {rep_outsb, rep_insb, 1, 1}, {rep_outsw, rep_insl, 2, 4}, {rep_outsl, rep_insw, 4, 2},
        {rep_outsl, rep_insb, 4, 1}, {rep_outsb, rep_insl, 1, 4},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        fill();
        struct regs out = {BYTES / cases[i].out_size, (uint64_t)from, 5};
        cases[i].out(&out);
        expect_regs(&out, 0, (uint64_t)from + BYTES, 5);
        struct regs in = {BYTES / cases[i].in_size, 6, (uint64_t)to};
        cases[i].in(&in);
        expect_regs(&in, 0, 6, (uint64_t)to + BYTES);
        expect_copied(from, BYTES);
        expect_empty();
    }
}

static void single(void)
{
    fill();
    struct regs r = {77, (uint64_t)from, (uint64_t)to};
    outsb(&r);
    outsb(&r);
    insw(&r);
    expect_regs(&r, 77, (uint64_t)from + 2, (uint64_t)to + 2);
    expect_copied(from, 2);
    expect_empty();
    r.count = 0;
    rep_outsb(&r); /* no iterations at all */
    rep_insb(&r);
    expect_regs(&r, 0, (uint64_t)from + 2, (uint64_t)to + 2);
    expect_empty();
}

static void downwards(void)
{
    fill();
    struct regs r = {4, (uint64_t)from + 6, (uint64_t)to + 7};
    rep_outsw_down(&r);
    EXPECT_EQ(r.source, (uint64_t)from - 2);
    r.count = 8;
    rep_insb_down(&r);
    expect_regs(&r, 0, (uint64_t)from - 2, (uint64_t)to - 1);
    for (unsigned i = 0; i < 8; i++) /* words backwards, then bytes backwards */
        EXPECT_EQ(to[i], from[i ^ 1]);
    expect_empty();
}

/* With 32-bit addresses, the upper halves of RSI, RDI and RCX are ignored, and cleared. */
static void address_size(void)
{
    fill();
    struct regs r = {HIGH | 4, HIGH | (uint64_t)from, 9};
    rep_outsb_32(&r);
    EXPECT_EQ(r.count, 0);
    EXPECT_EQ(r.source, (uint64_t)from + 4);
    r = (struct regs){HIGH | 2, 9, HIGH | (uint64_t)to};
    rep_insw_32(&r);
    EXPECT_EQ(r.count, 0);
    EXPECT_EQ(r.target, (uint64_t)to + 4);
    expect_copied(from, 4);
}

static void segment(void)
{
    fill();
    wrmsr(MSR_FS_BASE, (uint64_t)from - 0x100);
    struct regs r = {0, 0x105, 0};
    outsb_fs(&r);
    wrmsr(MSR_FS_BASE, 0);
    EXPECT_EQ(r.source, 0x106);
    EXPECT_EQ(inb(PORT_TEST), from[5]);
}

/* ---- Faults ---------------------------------------------------------------------------------- */

static struct regs faulting;

static void try_rep_outsw(void *argument)
{
    (void)argument;
    rep_outsw(&faulting);
}

static void try_insl(void *argument)
{
    (void)argument;
    rep_insl(&faulting);
}

/* The registers at the fault, with which the instruction would continue. */
static struct regs at_fault;
static uint64_t *second_page;

static void keep_registers(struct frame *frame)
{
    seen.count = seen.count + 1;
    seen.error = frame->error;
    __asm__ volatile("mov %%cr2, %0" : "=r"(seen.cr2));
    at_fault = (struct regs){frame->rcx, frame->rsi, frame->rdi};
    map_page(rt_pml4, TEST_VA + RT_PAGE, (uint64_t)second_page, RW); /* maps the page again */
}

/* The second page is mapped by the page-fault handler. The iterations before the fault are not
 * repeated. */
static void page_fault_between(void)
{
    uint64_t *first_page = new_page();
    second_page = new_page();
    map_page(rt_pml4, TEST_VA, (uint64_t)first_page, RW);
    map_page(rt_pml4, TEST_VA + RT_PAGE, 0, 0);
    invlpg(TEST_VA);
    invlpg(TEST_VA + RT_PAGE);
    fill();
    struct regs r = {10, (uint64_t)from, 0};
    rep_outsl(&r);
    seen.count = 0;
    set_handler(VECTOR_PF, keep_registers);
    r = (struct regs){10, 0, TEST_VA + RT_PAGE - 22}; /* the sixth iteration crosses the border */
    rep_insl(&r);
    set_handler(VECTOR_PF, NULL);
    EXPECT_EQ(seen.count, 1);
    EXPECT_EQ(seen.cr2, TEST_VA + RT_PAGE);
    EXPECT_EQ(seen.error, 2);
    expect_regs(&at_fault, 5, 0, TEST_VA + RT_PAGE - 2);
    expect_regs(&r, 0, 0, TEST_VA + RT_PAGE + 18);
    memcpy(to, (uint8_t *)first_page + RT_PAGE - 22, 22);
    memcpy(to + 22, second_page, 18);
    expect_copied(from, 40);
    expect_empty();
}

/* Two pages that are neighbours only in virtual memory, and a source that crosses their border. */
static void across_pages(void)
{
    uint8_t *low = (uint8_t *)new_page(), *high = (uint8_t *)new_page();
    map_page(rt_pml4, TEST_VA, (uint64_t)high, RW);
    map_page(rt_pml4, TEST_VA + RT_PAGE, (uint64_t)low, RW);
    invlpg(TEST_VA);
    invlpg(TEST_VA + RT_PAGE);
    memcpy(high + RT_PAGE - 3, "\x11\x22\x33", 3);
    low[0] = 0x44;
    struct regs r = {0, TEST_VA + RT_PAGE - 3, 0};
    outsl(&r);
    EXPECT_EQ(r.source, TEST_VA + RT_PAGE + 1);
    for (unsigned i = 1; i <= 4; i++)
        EXPECT_EQ(inb(PORT_TEST), 0x11 * i);
}

/* A fault of the first iteration has no effect: no byte is taken from the port. */
static void faults_first(void)
{
    uint64_t *page = new_page();
    outb(PORT_TEST, 0x5a);
    map_page(rt_pml4, TEST_VA, (uint64_t)page, PTE_P);
    invlpg(TEST_VA);
    faulting = (struct regs){1, 0, TEST_VA};
    struct fault fault = try_run(try_insl, NULL);
    EXPECT_EQ(fault.vector, VECTOR_PF);
    EXPECT_EQ(fault.error, 3); /* protection, write */
    EXPECT_EQ(fault.cr2, TEST_VA);
    EXPECT_EQ(page[0], 0);

    faulting = (struct regs){1, 0, 0x800000000000 - 2}; /* into the noncanonical addresses */
    EXPECT_EQ(try_run(try_insl, NULL).vector, VECTOR_GP);
    faulting = (struct regs){1, 0x900000000000, 0};
    EXPECT_EQ(try_run(try_rep_outsw, NULL).vector, VECTOR_GP);
    EXPECT_EQ(inb(PORT_TEST), 0x5a);
    expect_empty();
}

/* ---- Devices as memory ----------------------------------------------------------------------- */

static void to_and_from_a_device(void)
{
    fill();
    write32(DEV + TESTDEV_RESET, 1);
    struct regs r = {8, (uint64_t)from, DEV + 0x20};
    rep_outsl(&r);
    r.count = 16;
    rep_insw(&r);
    expect_regs(&r, 0, (uint64_t)from + 32, DEV + 0x40);
    EXPECT_EQ(read32(DEV + TESTDEV_WRITES), 16);
    EXPECT_EQ(read32(DEV + TESTDEV_LAST_SIZE), 2);
    r = (struct regs){8, DEV + 0x20, 0};
    rep_outsl(&r);
    EXPECT_EQ(read32(DEV + TESTDEV_READS), 8);
    r = (struct regs){8, 0, (uint64_t)to};
    rep_insl(&r);
    expect_copied(from, 32);
}

/* ---- Between two iterations ------------------------------------------------------------------ */

static volatile unsigned steps, wrong_places;
static volatile uint64_t place;

/* The trap flag stays set until the trap after the instruction. */
static void step(struct frame *frame)
{
    if (!place)
        place = frame->rip; /* after POPF: the address of the instruction */
    else
        steps = steps + 1;
    if (frame->rip != place) {
        wrong_places = wrong_places + (frame->rcx != 0);
        frame->rflags &= ~BIT(8);
    } else {
        wrong_places = wrong_places + (frame->rcx + steps != 5);
    }
}

static void single_steps(void)
{
    uint64_t count = 5, source = (uint64_t)from;
    fill();
    steps = wrong_places = 0;
    place = 0;
    set_handler(VECTOR_DB, step);
    __asm__ volatile("pushf; orq $0x100, (%%rsp); popf; nop; rep outsb; nop"
                     : "+c"(count), "+S"(source)
                     : "d"(PORT_TEST)
                     : "memory", "cc");
    set_handler(VECTOR_DB, NULL);
    EXPECT_EQ(count, 0);
    EXPECT_EQ(steps, 5);
    EXPECT_EQ(wrong_places, 0);
    for (unsigned i = 0; i < 5; i++)
        EXPECT_EQ(inb(PORT_TEST), from[i]);
    note("steps", steps);
}

static volatile uint64_t interrupted_count;

static void interrupted(struct frame *frame)
{
    interrupted_count = frame->rcx;
    seen.count = seen.count + 1;
}

/* An interrupt does not wait for the end of a long repetition. */
static void interrupts(void)
{
    struct regs r = {4000, 0x100000, 0};
    seen.count = 0;
    set_handler(VECTOR_SOON, interrupted);
    EXPECT_EQ(hc_inject(EVENT(EVENT_INTERRUPT, VECTOR_SOON), 0, 100000), 0);
    __asm__ volatile("sti" : : : "memory");
    rep_outsb(&r);
    __asm__ volatile("cli" : : : "memory");
    set_handler(VECTOR_SOON, NULL);
    EXPECT_EQ(seen.count, 1);
    EXPECT(interrupted_count > 0);
    EXPECT(interrupted_count < 4000);
    expect_regs(&r, 0, 0x100000 + 4000, 0);
    while (inb(PORT_TEST) != 0xff || inb(PORT_TEST) != 0xff)
        ;
    note("arrived", seen.count);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"repeated", repeated, NEED_TESTCTL},
        {"single", single, NEED_TESTCTL},
        {"downwards", downwards, NEED_TESTCTL},
        {"address_size", address_size, NEED_TESTCTL},
        {"segment", segment, NEED_TESTCTL},
        {"page_fault_between", page_fault_between, NEED_TESTCTL},
        {"across_pages", across_pages, NEED_TESTCTL},
        {"faults_first", faults_first, NEED_TESTCTL},
        {"device_as_memory", to_and_from_a_device, NEED_TESTCTL},
        {"single_steps", single_steps, NEED_TESTCTL},
        {"interrupts", interrupts, NEED_TESTCTL},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
