/* SPDX-License-Identifier: MIT */
/*
 * The initial image of a TD: the parameters of the boot shim, and how records of any alignment
 * become pages.
 */
#include "tests/unit/launch/linux_world.h"

#include "launch/td_plan.h"

#include <stdlib.h>

extern const uint8_t shim_image[];

/* A bzImage with the preferred address 16 MiB, with an initrd, in a TD. */
static int setup(void **state)
{
    (void)state;
    put_bzimage();
    image.cpus = 2;
    image.td = image.pc = image.measure = true;
    image.entry = GUEST_ENTRY_64;
    return 0;
}

static const struct shim_parameters *shim(void)
{
    assert_true(plan.start.td);
    assert_false(plan.start.long_mode);
    assert_int_equal(plan.start.info, GUEST_SHIM_PARAMETERS);
    assert_int_equal(plan.shim.magic, SHIM_MAGIC);
    assert_int_equal(plan.shim.version, SHIM_VERSION);
    assert_int_equal(plan.shim.zero_page, BLOCK);
    return &plan.shim;
}

static void check_range(const struct shim_range *range, uint64_t base, uint64_t end)
{
    assert_int_equal(range->base, base);
    assert_int_equal(range->base + range->size, end);
}

static void all_private_memory_is_listed(void **state)
{
    static const struct {
        uint64_t ram, middle_end, high_end;
    } rows[] = {
        {2 * MIB, 2 * MIB, 0},
        {RAM, RAM, 0},
        {3072 * MIB, 0xc0000000, 0},
        {3073 * MIB, 0xc0000000, 0x100100000},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        setup(state);
        put(INIT_SIZE, KERNEL, 4);
        put(PREF_ADDRESS, MIB, 8);
        guest_layout(rows[i].ram, image.ram);
        good();
        assert_int_equal(shim()->range_count, rows[i].high_end ? 3 : 2);
        check_range(&shim()->ranges[0], 0, 0xa0000);
        check_range(&shim()->ranges[1], 0xc0000, rows[i].middle_end);
        if (rows[i].high_end)
            check_range(&shim()->ranges[2], 4ull << 30, rows[i].high_end);
    }
}

static void check_item(unsigned i, unsigned rtmr, const void *bytes, size_t size)
{
    const struct shim_item *item = &shim()->items[i];
    assert_int_equal(item->rtmr, rtmr);
    assert_int_equal(item->size, size);
    for (unsigned n = 0; n < plan.count; n++) {
        const struct load_record *r = &plan.records[n];
        if (item->base - r->gpa >= r->extent)
            continue;
        assert_true(item->base - r->gpa + size <= r->size);
        assert_memory_equal((const uint8_t *)r->bytes + (item->base - r->gpa), bytes, size);
        return;
    }
    fail_msg("item %u is at %#lx, where nothing is", i, item->base);
}

static void what_is_measured(void **state)
{
    (void)state;
    good();
    assert_int_equal(shim()->vcpus, 2);
    assert_int_equal(shim()->entry, 16 * MIB + 0x200);
    assert_int_equal(shim()->item_count, 5);
    check_item(0, 0, plan.firmware, record(LOAD_FIRMWARE)->size);
    check_item(1, 0, plan.block, 4096);
    check_item(2, 1, file + SETUP, KERNEL);
    check_item(3, 2, "console=ttyS0 quiet", strlen("console=ttyS0 quiet"));
    check_item(4, 2, INITRD, sizeof(INITRD));

    image.module_count = 0;
    image.arguments = "";
    good();
    assert_int_equal(shim()->item_count, 4);
    assert_int_equal(shim()->items[3].size, 0);

    image.measure = false;
    good();
    assert_int_equal(shim()->item_count, 0);
}

/* The e820 map has the shim as ACPI NVS memory between the RAM below and above 4 GiB. */
static void the_memory_map_has_the_shim(void **state)
{
    (void)state;
    guest_layout(4096 * MIB, image.ram);
    for (unsigned td = 0; td < 2; td++) {
        image.td = td;
        image.measure = false;
        good();
        const uint8_t *entries = plan.block + 0x2d0;
        unsigned count = plan.block[0x1e8], found = 0;
        uint64_t end = 0;
        for (unsigned i = 0; i < count; i++, entries += 20) {
            assert_true(get(entries, 0, 8) >= end);
            end = get(entries, 0, 8) + get(entries, 8, 8);
            if (get(entries, 0, 8) != GUEST_SHIM)
                continue;
            assert_int_equal(end, 4ull << 30);
            assert_int_equal(get(entries, 16, 4), 4);
            found++;
        }
        assert_int_equal(found, td);
        assert_int_equal(count, 6 + td);
    }
}

