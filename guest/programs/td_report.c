/* SPDX-License-Identifier: MIT */
/*
 * The leaves of TDCALL about reports, and GetQuote. The program prints a TDREPORT and, if it gets
 * one, a quote, for tools/tdreport.py and tools/tdquote.py. With the argument `hole` it asks for a
 * report to an address without memory, which ends the TD.
 */
#include "guest/programs/rt/td.h"

#define RTMR_EXTEND  2
#define VEINFO_GET   3
#define REPORT       4
#define VERIFYREPORT 22
#define ACCEPT       6

#define MAP_GPA   0x10001
#define GET_QUOTE 0x10002

#define SHARED  BIT(39)
#define INVALID 0xc000010000000000ull /* plus the number of the operand */
#define BAD_SVN 0xc000100000000000ull
#define BAD_MAC 0xc000100100000000ull

#define REPORT_SIZE 1024
#define MAC_SIZE    256
#define RTMR3       864 /* its offset in a report */
#define VECTOR_VE   20
#define NOWHERE     0xfed00000ull /* no RAM */

static uint8_t *page; /* report at 0, data at 2048, data for an RTMR at 3072 */
static uint8_t *data, *extension;

static uint64_t address(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

static uint64_t leaf(uint64_t number, uint64_t rcx, uint64_t rdx, uint64_t r8)
{
    struct td_registers r = {.rax = number, .rcx = rcx, .rdx = rdx, .r8 = r8};
    execute_tdcall(&r);
    return r.rax;
}

static void print_bytes(const char *what, const uint8_t *bytes, unsigned size)
{
    print("# %s\n", what);
    for (unsigned i = 0; i < size; i++) {
        print(i % 64 ? "" : "# ");
        print("%02x", bytes[i]);
        print(i % 64 == 63 || i == size - 1 ? "\n" : "");
    }
}

static void a_report(void)
{
    for (unsigned i = 0; i < 64; i++)
        data[i] = (uint8_t)(i + 1);
    EXPECT_EQ(leaf(REPORT, address(page), address(data), 0), 0);
    EXPECT_EQ(page[0], 0x81);
    for (unsigned i = 0; i < 64; i++)
        EXPECT_EQ(page[128 + i], i + 1);
    EXPECT_EQ(page[REPORT_SIZE], 0);
}

/* Every register but RAX is as before. */
static void registers_are_preserved(void)
{
    const uint64_t leaves[] = {REPORT, VERIFYREPORT, RTMR_EXTEND};
    for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++) {
        struct td_registers r = {
            leaves[i], address(page), address(data), 3, 4, 5, 6, 0, 8, 9, 10, 11, 12, 13, 14};
        if (leaves[i] == RTMR_EXTEND) {
            r.rcx = address(extension);
            r.rdx = 4; /* refused */
        }
        struct td_registers before = r;
        execute_tdcall(&r);
        before.rax = leaves[i] == RTMR_EXTEND ? INVALID | 2 : 0;
        for (unsigned n = 0; n < sizeof(r) / 8; n++)
            EXPECT_EQ(((const uint64_t *)&r)[n], ((const uint64_t *)&before)[n]);
    }
}

static void a_report_verifies(void)
{
    EXPECT_EQ(leaf(VERIFYREPORT, address(page), 0, 0), 0);
    for (unsigned i = 0; i < MAC_SIZE; i += 5) {
        page[i] ^= 0x10;
        EXPECT_EQ(leaf(VERIFYREPORT, address(page), 0, 0), i >= 16 && i < 32 ? BAD_SVN : BAD_MAC);
        page[i] ^= 0x10;
    }
    EXPECT_EQ(leaf(VERIFYREPORT, address(page), 0, 0), 0);
}

