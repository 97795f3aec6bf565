/* SPDX-License-Identifier: MIT */
/*
 * Every class of emulated instructions: executed on RAM by the CPU and on the test device by the
 * hypervisor, in 64, 32 and 16-bit code, both must leave the same registers, flags, vectors and
 * memory. Also single steps, interrupts and faults in the middle of repetitions, branches and stack
 * accesses through memory, and vector instructions that fault.
 */
#include "guest/programs/rt/rt.h"

#define RAM_PAGE   0x60000ull /* below 1 MiB, so that 16-bit code can access it */
#define DEVICE     ((uint64_t)TESTDEV_A_BASE)
#define OPERAND    0x60 /* the operand's offset in either page */
#define SOURCE     0xb0
#define AREA       0x100 /* bytes at the start of the page that are compared */
#define CR0_EM     BIT(2)
#define CR0_TS     BIT(3)
#define CR4_FXSR   BIT(9)
#define CR4_XSAVE  BIT(18)
#define CPUID_AVX  BIT(28)
#define TF         BIT(8)
#define DF         BIT(10)
#define RF         BIT(16)
#define ARITHMETIC 0x8d5ull

#define VECTOR_NM       7
#define VECTOR_EXTERNAL 0x40

struct instruction {
    const char *name;
    uint64_t code;
    uint64_t need; /* bit of CPUID.1:ECX, or 32 */
};
extern const struct instruction instructions64[], instructions64_end[], instructions32[],
    instructions32_end[], instructions16[], instructions16_end[];
extern uint8_t instructions16_code[];
extern uint64_t rt_gdt[];

/* call_instruction() depends on the offsets. */
struct insn_call {
    uint32_t offset;
    uint16_t cs, ds;
    uint64_t rax, rcx, rdx, rbx, rsi, rdi, rflags;
    uint64_t vectors[8]; /* the first two registers */
};
_Static_assert(offsetof(struct insn_call, vectors) == 64, "list64.S");
void call_instruction(struct insn_call *call, bool avx);

static bool has_avx;

static uint64_t read_cr0(void)
{
    uint64_t value;
    __asm__ volatile("mov %%cr0, %0" : "=r"(value));
    return value;
}

static void write_cr0(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr0" : : "r"(value));
}

static void enable_vectors(void)
{
    write_cr0(read_cr0() & ~(CR0_EM | CR0_TS));
    write_cr4(read_cr4() | CR4_FXSR);
    has_avx = cpuid(1).ecx & CPUID_AVX;
    if (has_avx) {
        write_cr4(read_cr4() | CR4_XSAVE);
        __asm__ volatile("xsetbv" : : "c"(0), "a"(7), "d"(0));
    }
}

/* ---- The lists ------------------------------------------------------------------------------- */

static void set_segment_base(unsigned selector, uint64_t base)
{
    uint64_t *entry = &rt_gdt[selector / 8];

    *entry = (*entry & ~(BITS(39, 16) | BITS(63, 56))) | field_put(base, BITS(39, 16)) |
             field_put(base >> 24, BITS(63, 56));
}

/* Fills a page with the same bytes every time. If `equal`, the operand begins with the values of
 * RAX and RDX. The page is written in words, which the device stores as RAM does. */
static void fill(uint64_t page, bool equal)
{
    uint64_t value = 0x9e3779b97f4a7c15;
    for (unsigned i = 0; i < AREA; i += 8) {
        value = value * 6364136223846793005 + 1442695040888963407;
        write64(page + i, value);
    }
    write64(page + SOURCE, read64(page + OPERAND)); /* so that CMPS makes several iterations */
    write32(page + OPERAND + 12, 0x7ffffff3);
    if (equal) {
        write32(page + OPERAND, 0x8899aabb);
        write32(page + OPERAND + 4, 0x45);
    }
}

