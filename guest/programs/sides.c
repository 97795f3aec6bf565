/* SPDX-License-Identifier: MIT */
/*
 * A guest with private and shared memory and an execute-only alias, whose MMIO is emulated (words
 * `shared=39,execute_only=38`). It converts pages and checks that nothing of the old side is
 * visible on the new one (rules X5 to X7, X11).
 */
#include "guest/programs/sides/region.h"

#define DEVICE (TEST_VA + BIT(31))
#define CODE   (TEST_VA + BIT(32))
#define VECTOR 0x61

static void map_windows(void)
{
    region_map();
    map_page(rt_pml4, DEVICE, TESTDEV_A_BASE | shared_bit(), PTE_P | PTE_W);
}

/* An address that is neither private nor shared. */
static uint64_t neither(uint64_t gpa)
{
    return gpa | (code_bit() ? code_bit() : BIT(45));
}

static void conversion_clears(void)
{
    *region_word(false, 0) = 0x1111;
    *region_word(false, 1) = 0x2222;
    EXPECT_EQ(region_convert(true, 0, 1), 0);
    EXPECT_EQ(*region_word(true, 0), 0);
    EXPECT_EQ(*region_word(false, 1), 0x2222);
    *region_word(true, 0) = 0x3333;
    EXPECT_EQ(region_convert(false, 0, 1), 0);
    EXPECT_EQ(*region_word(false, 0), 0);
    EXPECT_EQ(*region_word(false, 1), 0x2222);
}

static void conversion_to_the_same_side_keeps(void)
{
    *region_word(false, 5) = 0x5555;
    struct flushes flushes = watch_flushes();
    EXPECT_EQ(region_convert(false, 0, REGION_PAGES), 0);
    EXPECT_EQ(*region_word(false, 5), 0x5555);
    EXPECT_EQ(flushed(flushes, 0), 0);
}

/* Mixed ranges of 2 MiB are never mapped large, uniform ones are. */
static void mixed_ranges_are_small(void)
{
    EXPECT_EQ(region_convert(true, 0, 512), 0);
    hc_zap(REGION, REGION_PAGES);
    struct watch large = watch(COUNTER_PAGES_2M);
    *region_word(true, 3) = 1;
    uint64_t uniform = watched(large);
    EXPECT_EQ(uniform, hc_config(CONFIG_HUGE));
    EXPECT_EQ(region_convert(false, 7, 1), 0);
    *region_word(true, 3) = 1;
    *region_word(false, 7) = 1;
    EXPECT_EQ(watched(large), 0);
    EXPECT_EQ(region_convert(false, 0, 512), 0);
    note("uniform_2m", uniform);
}

/* X6: what MapGPA refuses, and with which status. */
static void map_gpa_checks_its_operands(void)
{
    uint64_t s = shared_bit();
    const struct {
        uint64_t gpa, size, status;
    } cases[] = {
        {REGION, 0, GHCI_WRONG},
        {REGION, 0 - REGION, GHCI_WRONG},        /* wraps around */
        {~0ull & ~0xfffull, 0x2000, GHCI_WRONG}, /* wraps around */
        {REGION + 1, 0x1000, GHCI_ALIGN},
        {REGION, 0x800, GHCI_ALIGN},
        {s - 0x1000, 0x2000, GHCI_WRONG}, /* the ends are on different sides */
        {s | (s - 0x1000), 0x2000, GHCI_WRONG},
        {neither(REGION), 0x1000, GHCI_WRONG},
        {TESTDEV_A_BASE, 0x1000, GHCI_WRONG}, /* not memory */
        {REGION | BIT(50), 0x1000, GHCI_WRONG},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct ghci_call call = {
            .rcx = GHCI_ALL, .r11 = GHCI_MAP, .r12 = cases[i].gpa, .r13 = cases[i].size};
        ghci(&call);
        EXPECT_EQ(call.rax, 0);
        EXPECT_EQ(call.r10, cases[i].status);
        EXPECT_EQ(call.r11, cases[i].gpa);
    }
}

