/* SPDX-License-Identifier: MIT */
/*
 * What happens to the EPT while a guest uses its memory, told in moments. Of each, the guest asks
 * for a picture (docs/MAP.md), and checks by HC_SPTE that the memory is as the picture's label
 * says. The story of this hypervisor comes first: a device page becomes RAM, and nothing is zapped.
 */
#include "guest/programs/sides/region.h"

#define DEV   ((uint64_t)TESTDEV_A_BASE)
#define OTHER 0xc0000000ull /* a slot that has nothing to do with the device */
#define AREA  0xd0000000ull /* 4 MiB of RAM */
#define PAGES 1024ull
#define CODE  (TEST_VA + BIT(37)) /* the mapping of a page of code by its execute-only alias */

#define RWX      7u
#define WX       6u
#define WRITABLE 2u
#define PRESENT  BIT(11)

static bool is_present(uint64_t gpa)
{
    return hc_spte(gpa) & PRESENT;
}

static bool is_mmio(uint64_t gpa)
{
    return !hc_config(CONFIG_MMIO_CACHING) || (hc_spte(gpa) & (RWX | PRESENT)) == WX;
}

static void mmio_becomes_ram(void)
{
    EXPECT(!is_present(DEV));
    hc_map("the guest has started");

    write32(DEV, 0x1234);
    EXPECT(is_mmio(DEV));
    hc_map("a device page is written");

    uint64_t entry = hc_spte(DEV);
    EXPECT_EQ(hc_slot_add(1, OTHER, 16, 0), 0);
    EXPECT_EQ(hc_spte(DEV), entry);
    hc_map("a slot is added elsewhere");

    EXPECT_EQ(read32(DEV), 0x1234);
    EXPECT(is_mmio(DEV));
    hc_map("the device page is read");

    struct flushes invepts = watch_flushes();
    entry = hc_spte(DEV);
    EXPECT_EQ(hc_slot_add(2, DEV, 1, 0), 0);
    EXPECT_EQ(hc_spte(DEV), entry); /* nothing has been zapped */
    hc_map("a slot is added over the device");

    write32(DEV, 0x5678);
    EXPECT(is_present(DEV));
    EXPECT_EQ(flushed(invepts, 0), 0);
    note("invepts", flushed(invepts, 0));
    hc_map("the page is written: it is RAM");

    EXPECT_EQ(hc_slot_delete(2), 0);
    EXPECT(!is_present(DEV));
    EXPECT_EQ(read32(DEV), 0x1234);
    EXPECT_EQ(hc_slot_delete(1), 0);
    hc_map("both slots are deleted");
}

static void touch(uint64_t step)
{
    for (uint64_t page = 0; page < PAGES; page += step)
        write32(AREA + page * RT_PAGE, 1);
}

static void ram_is_watched(void)
{
    EXPECT_EQ(hc_slot_add(3, AREA, PAGES, 0), 0);
    touch(1);
    EXPECT(is_present(AREA));
    hc_map("4 MiB of RAM are written");

    EXPECT_EQ(hc_slot_flags(3, SLOT_LOG_DIRTY), 0);
    (void)hc_dirty_get(3, 0);
    for (uint64_t page = 0; page < PAGES; page += 3)
        (void)read32(AREA + page * RT_PAGE);
    hc_map("writes to it are logged");
    touch(7);
    hc_map("every seventh page is written");
    EXPECT_EQ(hc_dirty_get(3, 0) & 0xff, 0x81);
    EXPECT_EQ(hc_slot_flags(3, 0), 0);

    EXPECT_EQ(hc_page(HC_TRACK, AREA + 5 * RT_PAGE), 0);
    (void)read32(AREA + 5 * RT_PAGE);
    EXPECT(!(hc_spte(AREA + 5 * RT_PAGE) & WRITABLE));
    hc_map("writes to one page are tracked");
    EXPECT_EQ(hc_page(HC_UNTRACK, AREA + 5 * RT_PAGE), 0);

    EXPECT_EQ(hc_slot_flags(3, SLOT_READONLY), 0);
    for (uint64_t page = 0; page < PAGES; page += 64)
        EXPECT_EQ(read32(AREA + page * RT_PAGE), 1);
    hc_map("the slot is read-only");
    EXPECT_EQ(hc_slot_delete(3), 0);
    EXPECT(!is_present(AREA));
    hc_map("the slot is deleted");
}

/* Writes a function into a private page, and executes it by the page's execute-only alias. */
static void run_by_alias(uint64_t page)
{
    static const uint8_t bytes[] = {0xb8, 42, 0, 0, 0, 0xc3}; /* mov $42, %eax; ret */
    uint64_t va = CODE + page * RT_PAGE;
    uint32_t (*function)(void) = (uint32_t(*)(void))(uintptr_t)va;
    volatile uint8_t *code = (volatile uint8_t *)region_word(false, page);

    for (unsigned i = 0; i < sizeof(bytes); i++)
        code[i] = bytes[i];
    map_page(rt_pml4, va, (REGION + page * RT_PAGE) | code_bit(), PTE_P);
    EXPECT_EQ(function(), 42);
}

/* Private, shared and execute-only memory, each by a root of its own. */
static void memory_has_sides(void)
{
    region_map();
    for (uint64_t page = 0; page < 512; page++)
        *region_word(false, page) = page;
    hc_map("2 MiB of private memory");

    for (uint64_t page = 0; page < 512; page += 32)
        EXPECT_EQ(region_convert(true, page, 8), 0);
    hc_map("a quarter becomes shared");
    for (uint64_t page = 0; page < 512; page += 4) {
        bool shared = page % 32 < 8;
        *region_word(shared, page) = page;
        EXPECT_EQ(*region_word(shared, page), page);
    }
    hc_map("both sides are written");

    for (uint64_t page = 8; page < 32; page++)
        run_by_alias(page);
    hc_map("code runs by its alias");
}

void guest_main(void)
{
    static const struct test plain[] = {
        {"mmio_becomes_ram", mmio_becomes_ram, NEED_TESTCTL},
        {"ram_is_watched", ram_is_watched, NEED_TESTCTL},
    };
    static const struct test sides[] = {
        {"memory_has_sides", memory_has_sides, NEED_TESTCTL | NEED_SHARED | NEED_CODE},
    };
    if (shared_bit())
        run_tests(sides, ARRAY_SIZE(sides));
    else
        run_tests(plain, ARRAY_SIZE(plain));
}