/* ---- Unaccepted memory ----------------------------------------------------------------------- */

#define UNIT (2 * MIB)

/* What Linux reads: the table of unaccepted memory by way of efi_info, the system table and the one
 * configuration table. */
static const uint8_t *unaccepted_table(void)
{
    static const uint8_t guid[] = {0x3c, 0xde, 0xd1, 0xd5, 0x5c, 0x10, 0xf9, 0x44,
                                   0x9e, 0xa9, 0xbc, 0xef, 0x98, 0x12, 0x00, 0x31};
    const uint8_t *page = plan.block, *base = plan.block - BLOCK;
    assert_memory_equal(page + 0x1c0, "EL64", 4);
    assert_int_equal(get(page, 0x1c8, 4), 40); /* a descriptor, of version 1 */
    assert_int_equal(get(page, 0x1cc, 4), 1);
    assert_int_equal(get(page, 0x1d4, 4), 40);
    const uint8_t *map = base + get(page, 0x1d0, 4);
    assert_int_equal(get(map, 0, 4), 7);
    assert_int_equal(get(map, 8, 8), image.ram[1].base.v);
    assert_int_equal(get(map, 24, 8), image.ram[1].size / 4096);
    const uint8_t *system = base + get(page, 0x1c4, 4);
    assert_memory_equal(system, "IBI SYST", 8);
    assert_memory_equal(base + get(system, 24, 8), u"eptvisor", 18);
    assert_int_equal(get(system, 88, 8), 0); /* no services */
    assert_int_equal(get(system, 96, 8), 0);
    assert_int_equal(get(system, 104, 8), 1);
    const uint8_t *configuration = base + get(system, 112, 8);
    assert_memory_equal(configuration, guid, sizeof(guid));
    const uint8_t *table = base + get(configuration, 16, 8);
    assert_true(table > page &&
                table + 24 + get(table, 16, 8) <= page + record(LOAD_PARAMETERS)->size);
    assert_int_equal(get(table, 0, 4), 1);
    assert_int_equal(get(table, 4, 4), UNIT);
    assert_int_equal(get(table, 8, 8), 0);
    return table;
}

static bool is_left(const uint8_t *table, uint64_t gpa)
{
    uint64_t unit = gpa / UNIT;
    return unit / 8 < get(table, 16, 8) && table[24 + unit / 8] >> unit % 8 & 1;
}

static bool shim_accepts(uint64_t gpa)
{
    for (unsigned i = 0; i < plan.shim.range_count; i++)
        if (gpa - plan.shim.ranges[i].base < plan.shim.ranges[i].size)
            return true;
    return false;
}

/* Each page of RAM is accepted either by the shim or by the kernel. The shim accepts what the
 * kernel needs to start, and everything that is loaded. */
static void check_shares(void)
{
    const uint8_t *table = unaccepted_table();
    const uint64_t top = image.ram[2].size ? image.ram[2].base.v + image.ram[2].size
                                           : image.ram[1].base.v + image.ram[1].size;
    for (uint64_t gpa = 0; gpa < top + UNIT; gpa += gpa < UNIT ? 4096 : UNIT / 4) {
        bool ram = image_in_ram(&image, gpa, 4096) || (gpa >= GUEST_BIOS && gpa < MIB);
        if (is_left(table, gpa) + shim_accepts(gpa) != ram)
            fail_msg("%#lx: RAM %u, left %u, by the shim %u", gpa, ram, is_left(table, gpa),
                     shim_accepts(gpa));
    }
    for (unsigned i = 0; i < plan.count; i++) {
        const struct load_record *r = &plan.records[i];
        for (uint64_t at = r->gpa; at < r->gpa + r->extent && r->kind != LOAD_SHIM; at += 4096)
            assert_true(shim_accepts(at));
    }
    for (uint64_t at = 16 * MIB; at < 64 * MIB; at += 4096)
        assert_true(shim_accepts(at));
}