static void run_on(uint64_t page, const struct instruction *insn, unsigned size, uint64_t rflags,
                   struct insn_call *call)
{
    uint64_t view = size == 16 ? 0 : page;
    *call = (struct insn_call){
        .offset = (uint32_t)insn->code,
        .cs = size == 64   ? SEL_CODE64
              : size == 32 ? SEL_CODE32
                           : SEL_CODE16,
        .ds = size == 16 ? SEL_DATA16 : SEL_DATA,
        .rax = 0x8899aabb,
        .rcx = 7,
        .rdx = 0x45,
        .rbx = 3,
        .rsi = view + SOURCE,
        .rdi = view + OPERAND,
        .rflags = rflags,
    };
    for (unsigned i = 0; i < 8; i++)
        call->vectors[i] = 0x0123456789abcdef * (i + 1);
    if (size == 16) {
        set_segment_base(SEL_DATA16, page);
        set_segment_base(SEL_CODE16, (uint64_t)instructions16_code);
        call->offset -= (uint32_t)(uintptr_t)instructions16_code;
    }
    call_instruction(call, has_avx);
    call->rsi -= view;
    call->rdi -= view;
}

static bool same(const struct insn_call *ram, const struct insn_call *device)
{
    bool ok = EXPECT_EQ(device->rax, ram->rax);
    ok &= EXPECT_EQ(device->rcx, ram->rcx);
    ok &= EXPECT_EQ(device->rdx, ram->rdx);
    ok &= EXPECT_EQ(device->rbx, ram->rbx);
    ok &= EXPECT_EQ(device->rsi, ram->rsi);
    ok &= EXPECT_EQ(device->rdi, ram->rdi);
    ok &= EXPECT_EQ(device->rflags & (ARITHMETIC | DF), ram->rflags & (ARITHMETIC | DF));
    for (unsigned i = 0; i < 8; i++)
        ok &= EXPECT_EQ(device->vectors[i], ram->vectors[i]);
    for (unsigned i = 0; i < AREA; i += 8)
        ok &= EXPECT_EQ(read64(DEVICE + i), read64(RAM_PAGE + i));
    return ok;
}

static void run_list(const struct instruction *first, const struct instruction *end, unsigned size)
{
    static const uint64_t flags[] = {2 | ARITHMETIC, 2 | DF};
    static struct insn_call ram, device;
    uint32_t features = cpuid(1).ecx;
    uint64_t run = 0, skipped = 0;
    struct watch emulated = watch(COUNTER_MMIO_EMULATED);

    enable_vectors();
    for (const struct instruction *insn = first; insn != end; insn++) {
        if (insn->need < 32 && !(features >> insn->need & 1)) {
            skipped++;
            continue;
        }
        for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
            fill(RAM_PAGE, i & 1);
            fill(DEVICE, i & 1);
            run_on(RAM_PAGE, insn, size, flags[i], &ram);
            run_on(DEVICE, insn, size, flags[i], &device);
            if (!same(&ram, &device))
                print("# in: %s, flags 0x%lx\n", insn->name, flags[i]);
            run++;
        }
    }
    EXPECT(watched(emulated) > run);
    note("cases", run);
    note("skipped", skipped);
}

static void list_64(void)
{
    run_list(instructions64, instructions64_end, 64);
}

static void list_32(void)
{
    run_list(instructions32, instructions32_end, 32);
}

static void list_16(void)
{
    run_list(instructions16, instructions16_end, 16);
}

/* ---- Branches and the stack ------------------------------------------------------------------ */

static void call_and_jump(void)
{
    uint64_t reached = 0;

    __asm__ volatile("lea 1f(%%rip), %%rax\n\t"
                     "mov %%rax, (%1)\n\t"
                     "jmp *(%1)\n\t"
                     "ud2\n"
                     "1:\tinc %0\n\t"
                     "lea 2f(%%rip), %%rax\n\t"
                     "mov %%rax, (%1)\n\t"
                     "call *(%1)\n\t"
                     "add $4, %0\n\t"
                     "jmp 3f\n"
                     "2:\tadd $2, %0\n\t"
                     "ret\n"
                     "3:"
                     : "+r"(reached)
                     : "r"(DEVICE)
                     : "rax", "memory", "cc");
    EXPECT_EQ(reached, 7);
}

