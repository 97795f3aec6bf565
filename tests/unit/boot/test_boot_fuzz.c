/* SPDX-License-Identifier: MIT */
/*
 * Boot information and firmware tables at random: good ones, of which some words are spoilt, by
 * both protocols. Whatever they say, nothing beyond the 4 GiB that can be reached is read, each
 * refusal has its message, and what is made of the rest (map, allocator, modules, CPUs, screen)
 * keeps its promises. SEED=n begins elsewhere, ROUNDS=n goes on for longer; a failure says which
 * round it was.
 */
#include "tests/unit/support.h"

#include "arch/x86/acpi.h"
#include "arch/x86/madt.h"
#include "arch/x86/paging.h"
#include "arch/x86/pixels.h"
#include "arch/x86/ram.h"
#include "boot/boot_info.h"
#include "launch/modules.h"
#include "lib/bits.h"
#include "lib/errno.h"

#include <sanitizer/common_interface_defs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MEMORY (8ull << 30) /* RAM from there on is not used here */
#define REACH  (4ull << 30)

static char *memory; /* with nothing behind it */
static struct boot_info info;
static struct ram ram;
static uint64_t seed, failing; /* the round that is not done */
static const struct image_place image = {0x200000, 0x280000};

void *physical_map(hpa_t base, uint64_t size, enum map_type type)
{
    (void)type;
    return base.v < MEMORY && size <= MEMORY - base.v ? memory + base.v : NULL;
}

/* ---- Random values --------------------------------------------------------------------------- */

static uint64_t any(void)
{
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return seed;
}

static uint64_t below(uint64_t limit)
{
    return (any() >> 8) % limit;
}

static bool one_in(unsigned n)
{
    return !below(n);
}

/* Something is wrong: often in every other round, seldom in the rest, of which most are taken. */
static unsigned calm;

static bool wrong(unsigned n)
{
    return one_in(n * calm);
}

/* Values at which arithmetic goes wrong. */
static uint64_t odd_value(void)
{
    static const uint64_t values[] = {0, 1, 7, 8, 9, 16, 24, 0xfff, 0x1000, 0xffff, 0x7fffffff};
    switch (below(5)) {
    case 0:
        return values[below(ARRAY_SIZE(values))];
    case 1:
        return 0 - values[below(ARRAY_SIZE(values))];
    case 2:
        return BIT(below(64)) - below(2);
    case 3:
        return below(0x10000);
    default:
        return any();
    }
}

/* ---- What is made up ------------------------------------------------------------------------- */

static char *at; /* where it goes on */

static void put(uint64_t value, size_t size)
{
    memcpy(at, &value, size);
    at += size;
}

static void put_string(void)
{
    for (size_t left = wrong(8) ? 600 : below(40); left; left--)
        *at++ = "ab =+-/\x1b\xff"[below(9)];
    if (!wrong(16))
        *at++ = 0;
}

static void put_range(void)
{
    static const uint64_t bases[] = {0, 0x9fc00, 0x100000, 0x7fe0000, REACH, 0xfd00000000};
    put(wrong(4) ? odd_value() : bases[below(ARRAY_SIZE(bases))], 8);
    put(wrong(4) ? odd_value() : below(one_in(2) ? 1ull << 34 : 1 << 24), 8);
    put(one_in(3) ? below(7) : 1, 4);
}

static void put_colours(void)
{
    for (unsigned i = 0; i < 3; i++) {
        put(one_in(8) ? any() : 16 - 8 * i, 1);
        put(one_in(8) ? any() : 8, 1);
    }
}

static void put_framebuffer(void)
{
    put(one_in(4) ? odd_value() : 0xe0000000, 8);
    put(one_in(4) ? odd_value() : 4096, 4);
    put(one_in(4) ? odd_value() : 1024, 4);
    put(one_in(4) ? odd_value() : 768, 4);
    put(one_in(4) ? any() : 32, 1);
    put(below(4), 1);
    put(0, 2);
    put_colours();
}

static void put_module(void)
{
    uint64_t start = wrong(4) ? odd_value() : 0x100000 + below(0x8000000);
    put(start, 4);
    put(wrong(8) ? odd_value() : start + below(0x10000), 4);
}

/* One tag of each kind that is known, and unknown ones; now and then with a wrong size. */
static void put_tag(void)
{
    char *start = at;
    uint32_t type = (uint32_t)below(18);
    put(type, 4);
    put(0, 4);
    if (type == 1 || type == 2)
        put_string();
    else if (type == 3)
        put_module(), put_string();
    else if (type == 6)
        for (put(wrong(8) ? odd_value() : 24, 8); !one_in(one_in(50) ? 3000 : 6); put(0, 4))
            put_range();
    else if (type == 8)
        put_framebuffer();
    else if (type == 12)
        put(one_in(2) ? odd_value() : below(REACH), 8);
    else
        put(odd_value(), 8), put(odd_value(), 8), put(odd_value(), 8);
    uint32_t size = (uint32_t)(wrong(30) ? odd_value() : (uint64_t)(at - start));
    memcpy(start + 4, &size, sizeof(size));
    while ((at - start) % 8)
        *at++ = 0;
}

