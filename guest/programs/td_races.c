/* SPDX-License-Identifier: MIT */
/*
 * Two CPUs of a TD convert small pages of the same large one at the same time, each every fourth
 * page, and read pages between these, which nobody converts. What is converted comes back as zeros;
 * no other page loses its contents when the large page is split.
 */
#include "guest/programs/rt/acpi.h"
#include "guest/programs/rt/td.h"

#define SHARED        BIT(39)
#define MAP_GPA       0x10001
#define RETRY         1
#define ACCEPT        6
#define ATTRIBUTES    23
#define FIRST         0x1000000ull /* of the large pages, behind the program */
#define LARGE_PAGES   2u
#define SMALL_PAGES   512u
#define EACH          4u /* a CPU converts every fourth page */
#define MAILBOX_ENTRY 16u

extern uint8_t races_entry[];
void races_other(void);

static volatile unsigned allowed, finished, wrong;
static volatile uint64_t wrong_at;

static void expect_quietly(bool good, uint64_t gpa)
{
    if (good)
        return;
    wrong = wrong + 1;
    wrong_at = gpa;
}

/* Returns the host's status. */
static uint64_t map_gpa(uint64_t gpa, uint64_t size, uint64_t side)
{
    const uint64_t end = gpa + size;
    struct td_registers r;
    do {
        r = (struct td_registers){.r11 = MAP_GPA, .r12 = gpa | side, .r13 = end - gpa};
        (void)td_vmcall(&r);
        gpa = r.r11 & ~SHARED;
    } while (r.r10 == RETRY);
    return r.r10;
}

static uint64_t accept(uint64_t gpa, unsigned level)
{
    struct td_registers r = {.rax = ACCEPT, .rcx = gpa | level};
    execute_tdcall(&r);
    return r.rax;
}

/* One CPU's part of a large page. */
static void convert_part(unsigned cpu, uint64_t base)
{
    for (unsigned i = cpu; i < SMALL_PAGES; i += EACH) {
        const uint64_t gpa = base + i * RT_PAGE, other = base + (i ^ 2) * RT_PAGE;
        expect_quietly(!map_gpa(gpa, RT_PAGE, SHARED) && !map_gpa(gpa, RT_PAGE, 0), gpa);
        expect_quietly(!accept(gpa, 0) && !read64(gpa + 8), gpa);
        write64(gpa + 8, gpa);
        expect_quietly(read64(other + 8) == other, other);
    }
}

void races_other(void)
{
    for (unsigned n = 0; n < LARGE_PAGES; n++) {
        while (allowed <= n)
            __asm__ volatile("pause");
        convert_part(1, FIRST + n * RT_2M);
        __atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST);
    }
}

/* Makes a page of 2 MiB anew, and writes its own address into each small page. Returns the level at
 * which the host has it. */
static uint64_t make_large(uint64_t base)
{
    EXPECT_EQ(map_gpa(base, RT_2M, SHARED), 0);
    EXPECT_EQ(map_gpa(base, RT_2M, 0), 0);
    EXPECT_EQ(accept(base, 1), 0);
    for (unsigned i = 0; i < SMALL_PAGES; i++)
        write64(base + i * RT_PAGE + 8, base + i * RT_PAGE);
    struct td_registers r = {.rax = ATTRIBUTES, .rcx = base};
    execute_tdcall(&r);
    return r.rcx & 7;
}

static uint64_t mailbox(void)
{
    const uint64_t madt = acpi_table("APIC");
    for (uint64_t at = madt + 44; at < madt + read32(madt + 4); at += read8(at + 1))
        if (read8(at) == MAILBOX_ENTRY)
            return read64(at + 8);
    return 0;
}

static void small_pages_of_a_large_one(void)
{
    uint64_t large = 0;
    for (unsigned n = 0; n < LARGE_PAGES; n++)
        large += make_large(FIRST + n * RT_2M);
    write32(mailbox() + 4, 1);
    write64(mailbox() + 8, (uint64_t)races_entry);
    write32(mailbox(), 1); /* the command; the field behind it is reserved */
    for (unsigned n = 0; n < LARGE_PAGES; n++) {
        const uint64_t base = FIRST + n * RT_2M;
        allowed = n + 1;
        convert_part(0, base);
        while (finished <= n)
            __asm__ volatile("pause");
        for (unsigned i = 0; i < SMALL_PAGES; i++)
            EXPECT_EQ(read64(base + i * RT_PAGE + 8), base + i * RT_PAGE);
    }
    note("large", large);
    if (!EXPECT_EQ(wrong, 0))
        note("wrong_at", wrong_at);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"small_pages_of_a_large_one", small_pages_of_a_large_one, 0},
    };
    run_tests(tests, ARRAY_SIZE(tests));
}