static void operands_are_checked(void)
{
    const uint64_t to = address(page), from = address(data), more = address(extension);
    EXPECT_EQ(leaf(REPORT, to + 512, from, 0), INVALID | 1);
    EXPECT_EQ(leaf(REPORT, to, from + 32, 0), INVALID | 2);
    EXPECT_EQ(leaf(REPORT, to, from | BIT(40), 0), INVALID | 2);
    EXPECT_EQ(leaf(REPORT, to, from, 1), INVALID | 8);
    EXPECT_EQ(leaf(REPORT, to | BIT(51), from, 0), INVALID | 1);
    EXPECT_EQ(leaf(REPORT | 1 << 16, to, from, 0), INVALID);
    EXPECT_EQ(leaf(VERIFYREPORT, to + 128, 0, 0), INVALID | 1);
    EXPECT_EQ(leaf(VERIFYREPORT, to | SHARED, 0, 0), INVALID | 1);
    EXPECT_EQ(leaf(RTMR_EXTEND, more + 8, 3, 0), INVALID | 1);
    EXPECT_EQ(leaf(RTMR_EXTEND, more | SHARED, 3, 0), INVALID | 1);
    EXPECT_EQ(leaf(RTMR_EXTEND, more, 4, 0), INVALID | 2);
}

static bool all_zero(const uint8_t *bytes, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        if (bytes[i])
            return false;
    return true;
}

static void an_rtmr_is_extended(void)
{
    EXPECT(all_zero(page + RTMR3, 48));
    for (unsigned i = 0; i < 48; i++)
        extension[i] = 0x33;
    EXPECT_EQ(leaf(RTMR_EXTEND, address(extension), 3, 0), 0);
    EXPECT_EQ(leaf(REPORT, address(page), address(data), 0), 0);
    EXPECT(!all_zero(page + RTMR3, 48));
    print_bytes("TDREPORT", page, REPORT_SIZE);
}

/* ---- Shared memory --------------------------------------------------------------------------- */

static uint8_t *shared_page(void)
{
    const uint64_t gpa = address(new_page());
    struct td_registers r = {.r11 = MAP_GPA, .r12 = gpa | SHARED, .r13 = RT_PAGE};
    EXPECT_EQ(td_vmcall(&r), 0);
    map_page(rt_pml4, TEST_VA + gpa, gpa | SHARED, PTE_P | PTE_W);
    return (uint8_t *)(uintptr_t)(TEST_VA + gpa);
}

static uint64_t shared_gpa(const uint8_t *pointer)
{
    return (address(pointer) - TEST_VA) | SHARED;
}

static void operands_may_be_shared(void)
{
    uint8_t *shared = shared_page();
    for (unsigned i = 0; i < 64; i++)
        shared[i] = (uint8_t)(100 + i);
    EXPECT_EQ(leaf(REPORT, shared_gpa(shared) + 1024, shared_gpa(shared), 0), 0);
    EXPECT_EQ(shared[1024], 0x81);
    EXPECT_EQ(shared[1024 + 128], 100);
    EXPECT_EQ(shared[1024 + 128 + 63], 163);
}

/* The EPT violation at the operand becomes #VE, and the leaf has done nothing. */
static void a_shared_operand_without_memory_is_ve(void)
{
    struct td_registers info = {.rax = VEINFO_GET};
    const uint64_t wrong[] = {NOWHERE | SHARED, address(data) | SHARED};
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        look_for(VECTOR_VE, 4);
        leaf(REPORT, address(page), wrong[i], 0);
        EXPECT_EQ(seen.count, 1);
        info.rax = VEINFO_GET;
        execute_tdcall(&info);
        EXPECT_EQ(info.rax, 0);
        EXPECT_EQ(info.rcx, 48);
        EXPECT_EQ(info.r9, wrong[i]);
    }
    set_handler(VECTOR_VE, NULL);
}

/* ---- GetQuote -------------------------------------------------------------------------------- */

static uint64_t get_quote(uint64_t gpa, uint64_t size)
{
    struct td_registers r = {.r11 = GET_QUOTE, .r12 = gpa, .r13 = size};
    return td_vmcall(&r);
}