static int parse_multiboot2(void)
{
    /* Now and then at the end of what can be reached. */
    uint64_t address = one_in(4) ? REACH - 8 * below(200) : 0x100000 + 8 * below(0x1000000);
    static char made[1 << 20];
    at = made + 8;
    for (uint64_t tags = below(30); tags; tags--)
        put_tag();
    if (!wrong(16))
        put(0, 4), put(8, 4);
    uint32_t total = (uint32_t)(wrong(20) ? odd_value() : (uint64_t)(at - made));
    memcpy(made, &total, sizeof(total));
    uint64_t size = (uint64_t)(at - made), room = REACH - address;
    memcpy(memory + address, made, size < room ? size : room);
    return boot_info_parse(&info, MULTIBOOT2_LOADER_MAGIC,
                           (uint32_t)(wrong(20) ? odd_value() : address));
}

static uint32_t pointer(void)
{
    return (uint32_t)(wrong(4) ? odd_value() : one_in(4) ? REACH - below(700) : below(REACH));
}

static int parse_multiboot1(void)
{
    uint32_t address = (uint32_t)(one_in(8) ? REACH - below(200) : 0x1000 + below(0x10000));
    uint32_t raw[17];
    for (unsigned i = 0; i < 17; i++)
        raw[i] = pointer();
    raw[0] = wrong(8) ? (uint32_t)any() : 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9;
    raw[5] = (uint32_t)(wrong(8) ? odd_value() : below(4));
    uint32_t entries = (uint32_t)below(20);
    raw[11] = (uint32_t)(wrong(8) ? odd_value() : 24 * entries);
    at = memory + raw[12];
    for (; entries && at + 24 < memory + REACH; entries--) {
        put(wrong(20) ? odd_value() : 20, 4);
        put_range();
    }
    at = memory + raw[6];
    for (unsigned i = 0; i < 4 && at + 16 < memory + REACH; i++)
        put_module(), put(pointer(), 4), put(0, 4);
    for (unsigned i = 4; i < 17; i += 12) { /* command line and loader's name */
        at = memory + raw[i];
        if (raw[i] < REACH - 700)
            put_string();
    }
    memcpy(memory + address, raw, sizeof(raw) < REACH - address ? sizeof(raw) : REACH - address);
    return boot_info_parse(&info, MULTIBOOT1_LOADER_MAGIC, address);
}

/* ---- Firmware tables ------------------------------------------------------------------------- */

#define TABLES 0x7fe0000u /* and 64 KiB from there */

static void fix_sum(char *bytes, size_t size, size_t sum_at)
{
    bytes[sum_at] = 0;
    for (size_t i = 0; i < size; i++)
        if (i != sum_at)
            bytes[sum_at] = (char)(bytes[sum_at] - bytes[i]);
}

static uint64_t table_address(void)
{
    return one_in(6) ? odd_value() : TABLES + 0x400 * below(16);
}

/* Tables that name each other and themselves, most with good sums. */
static void put_tables(void)
{
    static const char *const names[] = {"XSDT", "RSDT", "APIC", "HPET", "FACP", "????"};
    for (unsigned i = 0; i < 16; i++) {
        char *start = at = memory + TABLES + 0x400 * i;
        uint32_t length = (uint32_t)(one_in(8) ? odd_value() : 36 + below(300));
        memcpy(at, names[below(ARRAY_SIZE(names))], 4);
        memcpy(at + 4, &length, sizeof(length));
        for (at += 36; at < start + 0x400;)
            put(one_in(2) ? table_address() : odd_value(), one_in(2) ? 8 : 4);
        if (length <= 0x400 && !one_in(10))
            fix_sum(start, length, 9);
    }
    char *rsdp = at = one_in(2) ? memory + 0xfffe0 - 16 * below(8) : (char *)info.rsdp;
    memcpy(at, "RSD PTR ", 8);
    at += 15;
    put(one_in(3) ? any() : 2, 1);
    put(table_address(), 4);
    put(one_in(8) ? odd_value() : 36, 4);
    if (rsdp == (char *)info.rsdp || rsdp <= memory + 0xffff0 - 36)
        put(table_address(), 8);
    fix_sum(rsdp, 20, 8);
    if (rsdp == (char *)info.rsdp) {
        fix_sum(rsdp, 36, 32);
        info.rsdp_size = one_in(4) ? (unsigned)below(37) : 36;
    }
}

/* ---- What must hold -------------------------------------------------------------------------- */