/* Converts the region to shared, with an interrupt after `ticks` ticks. Returns the number of calls
 * that returned GHCI_RETRY. */
static unsigned convert_with_an_interrupt(uint64_t ticks)
{
    unsigned retries = 0;
    uint64_t gpa = REGION | shared_bit(), end = gpa + REGION_PAGES * RT_PAGE;
    look_for(VECTOR, 0);
    hc_inject(EVENT(EVENT_INTERRUPT, VECTOR), 0, ticks);
    __asm__ volatile("sti" : : : "memory");
    while (gpa < end) {
        struct ghci_call call = {.rcx = GHCI_ALL, .r11 = GHCI_MAP, .r12 = gpa, .r13 = end - gpa};
        ghci(&call);
        if (!EXPECT(call.r10 == 0 || call.r10 == GHCI_RETRY) || !EXPECT(call.r11 > gpa))
            break;
        retries += call.r10 == GHCI_RETRY;
        gpa = call.r11;
    }
    __asm__ volatile("cli" : : : "memory");
    EXPECT_EQ(gpa, end);
    EXPECT_EQ(seen.count, 1);
    EXPECT_EQ(*region_word(true, REGION_PAGES - 1), 0);
    EXPECT_EQ(region_convert(false, 0, REGION_PAGES), 0);
    return retries;
}

/* Events can interrupt a long conversion, which then returns how far it came. If the hypervisor is
 * nested, the first of these times may pass before the conversion begins, so longer ones are
 * tried. */
static void a_long_conversion_can_be_interrupted(void)
{
    unsigned retries = 0;
    for (uint64_t ticks = 1000; !retries && ticks <= 16000; ticks *= 4)
        retries = convert_with_an_interrupt(ticks);
    EXPECT_EQ(retries, 1);
}

/* Only exposed registers are used, and registers that the leaf does not name keep their values. */
static void only_exposed_registers_take_part(void)
{
    const uint64_t wrong[] = {GHCI_ALL | 1, GHCI_ALL | 2, GHCI_ALL | 0x10, GHCI_ALL | BIT(32)};
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        struct ghci_call call = {.rcx = wrong[i], .r11 = GHCI_INFO, .r13 = 7, .r14 = 8, .r15 = 9};
        ghci(&call);
        EXPECT_EQ(call.rax, 0xc000010000000001);
        EXPECT_EQ(call.r11, GHCI_INFO);
        EXPECT_EQ(call.r13, 7);
    }
    struct ghci_call call = {.rcx = GHCI_ALL & ~BIT(12), .r11 = GHCI_INFO, .r12 = 1, .r13 = 7};
    ghci(&call);
    EXPECT_EQ(call.rax | call.r10 | call.r11 | call.r13, 0);
    EXPECT_EQ(call.r12, 1);
    call = (struct ghci_call){.rcx = GHCI_ALL, .r11 = GHCI_INFO, .r13 = 7, .r14 = 8, .r15 = 9};
    ghci(&call);
    EXPECT_EQ(call.rax | call.r10 | call.r11 | call.r12 | call.r13 | call.r14, 0);
    EXPECT_EQ(call.r15, 9);
    EXPECT_EQ(call.rcx, GHCI_ALL);
    call = (struct ghci_call){.rcx = GHCI_ALL, .r11 = 0x12345};
    ghci(&call);
    EXPECT_EQ(call.r10, GHCI_LEAF);
    call = (struct ghci_call){.rcx = GHCI_ALL, .r10 = 1, .r11 = GHCI_INFO};
    ghci(&call);
    EXPECT_EQ(call.r10, GHCI_LEAF);
}

/* Devices are at shared addresses. Here, the accesses are emulated. */
static void devices_are_emulated(void)
{
    write32(DEVICE + TESTDEV_RESET, 1);
    write32(DEVICE + 8, 0xabcd);
    EXPECT_EQ(read32(DEVICE + 8), 0xabcd);
    EXPECT_EQ(read32(DEVICE + TESTDEV_IDENT), 'A');
}

