/* SPDX-License-Identifier: MIT */
/*
 * TDCALL as a TD sees it: each leaf with its error codes and the registers that it keeps, what is
 * no TDCALL, and the calls to the VMM. td_leaves/ve.c has #VE and its information.
 */
#include "guest/programs/td_leaves/calls.h"

/* ---- Leaves ---------------------------------------------------------------------------------- */

static void vp_info(void)
{
    struct td_registers r = call(filled(INFO), 0, RCX | RDX | R8 | R9 | R10 | R11);
    EXPECT_EQ(r.rcx, 40);
    EXPECT_EQ(r.rdx & ~1ull, BIT(28)); /* SEPT_VE_DISABLE; and DEBUG in a TD with tdx=debug */
    EXPECT_EQ(r.r8, 1 | BIT(32));
    EXPECT_EQ(r.r9, 0);
    EXPECT_EQ(r.r10, 1);
    EXPECT_EQ(r.r11, 0);
}

static void unknown_leaves(void)
{
    static const uint64_t leaves[] = {12, 13, 14, 18, 19, 20, 21, 25, 26, 27, 100, 0xffff};
    for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++)
        call(filled(leaves[i]), INVALID, 0);
    for (unsigned bit = 16; bit < 64; bit++)
        call(filled(INFO | BIT(bit)), INVALID, 0); /* versions, and reserved bits */
    for (unsigned leaf = 0; leaf < LEAVES; leaf++)
        if (leaf != VM_RD)
            call(filled(leaf | BIT(16)), INVALID, 0);
}

void no_ve_information(void)
{
    struct td_registers r = call(filled(VEINFO_GET), NO_VE, RCX | RDX | R8 | R9 | R10);
    EXPECT_EQ(r.rcx | r.rdx | r.r8 | r.r9 | r.r10, 0);
}

static void execute_cpuid_0(void *argument)
{
    (void)argument;
    (void)cpuid(0);
}

static void cpuidve_set(void)
{
    for (unsigned bit = 2; bit < 64; bit++)
        call_with(CPUIDVE_SET, BIT(bit) | 1, 0, 0, 0, INVALID | 1, 0);
    EXPECT(!try_run(execute_cpuid_0, NULL).taken);
    call_with(CPUIDVE_SET, 1, 0, 0, 0, 0, 0);
    EXPECT_EQ(try_run(execute_cpuid_0, NULL).vector, VECTOR_VE);
    EXPECT_EQ(get_ve().rcx, 10);
    call_with(CPUIDVE_SET, 0, 0, 0, 0, 0, 0);
    EXPECT(!try_run(execute_cpuid_0, NULL).taken);
}

static void vm_rd(void)
{
    EXPECT_EQ(call_with(VM_RD, 0, CONFIG_FLAGS, 7, 7, 0, R8).r8, 0);
    EXPECT_EQ(call_with(VM_RD, 0, TD_CTLS, 7, 7, 0, R8).r8, 1);
    EXPECT_EQ(call_with(VM_RD, 1, TD_CTLS, 7, 7, INVALID | 1, R8).r8, 0);
    EXPECT_EQ(call_with(VM_RD, 0, TD_CTLS | BIT(24), 7, 7, NO_FIELD, R8).r8, 0);
    EXPECT_EQ(call_with(VM_RD, 0, TD_CTLS | BIT(34), 7, 7, NO_FIELD, R8).r8, 0);
    EXPECT_EQ(call_with(VM_RD, 0, 0x1110000300000fffull, 7, 7, NO_FIELD, R8).r8, 0);
    EXPECT_EQ(call_with(VM_RD, 0, ~0ull, 7, 7, NO_FIELD, R8).r8, 0);
    EXPECT_EQ(call_with(VM_RD, 0, ~(1ull << 53), 7, 7, NO_FIELD, R8).r8, 0); /* any context */
    struct td_registers r =
        call_with(VM_RD | BIT(16), 0, CONFIG_FLAGS, 7, 7, 0, R8 | RDX); /* version 1 */
    EXPECT_EQ(r.rdx, TD_CTLS);
    r = call_with(VM_RD | BIT(16), 0, 0x7f, 7, 7, NO_FIELD, R8 | RDX);
    EXPECT_EQ(r.rdx, ~0ull);
    EXPECT_EQ(r.r8, 0);
    call_with(VM_RD | BIT(17), 0, TD_CTLS, 7, 7, INVALID, R8 | RDX);
}