static void the_kernel_accepts_the_rest(void **state)
{
    static const uint64_t sizes[] = {64 * MIB,   66 * MIB,   RAM,        RAM + 0x5000,
                                     3072 * MIB, 3073 * MIB, 3074 * MIB, 5000 * MIB};
    for (unsigned i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
        setup(state);
        image.lazy = true;
        guest_layout(sizes[i / 2], image.ram);
        image.module_count = i / 2 ? i % 2 : 0;
        good();
        check_shares();
        assert_int_equal(shim()->item_count, 5 + image.module_count);
        const struct shim_item *item = &shim()->items[2];
        assert_int_equal(item->rtmr, 0);
        assert_memory_equal(plan.block + (item->base - BLOCK), "IBI SYST", 8);
        assert_true(plan.block + (item->base - BLOCK) + item->size >=
                    unaccepted_table() + 24 + get(unaccepted_table(), 16, 8));
    }
    /* Without the word accept=lazy there are no EFI tables. */
    setup(state);
    good();
    assert_int_equal(get(plan.block, 0x1c0, 8), 0);
    assert_int_equal(shim()->range_count, 2);
}

static void other_programs_are_refused(void **state)
{
    (void)state;
    memset(file, 0, sizeof(file));
    memcpy(file, "\177ELF\1\1\1", 7);
    put(16, 2, 2);
    put(18, 3, 2);
    put(24, 0x100000, 4);
    put(28, 0x40, 4);
    put(42, 32, 2);
    put(44, 1, 2);
    put(0x40, 1, 4);
    put(0x44, 0x1000, 4);
    put(0x4c, 0x100000, 4);
    put(0x50, 0x200, 4);
    put(0x54, 0x200, 4);
    put(0x80, 0x1badb002, 4);
    put(0x88, 0u - 0x1badb002, 4);
    image.module_count = 0;
    image.arguments = "";
    refused(EXIT_MODULE_BAD_KERNEL,
            "a multiboot program cannot be a TD, which starts in 64-bit mode; use a bzImage or an "
            "ELF64 file");
    image.td = false;
    support_reset();
    good();
}

/* The file would be entered in 32-bit mode if it were not a TD's. */
static void a_header_of_multiboot_is_ignored(void **state)
{
    (void)state;
    memset(file, 0, sizeof(file));
    memcpy(file, "\177ELF\2\1\1", 7);
    put(16, 2, 2);
    put(18, 62, 2);
    put(24, 0x100000, 8);
    put(32, 0x40, 8);
    put(54, 56, 2);
    put(56, 1, 2);
    put(0x40, 1, 4);
    put(0x48, 0x1000, 8);
    put(0x58, 0x100000, 8);
    put(0x60, 0x200, 8);
    put(0x68, 0x200, 8);
    put(0x80, 0x1badb002, 4);
    put(0x88, 0u - 0x1badb002, 4);
    image.module_count = 0;
    image.arguments = "";
    good();
    (void)shim();
}

/* ---- Pages ----------------------------------------------------------------------------------- */

static uint8_t memory[64 * 4096], wanted[64 * 4096];
static bool has_content[64];

static void add(uint64_t gpa, uint64_t size, uint64_t extent, uint8_t *bytes, enum load_kind kind)
{
    assert_int_equal(
        plan_add(&plan, &image,
                 (struct load_record){
                     .gpa = gpa, .bytes = bytes, .size = size, .extent = extent, .kind = kind}),
        EXIT_OK);
    memcpy(wanted + gpa, bytes, size);
    for (uint64_t at = gpa; at < gpa + size; at++)
        has_content[at >> 12] = true;
}

static void check_pages(void)
{
    struct td_page page = {.gfn = GFN(0)};
    uint64_t next = 0;
    memset(memory, 0, sizeof(memory));
    for (; td_next_page(&plan, &page); page.gfn.v++) {
        assert_true(page.gfn.v >= next && page.gfn.v < 64);
        for (; next < page.gfn.v; next++)
            assert_false(has_content[next]);
        assert_true(has_content[next++]);
        memcpy(memory + (page.gfn.v << 12), page.content, 4096);
    }
    for (; next < 64; next++)
        assert_false(has_content[next]);
    assert_memory_equal(memory, wanted, sizeof(memory));
}