static void check_map(void)
{
    assert_true(info.range_count > 0 && info.range_count <= BOOT_RANGES);
    for (unsigned i = 0; i < info.range_count; i++) {
        const struct boot_range *range = &info.ranges[i];
        assert_true(range->size && range->base.v + range->size <= BIT(52));
        assert_true(!i || range[-1].base.v + range[-1].size <= range->base.v);
    }
    hpa_t page = boot_low_page(&info);
    assert_true(page_is_none(page) || boot_is_ram(&info, page, PAGE_SIZE));
    uint64_t screen = info.framebuffer.kind == BOOT_FRAMEBUFFER_RGB ? pixels_size(&info) : 0;
    assert_true(!screen || !boot_touches_ram(&info, info.framebuffer.base, screen));
}

static void check_page(hpa_t page)
{
    assert_true(page.v >= 0x100000 && boot_is_ram(&info, page, PAGE_SIZE));
    assert_true(page.v + PAGE_SIZE <= image.start || page.v >= image.end);
    for (unsigned i = 0; i < info.module_count; i++)
        assert_true(page.v + PAGE_SIZE <= info.modules[i].base.v ||
                    page.v >= info.modules[i].base.v + info.modules[i].size);
}

static void check_allocator(void)
{
    const struct span place = {image.start, image.end};
    int error = ram_plan(&ram, &info, place, MEMORY);
    if (!error)
        error = ram_open(&ram);
    if (error) {
        assert_true(strlen(support_log()) > 0);
        return;
    }
    for (unsigned i = 0; i < 20; i++) {
        hpa_t page = buddy_alloc(&ram.buddy, 0, 0);
        if (page_is_none(page))
            break;
        check_page(page);
    }
}

static void check_modules(void)
{
    for (unsigned i = 0; i < info.module_count; i++) {
        const struct boot_module *module = &info.modules[i];
        assert_true(strlen(module->string) < BOOT_STRING_MAX);
        if (modules_check(&info, i, 0, image) || !module->size)
            continue;
        assert_true(boot_is_ram(&info, module->base, module->size));
        assert_true(module->base.v + module->size <= image.start || module->base.v >= image.end);
    }
}

static void check_cpus(void)
{
    struct madt madt;
    put_tables();
    acpi_init(&info);
    int error = madt_parse(acpi_table("APIC"), 3, &madt);
    assert_true(madt.count >= 1 && madt.count <= CPUS_MAX && (!error || madt.count == 1));
    (void)!acpi_table("HPET");
    (void)!acpi_table("FACP");
}

static void run(unsigned rounds, int (*parse)(void))
{
    const char *wanted = getenv("SEED"), *longer = getenv("ROUNDS");
    const uint64_t first = wanted ? strtoull(wanted, NULL, 0) : 1;
    unsigned accepted = 0, refused = 0;
    rounds = longer ? (unsigned)strtoul(longer, NULL, 0) : (unsigned)support_rounds(rounds);
    for (uint64_t round = first; round < first + rounds; round++) {
        seed = round * 0x9e3779b97f4a7c15ull;
        support_reset();
        direct_map = (uint64_t)memory;
        failing = round;
        calm = round % 2 ? 1 : 30;
        mprotect(memory + REACH, PAGE_SIZE, PROT_NONE); /* the first page tables end there */
        int error = parse();
        mprotect(memory + REACH, PAGE_SIZE, PROT_READ | PROT_WRITE);
        if (error) {
            refused++;
            assert_true(strlen(support_log()) > 0);
            continue;
        }
        accepted++;
        check_map();
        check_modules();
        check_allocator();
        check_cpus();
    }
    failing = 0;
    /* Both outcomes are met often, or this shows nothing. */
    if (rounds >= 1000)
        assert_true(accepted > rounds / 20 && refused > rounds / 20);
}

static void any_multiboot2(void **state)
{
    (void)state;
    run(6000, parse_multiboot2);
}

static void any_multiboot1(void **state)
{
    (void)state;
    run(6000, parse_multiboot1);
}

static void say_which_round(void)
{
    if (failing)
        fprintf(stderr, "SEED=%lu ROUNDS=1 repeats it\n", failing);
    failing = 0;
}

static int teardown(void **state)
{
    (void)state;
    say_which_round();
    return 0;
}

static int setup(void **state)
{
    (void)state;
    support_reset();
    if (memory)
        munmap(memory, MEMORY + PAGE_SIZE);
    memory = mmap(NULL, MEMORY + PAGE_SIZE, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    assert_int_equal(mprotect(memory + MEMORY, PAGE_SIZE, PROT_NONE), 0);
    return 0;
}

int main(void)
{
    __sanitizer_set_death_callback(say_which_round);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(any_multiboot2, setup, teardown),
        cmocka_unit_test_setup_teardown(any_multiboot1, setup, teardown),
    };
    return cmocka_run_group_tests_name("boot information at random", tests, NULL, NULL);
}