static void a_quote(void)
{
    uint8_t *buffer = shared_page();
    volatile uint64_t *status = (volatile uint64_t *)(buffer + 8);
    const uint64_t gpa = shared_gpa(buffer);
    buffer[0] = 1;          /* version */
    buffer[17] = 1024 >> 8; /* size of the input */
    *status = ~0ull;
    EXPECT_EQ(leaf(REPORT, address(page), address(data), 0), 0);
    for (unsigned i = 0; i < REPORT_SIZE; i++)
        buffer[24 + i] = page[i];
    EXPECT_EQ(get_quote(gpa & ~SHARED, RT_PAGE), BIT(63));
    EXPECT_EQ(get_quote(gpa, 0), BIT(63));
    EXPECT_EQ(get_quote(gpa + 8, RT_PAGE), BIT(63) | 2);
    EXPECT_EQ(*status, ~0ull);
    const uint64_t start = rdtsc();
    EXPECT_EQ(get_quote(gpa, RT_PAGE), 0);
    note("get_quote", rdtsc() - start);
    if (*status == (BIT(63) | 1)) {
        note("unavailable", 1);
        return;
    }
    EXPECT_EQ(*status, 0);
    print_bytes("QUOTE", buffer + 24, *(uint32_t *)(buffer + 20));
    buffer[24 + 200]++;
    EXPECT_EQ(get_quote(gpa, RT_PAGE), 0);
    EXPECT_EQ(*status, BIT(63)); /* this is no report of the machine's */
}

/* ---- SetupEventNotifyInterrupt --------------------------------------------------------------- */

#define NOTIFY    0x51
#define MSR_SVR   0x80f
#define MSR_EOI   0x80b
#define SETUP     0x10004
#define WRITE_MSR 0x20 /* the VMX exit reason */

static volatile unsigned notified;

static void count_notification(struct frame *frame)
{
    (void)frame;
    notified++;
    wrmsr(MSR_EOI, 0);
}

static uint64_t vmcall(uint64_t r11, uint64_t r12, uint64_t r13)
{
    struct td_registers r = {.r11 = r11, .r12 = r12, .r13 = r13};
    return td_vmcall(&r);
}

/* The interrupt comes when the status is in the buffer, whatever it is; a call that is refused has
 * none. */
static void a_quote_is_notified(void)
{
    const uint64_t gpa = shared_gpa(shared_page());
    set_handler(NOTIFY, count_notification);
    EXPECT_EQ(vmcall(WRITE_MSR, MSR_SVR, 0x1ff), 0);
    EXPECT_EQ(get_quote(gpa, RT_PAGE), 0);
    __asm__ volatile("sti; nop; cli");
    EXPECT_EQ(notified, 0); /* nobody has asked for it */
    EXPECT_EQ(vmcall(SETUP, NOTIFY, 0), 0);
    EXPECT_EQ(get_quote(gpa + 8, RT_PAGE), BIT(63) | 2);
    __asm__ volatile("sti; nop; cli");
    EXPECT_EQ(notified, 0);
    for (unsigned i = 1; i <= 3; i++) {
        EXPECT_EQ(get_quote(gpa, RT_PAGE), 0);
        __asm__ volatile("sti; nop; cli");
        EXPECT_EQ(notified, i);
    }
    set_handler(NOTIFY, NULL);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"a_report", a_report, 0},
        {"registers_are_preserved", registers_are_preserved, 0},
        {"a_report_verifies", a_report_verifies, 0},
        {"operands_are_checked", operands_are_checked, 0},
        {"an_rtmr_is_extended", an_rtmr_is_extended, 0},
        {"operands_may_be_shared", operands_may_be_shared, 0},
        {"a_shared_operand_without_memory_is_ve", a_shared_operand_without_memory_is_ve, 0},
        {"a_quote", a_quote, 0},
        {"a_quote_is_notified", a_quote_is_notified, 0},
    };
    page = (uint8_t *)new_page();
    data = page + 2048;
    extension = page + 3072;
    if (rt_args[0] == 'h') {
        leaf(REPORT, NOWHERE, address(data), 0);
        debug_exit(1);
    }
    run_tests(tests, ARRAY_SIZE(tests));
}