/* Devices are accessed by RequestMMIO, in each size (X7). */
static void devices_answer_requests(void)
{
    uint64_t device = TESTDEV_A_BASE | shared_bit(), data = 0x8877665544332211;
    EXPECT_EQ(mmio_request(device + TESTDEV_RESET, 4, true, &data), 0);
    for (unsigned size = 1; size <= 8; size *= 2) {
        data = 0x8877665544332211;
        EXPECT_EQ(mmio_request(device + 16, size, true, &data), 0);
        data = ~0ull;
        EXPECT_EQ(mmio_request(device + 16, size, false, &data), 0);
        EXPECT_EQ(data, 0x8877665544332211 & (~0ull >> (64 - 8 * size)));
    }
    data = 0;
    EXPECT_EQ(mmio_request(0xf0000000 | shared_bit(), 4, false, &data), 0);
    EXPECT_EQ(data, 0xffffffff); /* no device there */

    const struct {
        uint64_t gpa;
        unsigned size;
    } wrong[] = {
        {TESTDEV_A_BASE, 4}, /* private */
        {device, 3},
        {device, 16},
        {neither(device), 4},
        {REGION | shared_bit(), 4},             /* memory */
        {shared_bit() | (shared_bit() - 2), 4}, /* exceeds the VM's address space */
        {~0ull - 1, 4},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
        EXPECT_EQ(mmio_request(wrong[i].gpa, wrong[i].size, false, &data), GHCI_WRONG);
    struct ghci_call call = {.rcx = GHCI_ALL, .r11 = GHCI_MMIO, .r12 = 4, .r13 = 2, .r14 = device};
    ghci(&call);
    EXPECT_EQ(call.r10, GHCI_WRONG);
}

/* Code can be run through the execute-only alias, and stores to the plain address change it. */
static void code_runs_through_its_alias(void)
{
    volatile uint8_t *plain = (volatile uint8_t *)(uintptr_t)(REGION + 9 * RT_PAGE);
    uint32_t (*function)(void) = (uint32_t(*)(void))(uintptr_t)CODE;
    map_page(rt_pml4, CODE, (REGION + 9 * RT_PAGE) | code_bit(), PTE_P);
    for (uint8_t value = 1; value < 4; value++) {
        const uint8_t code[] = {0xb8, value, 0, 0, 0, 0xc3}; /* mov $value, %eax; ret */
        for (unsigned i = 0; i < sizeof(code); i++)
            plain[i] = code[i];
        EXPECT_EQ(function(), value);
    }
    hc_page(HC_HOST_REMAP, REGION + 9 * RT_PAGE); /* both mappings change */
    EXPECT_EQ(function(), 3);
    plain[1] = 7;
    EXPECT_EQ(function(), 7);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"conversion_clears", conversion_clears, NEED_TESTCTL | NEED_SHARED},
        {"conversion_to_the_same_side_keeps", conversion_to_the_same_side_keeps,
         NEED_TESTCTL | NEED_SHARED},
        {"mixed_ranges_are_small", mixed_ranges_are_small, NEED_TESTCTL | NEED_SHARED},
        {"conversion_storm", conversion_storm, NEED_TESTCTL | NEED_SHARED},
        {"conversion_storm_logged", conversion_storm_logged, NEED_TESTCTL | NEED_SHARED},
        {"map_gpa_checks_its_operands", map_gpa_checks_its_operands, NEED_TESTCTL | NEED_SHARED},
        {"a_long_conversion_can_be_interrupted", a_long_conversion_can_be_interrupted,
         NEED_TESTCTL | NEED_SHARED},
        {"only_exposed_registers_take_part", only_exposed_registers_take_part,
         NEED_TESTCTL | NEED_SHARED},
        {"devices_are_emulated", devices_are_emulated, NEED_TESTCTL | NEED_SHARED},
        {"devices_answer_requests", devices_answer_requests, NEED_TESTCTL | NEED_SHARED},
        {"code_runs_through_its_alias", code_runs_through_its_alias, NEED_TESTCTL | NEED_CODE},
    };
    if (under_eptvisor())
        map_windows();
    run_tests(tests, ARRAY_SIZE(tests));
}
