/* SPDX-License-Identifier: MIT */
/*
 * MMIO as a guest sees it: the cost of the first access and of later ones (scenario 1), every form
 * of MOV in every CPU mode, and accesses that cross pages.
 */
#include "guest/programs/mmio/forms.h"

#define ACCESSES 1000
#define DEV_A    ((uint64_t)TESTDEV_A_BASE)
#define DEV_B    ((uint64_t)TESTDEV_B_BASE)
#define HOLE     0xd0000000ull /* no slot and no device */

static void first_access(void)
{
    struct watch violations = watch(EXITS_VIOLATION), misconfigs = watch(EXITS_MISCONFIG);
    struct watch created = watch(COUNTER_MMIO_SPTE_CREATED);
    uint32_t ident = read32(DEV_B + TESTDEV_IDENT);
    uint64_t nv = watched(violations), nm = watched(misconfigs), nc = watched(created);

    EXPECT_EQ(ident, 'B');
    EXPECT_EQ(nv, 1);
    EXPECT_EQ(nm, 0);
    EXPECT_EQ(nc, hc_config(CONFIG_MMIO_CACHING));
    note("violations", nv);
    note("misconfigs", nm);
    note("mmio_sptes", nc);
}

/* Makes ACCESSES accesses that alternate between two pages, and checks the number of exits. */
static void repeated_access(uint64_t even, uint64_t odd)
{
    uint64_t caching = hc_config(CONFIG_MMIO_CACHING);

    (void)read32(even + TESTDEV_IDENT);
    (void)read32(odd + TESTDEV_IDENT);
    struct watch violations = watch(EXITS_VIOLATION), misconfigs = watch(EXITS_MISCONFIG);
    struct watch searches = watch(COUNTER_SLOT_SEARCHES), hits = watch(COUNTER_MMIO_CACHE_HITS);
    struct watch spte_hits = watch(COUNTER_MMIO_SPTE_HITS);
    for (uint32_t i = 0; i < ACCESSES; i++)
        write32(i & 1 ? odd : even, i);
    uint64_t nv = watched(violations), nm = watched(misconfigs), ns = watched(searches);
    uint64_t nh = watched(hits), nk = watched(spte_hits);

    EXPECT_EQ(read32(even), ACCESSES - 1 - (even != odd));
    EXPECT_EQ(nm, caching ? ACCESSES : 0);
    EXPECT_EQ(nv, caching ? 0 : ACCESSES);
    EXPECT_EQ(ns, caching ? 0 : ACCESSES);
    if (caching)
        EXPECT_EQ(nh + nk, ACCESSES);
    note("violations", nv);
    note("misconfigs", nm);
    note("slot_searches", ns);
    note("cache_hits", nh);
    note("spte_hits", nk);
}

static void next_thousand(void)
{
    repeated_access(DEV_B, DEV_B);
}

static void alternating_thousand(void)
{
    repeated_access(DEV_A, DEV_B);
}

static void open_bus(void)
{
    EXPECT_EQ(read32(HOLE), 0xffffffff);
    write32(HOLE, 0x12345678);
    EXPECT_EQ(read64(HOLE), ~0ull);
    EXPECT_EQ(read8(HOLE + 0xfff), 0xff);
}

#define FORMS(name, mode)              \
    static void name##_on_ram(void)    \
    {                                  \
        forms_on_ram(mode);            \
    }                                  \
    static void name##_on_device(void) \
    {                                  \
        forms_on_device(mode);         \
    }
FORMS(forms_64, MODE_64)
FORMS(forms_compat_32, MODE_COMPAT_32)
FORMS(forms_compat_16, MODE_COMPAT_16)
FORMS(forms_32_unpaged, MODE_32_UNPAGED)
FORMS(forms_32_paged, MODE_32_PAGED)
FORMS(forms_32_pae, MODE_32_PAE)
FORMS(forms_16_protected, MODE_16_PROTECTED)
FORMS(forms_real, MODE_REAL)

/* Maps two pages side by side at TEST_VA, wherever they lie in physical memory. */
static uint64_t side_by_side(uint64_t first, uint64_t second)
{
    map_page(rt_pml4, TEST_VA, first, PTE_P | PTE_W);
    map_page(rt_pml4, TEST_VA + RT_PAGE, second, second ? PTE_P | PTE_W : 0);
    invlpg(TEST_VA);
    invlpg(TEST_VA + RT_PAGE);
    return TEST_VA + RT_PAGE;
}

static void reset_devices(void)
{
    write32(DEV_A + TESTDEV_RESET, 1);
    write32(DEV_B + TESTDEV_RESET, 1);
}