/* Records in any order and at any address, some of them in one page, some with zeros after their
 * contents. */
static void records_become_pages(void **state)
{
    static uint8_t bytes[16][20000];
    (void)state;
    srandom(3);
    for (unsigned i = 0; i < 16; i++)
        memset(bytes[i], (int)i + 1, sizeof(bytes[i]));
    for (unsigned n = 0; n < 2000; n++) {
        plan_init(&plan);
        memset(wanted, 0, sizeof(wanted));
        memset(has_content, 0, sizeof(has_content));
        uint64_t at[16], size[16], extent[16], next = 0;
        unsigned count = 1 + (unsigned)random() % 16;
        for (unsigned i = 0; i < count; i++) {
            at[i] = next + (uint64_t)random() % 3 * ((uint64_t)random() % 5000);
            size[i] = (uint64_t)random() % (random() % 2 ? 300 : 9000);
            extent[i] = size[i] + (uint64_t)random() % 2 * ((uint64_t)random() % 6000);
            next = at[i] + extent[i];
            if (next > sizeof(memory))
                count = i;
        }
        for (unsigned i = 0; i < count; i++) {
            unsigned k = n % 2 ? i : count - 1 - i;
            add(at[k], size[k], extent[k], bytes[k], LOAD_SEGMENT);
        }
        check_pages();
    }
}

/* The whole shim is added, and it alone is measured, with its parameters in the first page. */
static void only_the_shim_is_extended(void **state)
{
    (void)state;
    struct td_page page = {.gfn = GFN(0)};
    unsigned shim_pages = 0, others = 0;
    good();
    for (; td_next_page(&plan, &page); page.gfn.v++) {
        uint64_t gpa = page.gfn.v << 12;
        assert_int_equal(page.extend, gpa >= GUEST_SHIM);
        others += !page.extend;
        if (!page.extend)
            continue;
        assert_int_equal(gpa, GUEST_SHIM + 4096 * shim_pages++);
        if (gpa != GUEST_SHIM_PARAMETERS) {
            assert_memory_equal(page.content, shim_image + (gpa - GUEST_SHIM), 4096);
            continue;
        }
        uint8_t zeros[4096] = {0};
        assert_memory_equal(page.content, &plan.shim, sizeof(plan.shim));
        assert_memory_equal((const uint8_t *)page.content + sizeof(plan.shim), zeros,
                            4096 - sizeof(plan.shim));
    }
    assert_int_equal(shim_pages, 16);
    /* Boot parameters, ACPI tables, kernel, initrd. */
    assert_int_equal(others, 5 + 1 + 3 + 1);
}

/* The shim's image: a jump at the reset vector, an empty mailbox, and the parameters' page, which
 * the loader fills. */
static void the_image_of_the_shim(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 0x4000; i++)
        assert_int_equal(shim_image[i], 0);
    const uint8_t *reset = shim_image + 0xfff0;
    int32_t to = 0;
    assert_true(reset[0] == 0xe9 || reset[0] == 0xeb);
    memcpy(&to, reset + 1, reset[0] == 0xe9 ? 4 : 1);
    int64_t target = 0xfff0 + (reset[0] == 0xe9 ? 5 + to : 2 + (int8_t)to);
    assert_in_range(target, 0xe000, 0xffff);
    assert_memory_equal(shim_image + target, "\x89\xcf", 2); /* movl %ecx, %edi */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(all_private_memory_is_listed, setup),
        cmocka_unit_test_setup(what_is_measured, setup),
        cmocka_unit_test_setup(the_memory_map_has_the_shim, setup),
        cmocka_unit_test_setup(the_kernel_accepts_the_rest, setup),
        cmocka_unit_test_setup(other_programs_are_refused, setup),
        cmocka_unit_test_setup(a_header_of_multiboot_is_ignored, setup),
        cmocka_unit_test_setup(records_become_pages, setup),
        cmocka_unit_test_setup(only_the_shim_is_extended, setup),
        cmocka_unit_test_setup(the_image_of_the_shim, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
