/* SPDX-License-Identifier: MIT */
/* Setting up the allocator of host RAM on machines from 24 MiB to 6 TiB. Their memory is a mapping
 * of which the host backs only what is touched: so what is touched is counted, too. */
#include "tests/unit/support.h"

#include "arch/x86/ram.h"
#include "boot/boot_info_internal.h"
#include "lib/bits.h"
#include "lib/errno.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define KIB        (1ull << 10)
#define MIB        (1ull << 20)
#define GIB        (1ull << 30)
#define TIB        (1ull << 40)
#define MEMORY_END (8 * TIB)
#define IMAGE_END  0x290000ull

static const struct span image = {2 * MIB, IMAGE_END};

static char *memory;
static struct boot_info info;
static struct ram ram;

static int setup(void **state)
{
    (void)state;
    support_reset();
    if (memory)
        munmap(memory, MEMORY_END);
    memory = mmap(NULL, MEMORY_END, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    madvise(memory, MEMORY_END, MADV_NOHUGEPAGE); /* so that a touched page is one fault */
    direct_map = (uint64_t)memory;
    memset(&info, 0, sizeof(info));
    return 0;
}

struct entry {
    uint64_t start, end;
    enum boot_memory kind;
};

/* A server with two sockets, as its firmware lists it: the usual low part of a PC, 2 GiB below the
 * hole for devices, the hole that AMD's bridges leave below 1 TiB, a gap between the nodes. */
#define LOW_PART                                                                                   \
    {0, 0x9fc00, BOOT_RAM}, {0x9fc00, 0xa0000, BOOT_RESERVED}, {0xe0000, 0x100000, BOOT_RESERVED}, \
        {0x100000, 0x6a3f5000, BOOT_RAM}, {0x6a3f5000, 0x6c8f5000, BOOT_RESERVED},                 \
        {0x6c8f5000, 0x6cc75000, BOOT_ACPI}, {0x6cc75000, 0x6d6d5000, BOOT_NVS},                   \
        {0x6d6d5000, 0x6fa00000, BOOT_RESERVED}, {0x6fa00000, 0x70000000, BOOT_RAM},               \
        {0x70000000, 0x90000000, BOOT_RESERVED}, {0xfd000000, 0xfe800000, BOOT_RESERVED},          \
        {0xfed20000, 0xfed45000, BOOT_RESERVED},                                                   \
    {                                                                                              \
        0xff000000, 4 * GIB, BOOT_RESERVED                                                         \
    }

static const struct entry tib_1[] = {
    LOW_PART,
    {4 * GIB, 0xfd00000000, BOOT_RAM},
    {0xfd00000000, TIB, BOOT_RESERVED},
    {TIB, TIB + 16 * GIB, BOOT_RAM},
};

static const struct entry tib_6[] = {
    LOW_PART,
    {4 * GIB, 0xfd00000000, BOOT_RAM},
    {0xfd00000000, TIB, BOOT_RESERVED},
    {TIB, 3 * TIB + 0x4fff000, BOOT_RAM},
    {4 * TIB + 0x123000, 7 * TIB + 12 * GIB, BOOT_RAM},
};

static void add_entries(const struct entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(boot_add_range(&info, entries[i].start, entries[i].end - entries[i].start,
                                        entries[i].kind),
                         0);
}

static uint64_t all_ram(void)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < info.range_count; i++)
        bytes += info.ranges[i].kind == BOOT_RAM ? info.ranges[i].size : 0;
    return bytes;
}