static void cross_device_to_device(void)
{
    uint64_t border = DEV_B; /* devices A and B are neighbours */

    reset_devices();
    write64(border - 4, 0x8877665544332211);
    EXPECT_EQ(read32(DEV_A + TESTDEV_WRITES), 1);
    EXPECT_EQ(read32(DEV_B + TESTDEV_WRITES), 1);
    EXPECT_EQ(read64(border - 4), 0x8877665544332211);
    EXPECT_EQ(read32(DEV_A + TESTDEV_READS), 1);
    EXPECT_EQ(read32(DEV_B + TESTDEV_READS), 1);
    EXPECT_EQ(read32(border - 4), 0x44332211);
    EXPECT_EQ(read32(border), 0x88776655);
    EXPECT_EQ(read64(border - 3), 0x0088776655443322);
    EXPECT_EQ(read32(border - 1), 0x77665544);
    note("a_writes", read32(DEV_A + TESTDEV_WRITES));
    note("b_writes", read32(DEV_B + TESTDEV_WRITES));
}

/* The pages are neighbours only in virtual memory, so each is translated by itself. */
static void cross_virtual_neighbours(void)
{
    uint64_t border = side_by_side(DEV_B, DEV_A);

    reset_devices();
    write64(border - 4, 0x8877665544332211);
    EXPECT_EQ(read32(DEV_B + 0xffc), 0x44332211);
    EXPECT_EQ(read32(DEV_A), 0x88776655);
    EXPECT_EQ(read64(border - 4), 0x8877665544332211);
}

static void cross_ram_and_device(void)
{
    uint64_t *ram = new_page();
    uint64_t border = side_by_side((uint64_t)ram, DEV_A);

    reset_devices();
    write64(border - 4, 0x8877665544332211);
    EXPECT_EQ(ram[511] >> 32, 0x44332211);
    EXPECT_EQ(read32(DEV_A), 0x88776655);
    EXPECT_EQ(read64(border - 4), 0x8877665544332211);
    ram[0] = 0;
    border = side_by_side(DEV_A, (uint64_t)ram);
    write64(border - 4, 0x1122334455667788);
    EXPECT_EQ(read32(DEV_A + 0xffc), 0x55667788);
    EXPECT_EQ(ram[0], 0x11223344);
    EXPECT_EQ(read64(border - 4), 0x1122334455667788);
}

static void write_argument(void *address)
{
    write64((uint64_t)address, ~0ull);
}

/* The page fault of the second page has priority: no byte may reach the device in the first one. */
static void cross_into_page_fault(void)
{
    uint64_t border = side_by_side(DEV_A, 0);

    reset_devices();
    struct fault fault = try_run(write_argument, (void *)(border - 4));
    EXPECT(fault.taken);
    EXPECT_EQ(fault.vector, VECTOR_PF);
    EXPECT_EQ(fault.error, 2);
    EXPECT_EQ(fault.cr2, border);
    EXPECT_EQ(read32(DEV_A + TESTDEV_WRITES), 0);
    note("a_writes", read32(DEV_A + TESTDEV_WRITES));
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"first_access", first_access, NEED_TESTCTL},
        {"next_1000_accesses", next_thousand, NEED_TESTCTL},
        {"1000_accesses_to_two", alternating_thousand, NEED_TESTCTL},
        {"open_bus", open_bus, NEED_EPTVISOR},
        {"mov_64_on_ram", forms_64_on_ram, 0},
        {"mov_64", forms_64_on_device, NEED_TESTCTL},
        {"mov_compat_32_on_ram", forms_compat_32_on_ram, 0},
        {"mov_compat_32", forms_compat_32_on_device, NEED_TESTCTL},
        {"mov_compat_16_on_ram", forms_compat_16_on_ram, 0},
        {"mov_compat_16", forms_compat_16_on_device, NEED_TESTCTL},
        {"mov_32_unpaged_on_ram", forms_32_unpaged_on_ram, 0},
        {"mov_32_unpaged", forms_32_unpaged_on_device, NEED_TESTCTL},
        {"mov_32_paged_on_ram", forms_32_paged_on_ram, 0},
        {"mov_32_paged", forms_32_paged_on_device, NEED_TESTCTL},
        {"mov_32_pae_on_ram", forms_32_pae_on_ram, 0},
        {"mov_32_pae", forms_32_pae_on_device, NEED_TESTCTL},
        {"mov_16_protected_on_ram", forms_16_protected_on_ram, 0},
        {"mov_16_protected", forms_16_protected_on_device, NEED_TESTCTL},
        {"mov_real_on_ram", forms_real_on_ram, 0},
        {"mov_real", forms_real_on_device, NEED_TESTCTL},
        {"cross_device_to_device", cross_device_to_device, NEED_TESTCTL},
        {"cross_virtual_neighbours", cross_virtual_neighbours, NEED_TESTCTL},
        {"cross_ram_and_device", cross_ram_and_device, NEED_TESTCTL},
        {"cross_into_page_fault", cross_into_page_fault, NEED_TESTCTL},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
