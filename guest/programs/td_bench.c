/* SPDX-License-Identifier: MIT */
/*
 * What a TD pays: a TDCALL, a #VE with the call that reads its information, the calls to the VMM
 * that follow, accepting a page, and converting one; and a report.
 */
#include "guest/programs/bench/measure.h"
#include "guest/programs/rt/td.h"

#define SHARED    BIT(39)
#define DEVICE    0xfec00000ull /* the I/O APIC, whose first register is an index */
#define VA        (TEST_VA + 4 * RT_2M)
#define PAGES     0xa00000ull
#define LARGE     0xc00000ull
#define REPORT    0x900000ull /* accepted, and a page that nobody else uses */
#define VECTOR_VE 20

#define VP_INFO         1
#define MR_RTMR_EXTEND  2
#define VEINFO_GET      3
#define MR_REPORT       4
#define ACCEPT          6
#define MR_VERIFYREPORT 22
#define EXPOSED         0xfc00ull /* R10 to R15 */

#define TDCALL ".byte 0x66, 0x0f, 0x01, 0xcc"

/* TDCALL with up to six registers, of which it may change all. */
static inline uint64_t tdcall(uint64_t leaf, uint64_t rcx, uint64_t r11, uint64_t r12, uint64_t r13,
                              uint64_t r14)
{
    register uint64_t a __asm__("rax") = leaf;
    register uint64_t c __asm__("rcx") = rcx;
    register uint64_t x10 __asm__("r10") = 0;
    register uint64_t x11 __asm__("r11") = r11;
    register uint64_t x12 __asm__("r12") = r12;
    register uint64_t x13 __asm__("r13") = r13;
    register uint64_t x14 __asm__("r14") = r14;
    register uint64_t x15 __asm__("r15") = 0;
    __asm__ volatile(TDCALL
                     : "+r"(a), "+r"(c), "+r"(x10), "+r"(x11), "+r"(x12), "+r"(x13), "+r"(x14),
                       "+r"(x15)
                     :
                     : "rdx", "r8", "r9", "memory");
    return a | x10;
}

static void idle(uint64_t at)
{
    (void)at;
    __asm__ volatile("" : : : "rdx", "r8", "r9", "r12", "r13", "r14", "r15", "memory");
}

static void info(uint64_t at)
{
    (void)at;
    (void)tdcall(VP_INFO, 0, 0, 0, 0, 0);
}

static void host_cpuid(uint64_t at)
{
    (void)at;
    (void)tdcall(0, EXPOSED, 10, 0x40000000, 0, 0);
}

static void host_out(uint64_t at)
{
    (void)at;
    (void)tdcall(0, EXPOSED, 30, 1, 1, PORT_TEST);
}

static void host_mmio(uint64_t at)
{
    (void)at;
    (void)tdcall(0, EXPOSED, 48, 4, 1, DEVICE | SHARED);
}

/* ---- #VE ------------------------------------------------------------------------------------- */

extern uint8_t ve_only[];

/* The handler reads the information and steps over the instruction. */
__asm__(".text\n"
        "ve_only:\n"
        "    movl $3, %eax\n"
        "    " TDCALL "\n"
        "    movl $2, %eax\n"
        "    addq %rax, (%rsp)\n"
        "    iretq\n");

static void ve_mmio(uint64_t at)
{
    (void)at;
    __asm__ volatile("movl %%eax, (%%rbx)" /* 2 bytes */
                     :
                     : "a"(0), "b"(VA)
                     : "rcx", "rdx", "r8", "r9", "r10", "memory");
}

static void ve_out(uint64_t at)
{
    (void)at;
    __asm__ volatile("outb %%al, $0x80" /* 2 bytes */
                     :
                     : "a"(0)
                     : "rcx", "rdx", "r8", "r9", "r10", "memory");
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static uint64_t map_gpa(uint64_t gpa, uint64_t size)
{
    uint64_t status;
    do {
        struct td_registers r = {.r11 = 0x10001, .r12 = gpa, .r13 = size};
        status = td_vmcall(&r);
        size -= r.r11 - gpa;
        gpa = r.r11;
    } while (status == 1);
    return status;
}

static void make_pending(uint64_t at)
{
    EXPECT_EQ(map_gpa(at | SHARED, RT_PAGE), 0);
    EXPECT_EQ(map_gpa(at, RT_PAGE), 0);
}

static void make_pending_2m(uint64_t at)
{
    EXPECT_EQ(map_gpa(at | SHARED, RT_2M), 0);
    EXPECT_EQ(map_gpa(at, RT_2M), 0);
}

static void accept(uint64_t at)
{
    (void)tdcall(ACCEPT, at, 0, 0, 0, 0);
}

static void accept_2m(uint64_t at)
{
    (void)tdcall(ACCEPT, at | 1, 0, 0, 0, 0);
}

static void make_private(uint64_t at)
{
    make_pending(at);
    accept(at);
}

static void make_shared(uint64_t at)
{
    EXPECT_EQ(map_gpa(at | SHARED, RT_PAGE), 0);
}

static void to_shared(uint64_t at)
{
    (void)tdcall(0, EXPOSED, 0x10001, at | SHARED, RT_PAGE, 0);
}

static void to_private(uint64_t at)
{
    (void)tdcall(0, EXPOSED, 0x10001, at, RT_PAGE, 0);
}

/* ---- Reports --------------------------------------------------------------------------------- */

static void report(uint64_t at)
{
    struct td_registers r = {.rax = MR_REPORT, .rcx = at, .rdx = at + 2048};
    execute_tdcall(&r);
}

static void verify_report(uint64_t at)
{
    struct td_registers r = {.rax = MR_VERIFYREPORT, .rcx = at};
    execute_tdcall(&r);
}

static void extend_rtmr(uint64_t at)
{
    struct td_registers r = {.rax = MR_RTMR_EXTEND, .rcx = at, .rdx = 3};
    execute_tdcall(&r);
}

static void reports(void)
{
    row("mr_report", nothing, report, idle, REPORT, 0, 100);
    row("mr_verifyreport", nothing, verify_report, idle, REPORT, 0, 100);
    row("mr_rtmr_extend", nothing, extend_rtmr, idle, REPORT, 0, 100);
}

static void calls(void)
{
    row("tdcall_vp_info", nothing, info, idle, 0, 1, 100);
    row("tdvmcall_cpuid", nothing, host_cpuid, idle, 0, 1, 100);
    row("tdvmcall_io", nothing, host_out, idle, 0, 1, 100);
    row("tdvmcall_mmio", nothing, host_mmio, idle, 0, 1, 100);
}

static void exceptions(void)
{
    map_page(rt_pml4, VA, DEVICE | SHARED, PTE_P | PTE_W);
    set_gate(VECTOR_VE, (uint64_t)ve_only);
    row("ve_mmio", nothing, ve_mmio, idle, 0, 1, 100);
    row("ve_io", nothing, ve_out, idle, 0, 1, 100);
}

static void memory(void)
{
    row("accept_4k", make_pending, accept, idle, PAGES, RT_PAGE, 100);
    row("accept_again", make_private, accept, idle, PAGES, RT_PAGE, 100);
    row("convert_to_shared", make_private, to_shared, idle, PAGES, RT_PAGE, 100);
    row("convert_to_private", make_shared, to_private, idle, PAGES, RT_PAGE, 100);
    row("accept_2m", make_pending_2m, accept_2m, idle, LARGE, RT_2M, 3);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"calls", calls, 0},
        {"exceptions", exceptions, 0},
        {"memory", memory, 0},
        {"reports", reports, 0},
    };
    run_tests(tests, ARRAY_SIZE(tests));
}