static long pages_touched(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

static int open_ram(void)
{
    int error = ram_plan(&ram, &info, image, MEMORY_END);
    for (unsigned i = 0; !error && i < 10; i++) /* the page tables */
        error = page_is_none(ram_early(&ram, 1)) ? -ENOMEM : 0;
    return error ? error : ram_open(&ram);
}

/* No page that is given out is anything but RAM that nobody else has. */
static void assert_usable(hpa_t page, unsigned order)
{
    uint64_t size = PAGE_SIZE << order;
    assert_false(page_is_none(page));
    assert_true(boot_is_ram(&info, page, size));
    assert_true(page.v >= MIB && (page.v + size <= image.start || page.v >= image.end));
    for (unsigned i = 0; i < TAKEN_ALWAYS; i++)
        assert_true(page.v + size <= ram.taken[i].start || page.v >= ram.taken[i].end);
    for (unsigned i = 0; i < info.module_count; i++)
        assert_true(page.v + size <= info.modules[i].base.v ||
                    page.v >= info.modules[i].base.v + info.modules[i].size);
}

/* For each GiB a few pages are touched: the links of a free block, and where a piece of RAM ends
 * within a GiB, the bytes of its pages. A walk over a byte for each page of 1 TiB would be 65,536
 * more. */
static void large_machines_cost_little(void **state)
{
    static const struct {
        const struct entry *entries;
        size_t count;
    } machines[] = {{tib_1, ARRAY_SIZE(tib_1)}, {tib_6, ARRAY_SIZE(tib_6)}};
    for (unsigned i = 0; i < ARRAY_SIZE(machines); i++) {
        setup(state);
        add_entries(machines[i].entries, machines[i].count);
        long before = pages_touched();
        assert_int_equal(open_ram(), 0);
        long touched = pages_touched() - before;
        uint64_t gib = all_ram() / GIB, split = 0;
        for (uint64_t s = 0; s < buddy_sections(ram.buddy.end); s++)
            split += ram.buddy.sections[s].bytes != NULL;
        assert_true(split <= 2ull * info.range_count + 4);
        if (touched > 2 * (long)(gib + split * 64 + 300)) /* each with its page of the sanitizer */
            fail_msg("%ld pages were touched for %lu GiB of RAM", touched, gib);
        /* What is not free are five bytes for each page, and what lies at the edges. */
        uint64_t notes = ram.taken[3].end - ram.taken[3].start;
        assert_true(notes < all_ram() / 700);
        assert_true(ram.buddy.free_pages * PAGE_SIZE > all_ram() - notes - 4 * MIB);
        assert_string_equal(support_log(), "");

        for (unsigned order = 0; order <= PAGE_ORDER_MAX; order++)
            assert_usable(buddy_alloc(&ram.buddy, order, 0), order);
        unsigned blocks = 0;
        for (hpa_t page; !page_is_none(page = buddy_alloc(&ram.buddy, 18, 0)); blocks++)
            assert_usable(page, 18);
        assert_true(blocks + 25 >= gib); /* nearly all of it are whole GiB still */
    }
}

/* Where there is nothing, there are no notes, however far up the last piece of RAM lies. */
static void gaps_cost_nothing(void **state)
{
    (void)state;
    add_entries(
        (const struct entry[]){{MIB, GIB, BOOT_RAM}, {7 * TIB, 7 * TIB + 64 * GIB, BOOT_RAM}}, 2);
    assert_int_equal(open_ram(), 0);
    assert_true(ram.taken[3].end - ram.taken[3].start < 90 * MIB);
    assert_true(ram.buddy.free_pages * PAGE_SIZE > 64 * GIB);
}

/* The low piece holds the first page tables; everything else may lie above 4 GiB. */
static void low_memory_may_be_small(void **state)
{
    (void)state;
    add_entries((const struct entry[]){{MIB, 4 * MIB, BOOT_RAM}, {4 * GIB, 500 * GIB, BOOT_RAM}},
                2);
    assert_int_equal(open_ram(), 0);
    assert_true(ram.taken[3].start >= 4 * GIB);
    assert_true(ram.early < 4 * MIB);
}

static void small_machines(void **state)
{
    static const unsigned long mib[] = {24, 25, 32, 64, 256};
    for (unsigned i = 0; i < ARRAY_SIZE(mib); i++) {
        setup(state);
        add_entries((const struct entry[]){{0, 0x9fc00, BOOT_RAM},
                                           {0xe8000, MIB, BOOT_RESERVED},
                                           {MIB, mib[i] * MIB - 128 * KIB, BOOT_RAM},
                                           {mib[i] * MIB - 128 * KIB, mib[i] * MIB, BOOT_ACPI}},
                    4);
        assert_int_equal(open_ram(), 0);
        assert_true(ram.buddy.free_pages * PAGE_SIZE > (mib[i] - 3) * MIB);
    }
}

static void assert_refused(const char *message)
{
    assert_int_equal(open_ram(), -ENOMEM);
    if (!strstr(support_log(), message))
        fail_msg("\"%s\" is not in\n%s", message, support_log());
    setup(NULL);
}

static void what_is_missing_is_said(void **state)
{
    (void)state;
    add_entries((const struct entry[]){{0, 0xa0000, BOOT_RAM}, {MIB, 23 * MIB, BOOT_RAM}}, 2);
    assert_refused("23168 KiB of RAM, but a machine of at least 24 MiB is needed; give it more");
    add_entries((const struct entry[]){{0, 0xa0000, BOOT_RAM}, {4 * GIB, 8 * GIB, BOOT_RAM}}, 2);
    assert_refused("the loader left no free page of RAM between 1 MiB and 4 GiB");
    for (uint64_t i = 0; i < 400; i++) /* 64 KiB each: none has room for 130 KiB and more */
        add_entries(
            (const struct entry[]){{MIB + i * 128 * KIB, MIB + (2 * i + 1) * 64 * KIB, BOOT_RAM}},
            1);
    assert_refused(
        "no free piece of RAM has room for the allocator's records of all pages: they take");
}

static void what_can_not_be_reached_is_left_out(void **state)
{
    (void)state;
    add_entries((const struct entry[]){{MIB, 2 * GIB, BOOT_RAM},
                                       {7 * TIB, 16 * TIB, BOOT_RAM},
                                       {20 * TIB, 21 * TIB, BOOT_RAM}},
                3);
    assert_int_equal(open_ram(), 0);
    assert_string_equal(support_log(),
                        "memory: 9437184 MiB of RAM are not used: they lie at 0x80000000000 or "
                        "above, which can't be reached here\n");
    assert_int_equal(ram.buddy.end << PAGE_SHIFT, 8 * TIB);
}

static uint64_t any(uint64_t below)
{
    return (uint64_t)rand() % below;
}

/* Modules anywhere, beyond all RAM and over each other: what is handed out meets none of them. */
static void modules_are_not_handed_out(void **state)
{
    srand(1);
    for (unsigned round = 0; round < 60; round++) {
        setup(state);
        add_entries((const struct entry[]){{0, 0xa0000, BOOT_RAM}, {MIB, 64 * MIB, BOOT_RAM}}, 2);
        info.module_count = 1 + (unsigned)any(BOOT_MODULES);
        for (unsigned i = 0; i < info.module_count; i++)
            info.modules[i] = (struct boot_module){.base = HPA(any(80 * MIB)),
                                                   .size = any(any(3) ? 20000 : 2 * MIB)};
        if (open_ram())
            continue;
        for (hpa_t page; !page_is_none(page = buddy_alloc(&ram.buddy, 0, 0));)
            assert_usable(page, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(large_machines_cost_little, setup),
        cmocka_unit_test_setup(gaps_cost_nothing, setup),
        cmocka_unit_test_setup(low_memory_may_be_small, setup),
        cmocka_unit_test_setup(small_machines, setup),
        cmocka_unit_test_setup(what_is_missing_is_said, setup),
        cmocka_unit_test_setup(what_can_not_be_reached_is_left_out, setup),
        cmocka_unit_test_setup(modules_are_not_handed_out, setup),
    };
    return cmocka_run_group_tests_name("host RAM", tests, NULL, NULL);
}