static void push_and_pop(void)
{
    uint64_t before, after, popped;

    write64(DEVICE, 0x1122334455667788);
    __asm__ volatile("mov %%rsp, %0\n\t"
                     "pushq (%3)\n\t"
                     "pushq (%%rsp)\n\t"
                     "popq 8(%3)\n\t"
                     "pop %2\n\t"
                     "mov %%rsp, %1"
                     : "=&r"(before), "=&r"(after), "=&r"(popped)
                     : "r"(DEVICE)
                     : "memory");
    EXPECT_EQ(after, before);
    EXPECT_EQ(popped, 0x1122334455667788);
    EXPECT_EQ(read64(DEVICE + 8), 0x1122334455667788);
}

/* ---- Events during a repetition -------------------------------------------------------------- */

static uint64_t steps, step_rip, frames_with_rf;

static void on_step(struct frame *frame)
{
    steps++;
    frames_with_rf += frame->rflags >> 16 & 1;
    if (frame->rip != step_rip)
        frame->rflags &= ~TF; /* the instruction is complete */
}

/* A trap after each iteration, with RF set in the frame except after the last one. */
static void single_steps(void)
{
    uint64_t di = DEVICE, count = 5;

    steps = frames_with_rf = 0;
    set_handler(VECTOR_DB, on_step);
    __asm__ volatile("lea 1f(%%rip), %%rax\n\t"
                     "mov %%rax, %2\n\t"
                     "pushfq\n\t"
                     "orq $0x100, (%%rsp)\n\t"
                     "popfq\n"
                     "1:\trep stosb\n\t"
                     "nop"
                     : "+D"(di), "+c"(count), "=m"(step_rip)
                     :
                     : "rax", "memory", "cc");
    set_handler(VECTOR_DB, NULL);
    EXPECT_EQ(steps, 5);
    EXPECT_EQ(frames_with_rf, 4);
    EXPECT_EQ(di, DEVICE + 5);
    EXPECT_EQ(count, 0);
    note("steps", steps);
}

static void clear_rf(struct frame *frame)
{
    seen.count = seen.count + 1;
    seen.rip = frame->rip;
    seen.error = frame->rflags;
    seen.cr2 = frame->rcx;
}

/* A long repetition is interrupted between two iterations, and continues. */
static void interrupted(void)
{
    uint64_t di = DEVICE, count = TESTDEV_RAM_SIZE, rip;

    seen.count = 0;
    set_handler(VECTOR_EXTERNAL, clear_rf);
    EXPECT_EQ(hc_inject(EVENT(EVENT_INTERRUPT, VECTOR_EXTERNAL), 0, 3000), 0);
    __asm__ volatile("lea 1f(%%rip), %2\n\t"
                     "sti\n"
                     "1:\trep stosb\n\t"
                     "cli"
                     : "+D"(di), "+c"(count), "=&r"(rip)
                     : "a"(0x77)
                     : "memory");
    set_handler(VECTOR_EXTERNAL, NULL);
    EXPECT_EQ(seen.count, 1);
    EXPECT_EQ(seen.rip, rip);
    EXPECT_EQ(seen.error & RF, RF);
    EXPECT(seen.cr2 > 0 && seen.cr2 < TESTDEV_RAM_SIZE);
    EXPECT_EQ(di, DEVICE + TESTDEV_RAM_SIZE);
    EXPECT_EQ(read32(DEVICE + TESTDEV_RAM_SIZE - 4), 0x77777777);
    note("left", seen.cr2);
}

static struct {
    uint64_t si, di, count;
} left;

static void copy_into_nothing(void *unused)
{
    (void)unused;
    left.si = (uint64_t)RAM_PAGE;
    left.di = TEST_VA + RT_PAGE - 16;
    left.count = 40;
    __asm__ volatile("mov %0, %%rsi\n\tmov %1, %%rdi\n\tmov %2, %%rcx\n\trep movsb"
                     :
                     : "m"(left.si), "m"(left.di), "m"(left.count)
                     : "rsi", "rdi", "rcx", "memory");
}

static uint64_t fault_rdi, fault_rcx;

static void on_page_fault(struct frame *frame)
{
    fault_rdi = frame->rdi;
    fault_rcx = frame->rcx;
    seen.cr2 = frame->rflags & RF;
    frame->rip += 2; /* rep movsb */
}

