/* SPDX-License-Identifier: MIT */
#include "tests/unit/launch/linux_world.h"

#include <stdlib.h>

uint8_t file[0x4000];
struct load_plan plan;
struct guest_image image;

void world_reset(void)
{
    support_reset();
    memset(file, 0, sizeof(file));
    memset(&plan, 0xee, sizeof(plan));
    image = (struct guest_image){
        .name = "g", .file = file, .size = sizeof(file), .arguments = "console=ttyS0 quiet"};
    image.modules[0] = (struct guest_module){INITRD, sizeof(INITRD), GUEST_MODULE_INITRD, "rd"};
    image.module_count = 1;
    guest_layout(RAM, image.ram);
}

void put(uint64_t offset, uint64_t value, size_t size)
{
    memcpy(file + offset, &value, size);
}

void put_bzimage(void)
{
    world_reset();
    put(SETUP_SECTS, 4, 1);
    put(SYSSIZE, KERNEL / 16, 4);
    put(BOOT_FLAG, 0xaa55, 2);
    put(JUMP, 0x6aeb, 2);
    memcpy(file + HDRS, "HdrS", 4);
    put(VERSION, 0x20f, 2);
    put(LOADFLAGS, 1, 1);
    put(INITRD_ADDR_MAX, 0x7fffffff, 4);
    put(ALIGNMENT, 2 * MIB, 4);
    put(RELOCATABLE, 1, 1);
    put(XLOADFLAGS, 0x7f, 2);
    put(CMDLINE_SIZE, 2047, 4);
    put(PREF_ADDRESS, PREFERRED, 8);
    put(INIT_SIZE, NEEDS, 4);
    memset(file + SETUP, 0x77, KERNEL);
    image.size = SETUP + KERNEL;
}

uint64_t get(const void *from, uint64_t offset, size_t size)
{
    uint64_t value = 0;
    memcpy(&value, (const uint8_t *)from + offset, size);
    return value;
}

const struct load_record *record(enum load_kind kind)
{
    const struct load_record *found = NULL;
    for (unsigned i = 0; i < plan.count; i++) {
        if (plan.records[i].kind == kind) {
            assert_null(found);
            found = &plan.records[i];
        }
    }
    assert_non_null(found);
    return found;
}

/* Checks that each record lies where its kind belongs, and overlaps no other record. */
void check_records(void)
{
    for (unsigned i = 0; i < plan.count; i++) {
        const struct load_record *a = &plan.records[i];
        assert_true(a->size <= a->extent);
        bool firmware = a->kind == LOAD_FIRMWARE || a->kind == LOAD_RESET;
        if (firmware)
            assert_true(a->gpa >= GUEST_BIOS && a->gpa + a->extent <= GUEST_MIDDLE);
        else if (a->kind == LOAD_SHIM)
            assert_true(a->gpa >= GUEST_SHIM && a->gpa + a->extent <= GUEST_HIGH);
        else
            assert_true(image_in_ram(&image, a->gpa, a->extent));
        assert_int_equal(a->measured, !firmware);
        for (unsigned j = 0; j < i; j++) {
            const struct load_record *b = &plan.records[j];
            assert_true(a->gpa >= b->gpa + b->extent || b->gpa >= a->gpa + a->extent);
        }
    }
}

void good(void)
{
    if (load_plan(&plan, &image) != EXIT_OK)
        fail_msg("%s", support_log());
    assert_string_equal(support_log(), "");
    check_records();
}

void refused(enum exit_code code, const char *message)
{
    enum exit_code got = load_plan(&plan, &image);
    if (!strstr(support_log(), message))
        fail_msg("expected \"%s\", got \"%s\"", message, support_log());
    assert_int_equal(got, code);
}

