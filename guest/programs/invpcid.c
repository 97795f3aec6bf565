/* SPDX-License-Identifier: MIT */
/*
 * The operands of INVPCID: bases and limits in each mode of the code, #SS and #GP, a descriptor
 * that crosses pages, page faults, and the width of the type. With gva_cache=exits INVPCID exits
 * and the hypervisor reads the operands; otherwise the CPU does, which is the control.
 */
#include "guest/programs/rt/rt.h"

#define RIGHT     0x1500000ull /* a descriptor of zeros */
#define SHIFT     0x100000ull
#define OFFSET    0x8000ull
#define VECTOR_SS 12
#define NONE      ~0ull /* no fault */

extern uint64_t rt_gdt[];

static void set_descriptor(uint64_t base, uint64_t limit, uint64_t rights)
{
    rt_gdt[SEL_DATA16 / 8] = (limit & 0xffff) | field_put(limit >> 16, BITS(51, 48)) |
                             field_put(base, BITS(39, 16)) | rights << 40 | BIT(54) |
                             field_put(base >> 24, BITS(63, 56));
}

static void by_ds(void *address)
{
    __asm__ volatile("invpcid (%0), %1" : : "r"(address), "r"(2ull) : "memory");
}

static void by_rbp(void *address)
{
    __asm__ volatile("push %%rbp; mov %0, %%rbp; invpcid 0(%%rbp), %1; pop %%rbp"
                     :
                     : "a"(address), "c"(2ull)
                     : "memory");
}

static uint64_t vector_of(void (*run)(void *), uint64_t address)
{
    struct fault fault = try_run(run, (void *)address);
    return fault.taken ? fault.vector : NONE;
}

/* 64-bit code: the hidden base and limit of DS and SS do not count. */
static void bases_are_ignored(void)
{
    memset((void *)RIGHT, 0, 16);
    memset((void *)(RIGHT + SHIFT), 0xff, 16);
    set_descriptor(SHIFT, 0xfff, 0x93);
    __asm__ volatile("mov %0, %%ds" : : "r"(SEL_DATA16));
    uint64_t ds = vector_of(by_ds, RIGHT);
    __asm__ volatile("mov %0, %%ds; mov %1, %%ss" : : "r"(SEL_DATA), "r"(SEL_DATA16));
    uint64_t ss = vector_of(by_rbp, RIGHT);
    __asm__ volatile("mov %0, %%ss" : : "r"(SEL_DATA));
    EXPECT_EQ(ds, NONE);
    EXPECT_EQ(ss, NONE);
}

static void not_canonical(void)
{
    EXPECT_EQ(vector_of(by_ds, BIT(47)), VECTOR_GP);
    EXPECT_EQ(vector_of(by_rbp, BIT(47)), VECTOR_SS);
    map_page(rt_pml4, BIT(47) - RT_PAGE, RIGHT, PTE_P | PTE_W);
    EXPECT_EQ(vector_of(by_ds, BIT(47) - 16), NONE);
    /* the descriptor's last bytes are noncanonical */
    EXPECT_EQ(vector_of(by_ds, BIT(47) - 8), VECTOR_GP);
    EXPECT_EQ(vector_of(by_rbp, BIT(47) - 8), VECTOR_SS);
}

static void pages(void)
{
    uint64_t *one = new_page(), *two = new_page();
    map_page(rt_pml4, TEST_VA, (uint64_t)one, PTE_P);
    map_page(rt_pml4, TEST_VA + RT_PAGE, (uint64_t)two, PTE_P);
    EXPECT_EQ(vector_of(by_ds, TEST_VA + RT_PAGE - 8), NONE);
    one[511] = BIT(20); /* reserved */
    EXPECT_EQ(vector_of(by_ds, TEST_VA + RT_PAGE - 8), VECTOR_GP);
    one[511] = 0;
    map_page(rt_pml4, TEST_VA + RT_PAGE, (uint64_t)two, 0);
    invlpg(TEST_VA + RT_PAGE);
    struct fault fault = try_run(by_ds, (void *)(TEST_VA + RT_PAGE - 8));
    EXPECT(fault.taken);
    EXPECT_EQ(fault.vector, VECTOR_PF);
    EXPECT_EQ(fault.error, 0);
    EXPECT_EQ(fault.cr2, TEST_VA + RT_PAGE);
}

/* Compatibility mode: INVPCID of [EBX] with ECX as the type. */
extern uint64_t invpcid_rbx, invpcid_rcx, invpcid_ds;
uint64_t invpcid_rbx, invpcid_rcx, invpcid_ds;
void invpcid_compat(void);
__asm__(".text\n"
        "invpcid_compat: push %rbx\n push %rbp\n"
        " mov invpcid_ds, %edx\n mov invpcid_rbx, %rbx\n mov invpcid_rcx, %rcx\n"
        " mov $invpcid_far, %eax\n mov %edx, %ds\n lcall *(%rax)\n"
        " mov $0x10, %edx\n mov %edx, %ds\n pop %rbp\n pop %rbx\n ret\n"
        ".code32\n"
        "invpcid_32: invpcid (%ebx), %ecx\n lret\n"
        ".code64\n"
        ".data\n invpcid_far: .long invpcid_32\n .word 0x18\n.text\n");
_Static_assert(SEL_DATA == 0x10 && SEL_CODE32 == 0x18, "spelled above");

static void run_compat(void *unused)
{
    (void)unused;
    invpcid_compat();
}

static uint64_t compat(uint64_t ds, uint64_t rbx, uint64_t type)
{
    invpcid_ds = ds;
    invpcid_rbx = rbx;
    invpcid_rcx = type;
    uint64_t vector = vector_of(run_compat, 0);
    __asm__ volatile("mov %0, %%ds" : : "r"(SEL_DATA));
    return vector;
}

/* The base, limit and rights of the segment take effect, and the type has 32 bits. */
static void in_compatibility_mode(void)
{
    memset((void *)RIGHT, 0, 32);
    EXPECT_EQ(compat(SEL_DATA, RIGHT, 2), NONE);
    EXPECT_EQ(compat(SEL_DATA, RIGHT, 0xdeadbeef00000002), NONE);
    EXPECT_EQ(compat(SEL_DATA, RIGHT, 4), VECTOR_GP);
    set_descriptor(RIGHT - OFFSET, OFFSET + 15, 0x93);
    EXPECT_EQ(compat(SEL_DATA16, OFFSET, 2), NONE);
    EXPECT_EQ(compat(SEL_DATA16, OFFSET + 1, 2), VECTOR_GP); /* beyond the limit */
    EXPECT_EQ(compat(SEL_DATA16, RIGHT, 2), VECTOR_GP);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"bases_are_ignored", bases_are_ignored, NEED_INVPCID},
        {"not_canonical", not_canonical, NEED_INVPCID},
        {"pages", pages, NEED_INVPCID},
        {"in_compatibility_mode", in_compatibility_mode, NEED_INVPCID},
    };
    run_tests(tests, ARRAY_SIZE(tests));
}
