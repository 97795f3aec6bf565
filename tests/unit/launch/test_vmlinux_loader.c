/* SPDX-License-Identifier: MIT */
/*
 * The loader of Linux kernels that are ELF files: by PVH, whose entry point is in a note, and by
 * the 64-bit entry point with a zero page; and the message and code for every bad file.
 */
#include "tests/unit/launch/linux_world.h"

/* These tests check the plan; no memory of a guest is written. */
int guest_write(struct mmu *mmu, gpa_t gpa, const void *buffer, size_t size)
{
    (void)mmu, (void)gpa, (void)buffer, (void)size;
    return 0;
}

#define PROGRAM_HEADERS 0x40
#define NOTES           0x200
#define TEXT            0x1000
#define ENTRY           0x1000040
#define PVH_ENTRY       0x1000100

static void put_segment(unsigned index, uint32_t type, uint64_t offset, uint64_t address,
                        uint64_t filled, uint64_t size)
{
    const uint64_t at = PROGRAM_HEADERS + index * 56;
    put(at, type, 4);
    put(at + 8, offset, 8);
    put(at + 16, 0xffffffff80000000 + address, 8);
    put(at + 24, address, 8);
    put(at + 32, filled, 8);
    put(at + 40, size, 8);
    put(56, index + 1, 2);
}

static void put_note(uint64_t at, const char *name, uint32_t type, uint32_t size, uint64_t value)
{
    put(at, strlen(name) + 1, 4);
    put(at + 4, size, 4);
    put(at + 8, type, 4);
    strcpy((char *)file + at + 12, name);
    put(at + 12 + ((strlen(name) + 4) & ~3u), value, 8);
}

static int setup(void **state)
{
    (void)state;
    world_reset();
    memcpy(file, "\177ELF\2\1\1", 7);
    put(16, 2, 2);
    put(18, 62, 2);
    put(24, ENTRY, 8);
    put(32, PROGRAM_HEADERS, 8);
    put(54, 56, 2);
    put_segment(0, 1, TEXT, 0x1000000, 0x1000, 0x1000);
    put_segment(1, 1, TEXT + 0x1000, 0x1200000, 0x800, 0x4000);
    put_segment(2, 4, NOTES, 0x1000800, 0x60, 0x60);
    put_note(NOTES, "GNU", 3, 20, 0);
    put_note(NOTES + 0x24, "Xen", 18, 8, PVH_ENTRY);
    return 0;
}

/* start_info.h, version 1. */
static void a_vmlinux_by_pvh(void **state)
{
    (void)state;
    for (unsigned forced = 0; forced < 2; forced++) {
        image.entry = forced ? GUEST_ENTRY_PVH : GUEST_ENTRY_AUTO;
        good();
        assert_int_equal(plan.count, 5);
        assert_int_equal(plan.records[1].gpa, 0x1200000);
        assert_int_equal(plan.records[1].size, 0x800);
        assert_int_equal(plan.records[1].extent, 0x4000);
        assert_false(plan.start.long_mode);
        assert_int_equal(plan.start.entry, PVH_ENTRY);
        const uint8_t *info = record(LOAD_PARAMETERS)->bytes;
        assert_int_equal(record(LOAD_PARAMETERS)->gpa, plan.start.info);
        assert_int_equal(get(info, 0, 4), 0x336ec578);
        assert_int_equal(get(info, 4, 4), 1);
        assert_int_equal(get(info, 12, 4), 1);
        const uint8_t *module = info + get(info, 16, 8) - plan.start.info;
        assert_int_equal(get(module, 0, 8), record(LOAD_INITRD)->gpa);
        assert_int_equal(get(module, 8, 8), sizeof(INITRD));
        const uint8_t *line = info + get(info, 24, 8) - plan.start.info;
        assert_string_equal((const char *)line, "console=ttyS0 quiet");
        assert_int_equal(get(info, 32, 8), GUEST_FIRMWARE);
        check_e820(info + get(info, 40, 8) - plan.start.info, (unsigned)get(info, 48, 4), 24);
    }
    image.module_count = 0;
    good();
    assert_int_equal(get(record(LOAD_PARAMETERS)->bytes, 12, 4), 0);
}

static void a_vmlinux_by_its_64_bit_entry(void **state)
{
    (void)state;
    for (unsigned without_note = 0; without_note < 2; without_note++) {
        image.entry = without_note ? GUEST_ENTRY_AUTO : GUEST_ENTRY_64;
        if (without_note)
            put(NOTES + 0x24 + 8, 17, 4);
        good();
        check_start(ENTRY);
        const uint8_t *zero_page = record(LOAD_PARAMETERS)->bytes;
        check_zero_page(zero_page);
        assert_true(get(zero_page, VERSION, 2) >= 0x20c);
        assert_true(zero_page[LOADFLAGS] & 1);
    }
}