/* At a page fault, the iterations before it are complete. */
static void faults_in_the_middle(void)
{
    map_page(rt_pml4, TEST_VA, DEVICE, PTE_P | PTE_W);
    map_page(rt_pml4, TEST_VA + RT_PAGE, 0, 0);
    invlpg(TEST_VA);
    invlpg(TEST_VA + RT_PAGE);
    fill(RAM_PAGE, false);
    set_handler(VECTOR_PF, on_page_fault);
    copy_into_nothing(NULL);
    set_handler(VECTOR_PF, NULL);
    EXPECT_EQ(fault_rdi, TEST_VA + RT_PAGE);
    EXPECT_EQ(fault_rcx, 24);
    EXPECT_EQ(seen.cr2, RF);
    EXPECT_EQ(read64(DEVICE + RT_PAGE - 8), read64(RAM_PAGE + 8));
}

/* Copies from RAM to the device and on to RAM, so that the CPU and the hypervisor execute parts in
 * turn. */
static void through_pages(void)
{
    uint64_t *below = new_page(), *above = new_page();
    uint64_t si = RAM_PAGE, di = TEST_VA + RT_PAGE - 16, count = 16 + 32;

    map_page(rt_pml4, TEST_VA, (uint64_t)below, PTE_P | PTE_W);
    map_page(rt_pml4, TEST_VA + RT_PAGE, DEVICE, PTE_P | PTE_W);
    invlpg(TEST_VA);
    invlpg(TEST_VA + RT_PAGE);
    fill(RAM_PAGE, false);
    __asm__ volatile("rep movsb" : "+S"(si), "+D"(di), "+c"(count) : : "memory");
    EXPECT_EQ(below[510], read64(RAM_PAGE));
    EXPECT_EQ(below[511], read64(RAM_PAGE + 8));
    for (unsigned i = 0; i < 32; i += 8)
        EXPECT_EQ(read64(DEVICE + i), read64(RAM_PAGE + 16 + i));

    map_page(rt_pml4, TEST_VA, DEVICE, PTE_P | PTE_W);
    map_page(rt_pml4, TEST_VA + RT_PAGE, (uint64_t)above, PTE_P | PTE_W);
    invlpg(TEST_VA);
    invlpg(TEST_VA + RT_PAGE);
    si = RAM_PAGE;
    di = TEST_VA + RT_PAGE - 16;
    count = 48;
    __asm__ volatile("rep movsb" : "+S"(si), "+D"(di), "+c"(count) : : "memory");
    EXPECT_EQ(read64(DEVICE + RT_PAGE - 8), read64(RAM_PAGE + 8));
    for (unsigned i = 0; i < 4; i++)
        EXPECT_EQ(above[i], read64(RAM_PAGE + 16 + 8 * i));
    EXPECT_EQ(above[4], 0);
}

static void store_vector(void *address)
{
    __asm__ volatile("movups %%xmm0, (%0)" : : "r"(address) : "memory");
}

static void vectors_refused(void)
{
    enable_vectors();
    write32(DEVICE + TESTDEV_RESET, 1);
    write_cr0(read_cr0() | CR0_TS);
    struct fault fault = try_run(store_vector, (void *)DEVICE);
    write_cr0(read_cr0() & ~CR0_TS);
    EXPECT(fault.taken);
    EXPECT_EQ(fault.vector, VECTOR_NM);
    EXPECT_EQ(read32(DEVICE + TESTDEV_WRITES), 0);
    fault = try_run(store_vector, (void *)DEVICE);
    EXPECT(!fault.taken);
    EXPECT_EQ(read32(DEVICE + TESTDEV_WRITES), 2); /* two writes of 8 bytes */
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"list_64", list_64, NEED_TESTCTL},
        {"list_32", list_32, NEED_TESTCTL},
        {"list_16", list_16, NEED_TESTCTL},
        {"call_and_jump", call_and_jump, NEED_TESTCTL},
        {"push_and_pop", push_and_pop, NEED_TESTCTL},
        {"single_steps", single_steps, NEED_TESTCTL},
        {"interrupted", interrupted, NEED_TESTCTL},
        {"faults_in_the_middle", faults_in_the_middle, NEED_TESTCTL},
        {"through_pages", through_pages, NEED_TESTCTL},
        {"vectors_refused", vectors_refused, NEED_TESTCTL},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