/* Checks an E820 map: it has at most 16 entries, which ascend and do not overlap. */
void check_e820(const uint8_t *entries, unsigned count, unsigned stride)
{
    uint64_t end = 0, ram = 0;
    assert_in_range(count, 3, 16);
    for (unsigned i = 0; i < count; i++, entries += stride) {
        assert_true(get(entries, 0, 8) >= end);
        end = get(entries, 0, 8) + get(entries, 8, 8);
        ram += get(entries, 16, 4) == 1 ? get(entries, 8, 8) : 0;
    }
    assert_int_equal(ram, RAM - 384 * 1024);
}

/* Walks the initial page tables as a CPU does, for an address below 1 GiB. */
static uint64_t translate(uint64_t address)
{
    const struct load_record *block = record(LOAD_PARAMETERS);
    uint64_t table = plan.start.tables;
    for (unsigned shift = 39; shift > 12; shift -= 9) {
        assert_true(table >= block->gpa && table + 4096 <= block->gpa + block->size);
        uint64_t entry = get(block->bytes, table - block->gpa + (address >> shift & 511) * 8, 8);
        assert_int_equal(entry & 3, 3);
        if (entry & 0x80)
            return (entry & ~0xfffull) + (address & ((1ull << shift) - 1));
        table = entry & ~0xfffull;
    }
    fail_msg("no leaf");
    return 0;
}

/* Boot.rst, "64-bit boot protocol": the state and the memory at the entry point. */
void check_start(uint64_t entry)
{
    const struct load_record *block = record(LOAD_PARAMETERS);
    assert_true(plan.start.long_mode);
    assert_int_equal(plan.start.entry, entry);
    assert_int_equal(plan.start.info, BLOCK);
    assert_int_equal(block->gpa, BLOCK);
    for (uint64_t at = 0; at < 1ull << 30; at += 0x1fffff)
        assert_int_equal(translate(at), at);
    /* __BOOT_CS is code of 64 bits, __BOOT_DS is data, both flat. */
    const uint8_t *gdt = (const uint8_t *)block->bytes + plan.start.gdt - BLOCK;
    assert_int_equal(get(gdt, 0x10, 8), 0xaf9b000000ffff);
    assert_int_equal(get(gdt, 0x18, 8), 0xcf93000000ffff);
}

void check_zero_page(const uint8_t *zero_page)
{
    const struct load_record *initrd = record(LOAD_INITRD);
    assert_int_equal(get(zero_page, 0x70, 8), GUEST_FIRMWARE);
    assert_int_equal(zero_page[0x1ef], 0); /* the sentinel */
    check_e820(zero_page + 0x2d0, zero_page[0x1e8], 20);
    assert_int_equal(get(zero_page, BOOT_FLAG, 2), 0xaa55);
    assert_memory_equal(zero_page + HDRS, "HdrS", 4);
    assert_int_equal(zero_page[LOADER_TYPE], 0xff);
    assert_int_equal(get(zero_page, RAMDISK_IMAGE, 4), initrd->gpa);
    assert_int_equal(get(zero_page, RAMDISK_SIZE, 4), sizeof(INITRD));
    const uint8_t *line = zero_page + get(zero_page, CMD_LINE_PTR, 4) - BLOCK;
    assert_string_equal((const char *)line, "console=ttyS0 quiet");
}

/* Loads the file cut off at any length, and with any byte of its headers changed. The loader must
 * return, must not read beyond the end, which ASan checks, and if it accepts the file, all records
 * must be valid. */
void check_spoilt(void (*make)(void))
{
    make();
    const uint64_t whole = image.size;
    for (uint64_t size = 0; size < whole; size += size < 0x300 ? 1 : 61) {
        make();
        uint8_t *copy = malloc(size ? size : 1);
        memcpy(copy, file, size);
        image.file = copy;
        image.size = size;
        if (load_plan(&plan, &image) == EXIT_OK)
            check_records();
        free(copy);
    }
    for (unsigned at = 0; at < 0x300; at++) {
        for (unsigned value = 0; value < 256; value += 3) {
            make();
            file[at] = (uint8_t)value;
            if (load_plan(&plan, &image) == EXIT_OK)
                check_records();
        }
    }
}