/* Notes that are cut off anywhere, or that have another name, type or size. */
static void notes_that_are_none(void **state)
{
    (void)state;
    static const struct {
        uint64_t at, value;
        size_t size;
        bool good;
    } rows[] = {
        {NOTES + 0x24, 4, 4, true},
        {NOTES + 0x24, 5, 4, false},
        {NOTES + 0x24, ~0u, 4, false},
        {NOTES + 0x24 + 4, 4, 4, true},
        {NOTES + 0x24 + 4, 7, 4, false},
        {NOTES + 0x24 + 4, ~0u, 4, false},
        {NOTES + 0x24 + 8, 19, 4, false},
        {NOTES + 0x24 + 12, 'x', 1, false},
        {NOTES + 4, ~0u, 4, false},
        {NOTES, 0xfffffffd, 4, false},
        {PROGRAM_HEADERS + 2 * 56 + 32, 0x3b, 8, false}, /* the segment ends in the note */
        {PROGRAM_HEADERS + 2 * 56 + 32, 0x3c, 8, true},
        {PROGRAM_HEADERS + 2 * 56 + 32, ~0ull, 8, false},
        {PROGRAM_HEADERS + 2 * 56 + 8, sizeof(file) - 0x5f, 8, false},
        {PROGRAM_HEADERS + 2 * 56, 5, 4, false},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        setup(NULL);
        put(rows[i].at, rows[i].value, rows[i].size);
        good();
        assert_int_equal(plan.start.long_mode, !rows[i].good);
        image.entry = GUEST_ENTRY_PVH;
        if (!rows[i].good)
            refused(
                EXIT_MODULE_BAD_KERNEL,
                "entry=pvh, but the file has no ELF note with a PVH entry point; build the kernel "
                "with CONFIG_PVH, or leave the word out");
    }
}

static void bad_vmlinuxes(void **state)
{
    (void)state;
    static const struct {
        uint64_t at, value;
        size_t size;
        enum exit_code code;
        const char *message;
    } rows[] = {
        {18, 3, 2, EXIT_MODULE_NOT_ELF, "ELF class 2, type 2, machine 3; expected"},
        {16, 3, 2, EXIT_MODULE_NOT_ELF, "ELF class 2, type 3, machine 62; expected"},
        {54, 32, 2, EXIT_MODULE_NOT_ELF, "3 program headers of 32 bytes; at most 16 of 56"},
        {32, ~0ull - 8, 8, EXIT_MODULE_TRUNCATED, "the program headers end beyond"},
        {PROGRAM_HEADERS + 8, ~0ull, 8, EXIT_MODULE_TRUNCATED, "a segment needs bytes"},
        {PROGRAM_HEADERS + 24, ~0ull, 8, EXIT_GUEST_TOO_LARGE, "does not fit into its RAM"},
        {PROGRAM_HEADERS + 56 + 24, 0x10000, 8, EXIT_MODULE_NOT_ELF,
         "its segment, 0x10000 to 0x14000, and its boot parameters, 0x10000 to "},
        {NOTES + 0x24 + 16, 0xffffff, 8, EXIT_MODULE_BAD_KERNEL,
         "its entry point 0xffffff is not in its segments"},
        {NOTES + 0x24 + 16, 0x1204000, 8, EXIT_MODULE_BAD_KERNEL,
         "its entry point 0x1204000 is not in its segments"},
        {NOTES + 0x24 + 16, 0x101000000, 8, EXIT_MODULE_BAD_KERNEL,
         "its entry point 0x101000000 is not in its segments"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        setup(NULL);
        put(rows[i].at, rows[i].value, rows[i].size);
        refused(rows[i].code, rows[i].message);
    }
    setup(NULL);
    image.size = 63;
    refused(EXIT_MODULE_TRUNCATED, "the ELF header needs 64 bytes; the module has 63");
    setup(NULL);
    guest_layout(2048 * MIB, image.ram);
    put_segment(2, 1, TEXT, 1024 * MIB - 0x1000, 16, 0x1001);
    refused(EXIT_GUEST_TOO_LARGE,
            "its kernel ends at 0x40000001, but must end at or below 0x40000000");
    setup(NULL);
    guest_layout(2048 * MIB, image.ram);
    put_segment(2, 1, TEXT, 1024 * MIB - 0x1000, 16, 0x1000);
    good();
}

static void make(void)
{
    setup(NULL);
}

static void files_that_are_spoilt(void **state)
{
    (void)state;
    check_spoilt(make);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_vmlinux_by_pvh, setup),
        cmocka_unit_test_setup(a_vmlinux_by_its_64_bit_entry, setup),
        cmocka_unit_test_setup(notes_that_are_none, setup),
        cmocka_unit_test_setup(bad_vmlinuxes, setup),
        cmocka_unit_test_setup(files_that_are_spoilt, setup),
    };
    return cmocka_run_group_tests_name("vmlinux_loader", tests, NULL, NULL);
}