static void vm_wr(void)
{
    call_with(VM_WR, 0, CONFIG_FLAGS, 2, 2, READ_ONLY, R8);
    call_with(VM_WR, 0, TD_CTLS, 0, 1, BAD_VALUE, R8); /* not flexible */
    EXPECT_EQ(call_with(VM_WR, 0, TD_CTLS, 1, 1, 0, R8).r8, 1);
    call_with(VM_WR, 5, TD_CTLS, 1, 1, INVALID | 1, R8);
    call_with(VM_WR, 0, NOTIFY | BIT(62), 1, 1, NO_FIELD, R8);
    EXPECT_EQ(call_with(VM_WR, 0, NOTIFY, 1, 1, 0, R8).r8, 0);
    EXPECT_EQ(call_with(VM_WR, 0, NOTIFY, 0, ~0ull, 0, R8).r8, 1);
    call_with(VM_WR, 0, NOTIFY, 2, 3, BAD_VALUE, R8);
    call_with(VM_WR, 0, NOTIFY, 1, 2, READ_ONLY, R8);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

/* A large range is converted in pieces: with status 1, RETRY, R11 says where to go on. */
static uint64_t map_gpa(uint64_t gpa, uint64_t size)
{
    const uint64_t end = gpa + size;
    uint64_t status;
    do {
        struct td_registers r = {.r11 = 0x10001, .r12 = gpa, .r13 = end - gpa};
        status = td_vmcall(&r);
        gpa = r.r11;
    } while (status == 1);
    if (!status)
        EXPECT_EQ(gpa, end);
    return status;
}

static void accept_operands(void)
{
    static const uint64_t bad[] = {
        PAGE | 2,
        PAGE | 3,
        PAGE | 7,
        PAGE | BIT(3),
        PAGE | BIT(11),
        PAGE | SHARED,
        PAGE | BIT(40),
        PAGE | BIT(51),
        PAGE | BIT(52),
        PAGE | BIT(63),
        (PAGE + RT_PAGE) | 1,
        (1ull << 30) | 2,
    };
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
        call_with(ACCEPT, bad[i], 0, 0, 0, INVALID | 1, 0);
}

/* If a page was accepted before, the status names its level, whatever was asked for. */
static uint64_t level_of(uint64_t gpa)
{
    return call_with(ATTR_RD, gpa, 0, 0, 0, 0, RCX | RDX).rcx & 7;
}

/* What was converted to private memory is PENDING until it is accepted, and is zero then. */
static void accept_4k(void)
{
    volatile uint64_t *page = (volatile uint64_t *)PAGE;
    call_with(ACCEPT, PAGE, 0, 0, 0, ACCEPTED | level_of(PAGE), 0);
    *page = 0x1234;
    EXPECT_EQ(map_gpa(PAGE | SHARED, RT_PAGE), 0);
    EXPECT_EQ(map_gpa(PAGE, RT_PAGE), 0);
    EXPECT_EQ(call_with(ATTR_RD, PAGE + 8, 0, 0, 0, 0, RCX | RDX).rcx, PAGE | BIT(62));
    call_with(ACCEPT, PAGE, 0, 0, 0, 0, 0);
    EXPECT_EQ(*page, 0);
    call_with(ACCEPT, PAGE, 0, 0, 0, ACCEPTED, 0);
    EXPECT_EQ(map_gpa(PAGE, RT_PAGE), 0); /* it is private already, and stays accepted */
    call_with(ACCEPT, PAGE, 0, 0, 0, ACCEPTED, 0);
}

/* A VMM that maps small pages only can still let a TD accept 512 of them at once. */
static void accept_2m(void)
{
    volatile uint64_t *word = (volatile uint64_t *)(LARGE + RT_2M - 8);
    *word = 0x1234;
    EXPECT_EQ(map_gpa(LARGE | SHARED, RT_2M), 0);
    EXPECT_EQ(map_gpa(LARGE, RT_2M), 0);
    call_with(ACCEPT, LARGE | 1, 0, 0, 0, 0, 0);
    EXPECT_EQ(*word, 0);
    call_with(ACCEPT, LARGE | 1, 0, 0, 0, ACCEPTED | 1, 0);
    note("level", level_of(LARGE));
    call_with(ACCEPT, LARGE + RT_PAGE, 0, 0, 0, ACCEPTED | level_of(LARGE), 0);
    EXPECT_EQ(map_gpa((LARGE + 5 * RT_PAGE) | SHARED, RT_PAGE), 0);
    EXPECT_EQ(map_gpa(LARGE + 5 * RT_PAGE, RT_PAGE), 0);
    call_with(ACCEPT, LARGE | 1, 0, 0, 0, MISMATCH | 1, 0);
    call_with(ACCEPT, LARGE + 5 * RT_PAGE, 0, 0, 0, 0, 0);
}

static void page_attributes(void)
{
    struct td_registers r = call_with(ATTR_RD, PAGE + 0x123, 5, 0, 0, 0, RCX | RDX);
    EXPECT_EQ(r.rcx & ~7ull, PAGE);
    EXPECT_EQ(r.rdx, 0);
    r = call_with(ATTR_RD, PAGE | SHARED, 5, 0, 0, INVALID | 1, RCX | RDX);
    EXPECT_EQ(r.rcx | r.rdx, 0);
    r = call_with(ATTR_WR, PAGE, 0, 0, 0, 0, RCX | RDX);
    EXPECT_EQ(r.rcx, PAGE);
    EXPECT_EQ(r.rdx, 0);
    call_with(ATTR_WR, PAGE, BIT(16), 0, 0, INVALID | 2, RCX | RDX);
    call_with(ATTR_WR, PAGE, 0, 1, 0, INVALID | 8, RCX | RDX);
    call_with(ATTR_WR, PAGE | 3, 0, 0, 0, INVALID | 1, RCX | RDX);
    call_with(ATTR_WR, PAGE | SHARED, 0, 0, 0, INVALID | 1, RCX | RDX);
}

/* ---- What is no TDCALL ----------------------------------------------------------------------- */

#define UNDEFINED(X) \
    X(ud2)           \
    X(ud1)           \
    X(ud0)           \
    X(no_prefix)     \
    X(two_prefixes)  \
    X(repeated) X(locked) X(rex) X(seamops) X(seamcall) X(push_es) X(vmread) X(vmxon)
#define X(name) void undefined_##name(void *argument);
UNDEFINED(X)
#undef X

void tdcall_alone(void *argument), tdcall_32(void *argument);
extern uint8_t tdcall_after[], tdcall_in_32[], stepped[];
uint64_t step_over_tdcall(void), tdcall_in_shadow(void);

static void other_instructions(void)
{
    static void (*const code[])(void *) = {
#define X(name) undefined_##name,
        UNDEFINED(X)
#undef X
    };
    for (unsigned i = 0; i < ARRAY_SIZE(code); i++) {
        struct fault fault = try_run(code[i], NULL);
        if (!EXPECT(fault.taken && fault.vector == VECTOR_UD))
            note("form", i);
        EXPECT_EQ(fault.rip, code[i]);
    }
}

static void enter_user_mode(void *argument)
{
    rt_user((uint64_t)argument);
}

static void user_mode(void)
{
    const uint64_t code = (uint64_t)tdcall_alone, page = code & ~(RT_2M - 1);
    uint64_t *pdpt = (uint64_t *)(rt_pml4[0] & ~0xfffull), *pd = (uint64_t *)(pdpt[0] & ~0xfffull);
    pd[page / RT_2M] |= PTE_U;
    write_cr3(read_cr3());
    struct fault fault = try_run(enter_user_mode, (void *)code);
    EXPECT_EQ(fault.vector, VECTOR_GP);
    EXPECT_EQ(fault.error, 0);
    EXPECT_EQ(fault.rip, code);
}

static void compatibility_mode(void)
{
    struct fault fault = try_run(tdcall_32, NULL);
    EXPECT_EQ(fault.vector, VECTOR_GP);
    EXPECT_EQ(fault.error, 0);
    EXPECT_EQ(fault.rip, tdcall_in_32);
}

/* The last byte of TDCALL lies in the next page, which is elsewhere in physical memory. */
static void across_pages(void)
{
    uint8_t *first = (uint8_t *)new_page(), *second = (uint8_t *)new_page();
    void (*code)(void) = (void (*)(void))(TEST_VA + RT_PAGE - 3);
    map_page(rt_pml4, TEST_VA, (uint64_t)first, PTE_P | PTE_W);
    map_page(rt_pml4, TEST_VA + RT_PAGE, (uint64_t)second, PTE_P | PTE_W);
    memcpy(first + RT_PAGE - 3, tdcall_alone, 3);
    memcpy(second, (uint8_t *)tdcall_alone + 3, 2);
    uint64_t rax = 1;
    __asm__ volatile("call *%1"
                     : "+a"(rax)
                     : "r"(code)
                     : "rcx", "rdx", "r8", "r9", "r10", "r11", "memory");
    EXPECT_EQ(rax, 0);
}

/* #DB comes after the instruction, and the shadow of MOV SS ends with it. */
static void single_step(void)
{
    look_for(VECTOR_DB, 0);
    EXPECT_EQ(step_over_tdcall(), 0);
    EXPECT_EQ(seen.count, 1);
    EXPECT_EQ(seen.rip, stepped);
    EXPECT_EQ(seen.dr6 & BIT(14), BIT(14));
    set_handler(VECTOR_DB, NULL);
    EXPECT_EQ(tdcall_in_shadow(), 0);
}

/* ---- TDVMCALL -------------------------------------------------------------------------------- */

static void exposed_registers(void)
{
    struct td_registers r = filled(VMCALL);
    r.rcx = 0xfc00;
    r.r10 = 0;
    r.r11 = 0x10000;
    r.r12 = 0;
    const struct td_registers good = r;
    for (unsigned bit = 0; bit < 64; bit++) {
        r = good;
        r.rcx ^= BIT(bit);
        if (bit == 0 || bit == 1 || bit == 4 || bit > 31)
            call(r, INVALID | 1, 0);
        else if (bit < 10 || bit > 15) /* more than needed, XMM registers too */
            call(r, 0, R10 | R11 | R12 | R13 | R14);
    }
    r = good;
    r.rcx &= ~BIT(12); /* hidden: the VMM sees 0, and the register stays */
    r.r12 = 55;
    EXPECT_EQ(call(r, 0, R10 | R11 | R13 | R14).r10, 0);
    r = good;
    r.r10 = 1;
    EXPECT_EQ(call(r, 0, R10).r10, VMCALL_UNKNOWN);
    r = good;
    r.r11 = 0x12345;
    EXPECT_EQ(call(r, 0, R10).r10, VMCALL_UNKNOWN);
}

static uint64_t vmcall_1(uint64_t leaf, uint64_t r12, uint64_t r13)
{
    struct td_registers r = {.r11 = leaf, .r12 = r12, .r13 = r13};
    return td_vmcall(&r);
}

static void small_calls(void)
{
    struct td_registers r = {.r11 = 0x10000, .r12 = 1};
    EXPECT_EQ(td_vmcall(&r), 0);
    EXPECT_EQ(r.r11, 3);
    EXPECT_EQ(vmcall_1(0x10000, 2, 0), VMCALL_INVALID);
    EXPECT_EQ(vmcall_1(0x10004, 31, 0), VMCALL_INVALID);
    EXPECT_EQ(vmcall_1(0x10004, 32, 0), 0);
    EXPECT_EQ(vmcall_1(0x10004, 255, 0), 0);
    EXPECT_EQ(vmcall_1(0x10004, 256, 0), VMCALL_INVALID);
    EXPECT_EQ(vmcall_1(54, 0, 0), 0);
    EXPECT_EQ(vmcall_1(54, 2, 0), VMCALL_INVALID);
    EXPECT_EQ(map_gpa(PAGE + 1, RT_PAGE), VMCALL_ALIGN);
    EXPECT_EQ(map_gpa(PAGE | SHARED, 0), VMCALL_INVALID);
    EXPECT_EQ(map_gpa(BIT(41), RT_PAGE), VMCALL_INVALID);
}

/* There is no quoting service, which the buffer says and not R10. */
static void get_quote(void)
{
    const uint64_t va = TEST_VA + 3 * RT_2M;
    volatile uint64_t *buffer = (volatile uint64_t *)va;
    EXPECT_EQ(map_gpa(PAGE | SHARED, RT_PAGE), 0);
    map_page(rt_pml4, va, PAGE | SHARED, PTE_P | PTE_W);
    buffer[0] = 1; /* the version */
    buffer[1] = 0;
    EXPECT_EQ(vmcall_1(0x10002, PAGE | SHARED, RT_PAGE), 0);
    EXPECT_EQ(buffer[1], 0x8000000000000001ull);
    buffer[0] = 2;
    EXPECT_EQ(vmcall_1(0x10002, PAGE | SHARED, RT_PAGE), 0);
    EXPECT_EQ(buffer[1], 0x8000000000000000ull);
    EXPECT_EQ(vmcall_1(0x10002, PAGE, RT_PAGE), VMCALL_INVALID);
    EXPECT_EQ(vmcall_1(0x10002, PAGE | SHARED, 0), VMCALL_INVALID);
    EXPECT_EQ(vmcall_1(0x10002, PAGE | SHARED | 8, RT_PAGE), VMCALL_ALIGN);
    EXPECT_EQ(vmcall_1(0x10002, (PAGE + RT_PAGE) | SHARED, RT_PAGE), VMCALL_INVALID);
    EXPECT_EQ(map_gpa(PAGE, RT_PAGE), 0);
    call_with(ACCEPT, PAGE, 0, 0, 0, 0, 0);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"vp_info", vp_info, 0},
        {"unknown_leaves", unknown_leaves, 0},
        {"no_ve_information", no_ve_information, 0},
        {"cpuidve_set", cpuidve_set, 0},
        {"vm_rd", vm_rd, 0},
        {"vm_wr", vm_wr, 0},
        {"accept_operands", accept_operands, 0},
        {"accept_4k", accept_4k, 0},
        {"accept_2m", accept_2m, 0},
        {"page_attributes", page_attributes, 0},
        {"other_instructions", other_instructions, 0},
        {"user_mode", user_mode, 0},
        {"compatibility_mode", compatibility_mode, 0},
        {"across_pages", across_pages, 0},
        {"single_step", single_step, 0},
        {"instructions", ve_instructions, 0},
        {"shared_addresses", ve_shared_addresses, 0},
        {"nested", ve_nested, 0},
        {"nmis_wait", ve_nmis_wait, 0},
        {"exposed_registers", exposed_registers, 0},
        {"small_calls", small_calls, 0},
        {"get_quote", get_quote, 0},
    };
    run_tests(tests, ARRAY_SIZE(tests));
}
