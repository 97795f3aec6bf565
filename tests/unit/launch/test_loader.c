/* SPDX-License-Identifier: MIT */
/* The loader of multiboot1 programs: what it puts where, and the message and code for every bad
 * file. Linux kernels are in test_linux_loader.c. */
#include "tests/unit/support.h"

#include "vm/layout.h"
#include "launch/loader.h"
#include "lib/errno.h"

#include <stdlib.h>
#include <string.h>

#define RAM     (4ull << 20)
#define FILE_AT 0x1000 /* of the segment's bytes in the file */

/* The guest's memory, and where it was written. */
static uint8_t memory[RAM];
static int write_error;
static uint64_t written;             /* by this piece */
static bool filled[RAM / PAGE_SIZE]; /* its pages that are as setup() fills them */

int guest_write(struct mmu *mmu, gpa_t gpa, const void *buffer, size_t size)
{
    (void)mmu;
    if (write_error)
        return write_error;
    assert_true(gpa.v <= RAM && size <= RAM - gpa.v);
    memcpy(memory + gpa.v, buffer, size);
    for (uint64_t page = gpa.v / PAGE_SIZE; page * PAGE_SIZE < gpa.v + size; page++)
        filled[page] = false;
    written += size;
    assert_true(written <= 32768);
    return 0;
}

/* A valid file, which each test changes. Values are written at their ELF32 offsets. */
static uint8_t file[0x2000];
static uint64_t file_size;
static const char *arguments;

static void put16(unsigned offset, uint16_t value)
{
    memcpy(file + offset, &value, 2);
}

static void put32(unsigned offset, uint32_t value)
{
    memcpy(file + offset, &value, 4);
}

#define HEADER_ENTRY 24
#define SEGMENT      52 /* the only program header */
#define MULTIBOOT    128

static enum guest_entry entry_word;

static int setup(void **state)
{
    (void)state;
    entry_word = GUEST_ENTRY_AUTO;
    support_reset();
    for (unsigned page = 0; page < RAM / PAGE_SIZE; page++)
        if (!filled[page])
            memset(memory + page * PAGE_SIZE, 0xee, PAGE_SIZE);
    memset(filled, true, sizeof(filled));
    memset(file, 0, sizeof(file));
    memcpy(file,
           "\x7f"
           "ELF\1\1\1",
           7);
    put16(16, 2); /* executable */
    put16(18, 3); /* 386 */
    put32(HEADER_ENTRY, 0x100000);
    put32(28, SEGMENT); /* program headers */
    put16(42, 32);
    put16(44, 1);
    put32(SEGMENT, 1); /* PT_LOAD */
    put32(SEGMENT + 4, FILE_AT);
    put32(SEGMENT + 12, 0x100000); /* physical */
    put32(SEGMENT + 16, 0x200);    /* in the file */
    put32(SEGMENT + 20, 0x1400);   /* in memory */
    put32(MULTIBOOT, 0x1badb002);
    put32(MULTIBOOT + 4, 3);
    put32(MULTIBOOT + 8, 0u - 0x1badb002u - 3);
    memset(file + FILE_AT, 0x77, 0x200);
    file_size = sizeof(file);
    arguments = "one two";
    write_error = 0;
    return 0;
}

static unsigned pieces;

static bool copy(struct vm *vm, const struct guest_image *image, struct guest_loading *loading,
                 enum exit_code *code)
{
    (void)vm;
    return plan_copy_piece(NULL, image, loading->plan, &loading->index, &loading->done, code);
}

static enum exit_code load_all(const struct guest_image *image, struct guest_start *start)
{
    struct guest_loading loading = {0};
    enum exit_code code = EXIT_OK;
    for (pieces = 1; !load_guest_piece(copy, NULL, image, &loading, start, &code); pieces++)
        written = 0;
    return code;
}

static enum exit_code load(struct guest_start *start)
{
    struct guest_image image = {
        .name = "g", .file = file, .size = file_size, .arguments = arguments, .entry = entry_word};
    guest_layout(RAM, image.ram);
    return load_all(&image, start);
}

static void good(void **state)
{
    (void)state;
    struct guest_start start;
    uint32_t info[17];
    assert_int_equal(load(&start), EXIT_OK);
    assert_string_equal(support_log(), "");
    assert_int_equal(start.entry, 0x100000);
    for (unsigned i = 0; i < 0x1400; i++)
        assert_int_equal(memory[0x100000 + i], i < 0x200 ? 0x77 : 0);
    assert_int_equal(memory[0xfffff], 0xee);
    assert_int_equal(memory[0x101400], 0xee);

    assert_int_equal(start.info, 0x102000); /* the page after its end */
    memcpy(info, memory + start.info, sizeof(info));
    assert_int_equal(info[0], 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9);
    assert_int_equal(info[1], 640);
    assert_int_equal(info[2], (RAM >> 10) - 1024);
    assert_string_equal((char *)memory + info[4], "g one two");
    assert_string_equal((char *)memory + info[16], "eptvisor");
    /* The memory map: entries of 20 bytes, each preceded by its size. */
    assert_int_equal(info[11] % 24, 0);
    uint32_t entry[6];
    memcpy(entry, memory + info[12] + info[11] - 24, sizeof(entry));
    assert_int_equal(entry[0], 20);
    assert_int_equal(entry[1], 0x100000);
    assert_int_equal(entry[3], RAM - 0x100000);
    assert_int_equal(entry[5], 1);
}

static void expect(enum exit_code code, const char *message)
{
    struct guest_start start;
    assert_int_equal(load(&start), code);
    if (!strstr(support_log(), message))
        fail_msg("expected \"%s\", got \"%s\"", message, support_log());
    setup(NULL);
}

/* N135. What is no program at all is refused as that. */
static void entry_points_of_others(void **state)
{
    (void)state;
    entry_word = GUEST_ENTRY_PVH;
    expect(EXIT_MODULE_WORDS, "guest g: entry=pvh, but a multiboot program has no PVH entry point");
    entry_word = GUEST_ENTRY_PVH;
    file[0] = '#';
    expect(EXIT_MODULE_NOT_ELF, "guest g: not an ELF file");
}

static void bad_files(void **state)
{
    (void)state;
    file_size = 0;
    expect(EXIT_MODULE_EMPTY, "guest g: the module is empty");
    file_size = 40;
    expect(EXIT_MODULE_TRUNCATED, "guest g: the ELF header needs 52 bytes; the module has 40");
    file[0] = '#';
    expect(EXIT_MODULE_NOT_ELF, "guest g: not an ELF file");
    file_size = 3, file[1] = 'X';
    expect(EXIT_MODULE_NOT_ELF, "guest g: not an ELF file");
    file[4] = 2;
    expect(EXIT_MODULE_NOT_ELF, "guest g: ELF class 2, type 2, machine 3; expected 1, 2, 3 (an "
                                "ELF32 executable for the 386) or 2, 2, 62");
    file[4] = 3;
    expect(EXIT_MODULE_NOT_ELF, "guest g: ELF class 3, type 2, machine 3; expected 1, 2, 3");
    file[5] = 2;
    expect(EXIT_MODULE_NOT_ELF, "guest g: ELF data encoding 2; expected 1, little-endian");
    put16(18, 62);
    expect(EXIT_MODULE_NOT_ELF, "ELF class 1, type 2, machine 62");
    put16(44, 17);
    expect(EXIT_MODULE_NOT_ELF, "17 program headers of 32 bytes; at most 16 of 32 are supported");
    put32(28, sizeof(file) - 31);
    expect(EXIT_MODULE_TRUNCATED, "the program headers end beyond the module's 8192 bytes");
    put32(28, 0xfffffff0);
    expect(EXIT_MODULE_TRUNCATED, "the program headers end beyond");
    put32(MULTIBOOT + 8, 0);
    expect(EXIT_MODULE_NOT_ELF,
           "no multiboot1 header in its first 8192 bytes; a Linux kernel has to be a 64-bit one");
    put32(MULTIBOOT + 4, 8), put32(MULTIBOOT + 8, 0u - 0x1badb002u - 8);
    expect(EXIT_MODULE_NOT_ELF,
           "its multiboot1 header requires flags 0x8, which are not supported");
    put32(SEGMENT + 4, sizeof(file) - 0x1ff);
    expect(EXIT_MODULE_TRUNCATED,
           "a segment needs bytes 0x1e01 to 0x2001 of the file, which ends at 0x2000");
    put32(SEGMENT + 4, 0xffffff00);
    expect(EXIT_MODULE_TRUNCATED, "a segment needs bytes 0xffffff00 to 0x100000100 of the file");
    put32(SEGMENT + 16, 0x1401), put32(SEGMENT + 4, 0);
    expect(EXIT_MODULE_NOT_ELF, "a segment has 0x1401 bytes in the file but only 0x1400 in memory");
    put32(HEADER_ENTRY, 0xa0000);
    expect(EXIT_MODULE_NOT_ELF, "its entry point 0xa0000 is not in its RAM");
    put16(44, 0);
    expect(EXIT_MODULE_NOT_ELF, "its entry point 0x100000 is not in its RAM");
}

static void no_room(void **state)
{
    (void)state;
    static char many[1100];
    put32(SEGMENT + 20, (uint32_t)RAM);
    expect(EXIT_GUEST_TOO_LARGE, "its segment 0x100000 to 0x500000 does not fit into its RAM, "
                                 "which ends at 0x400000; give it more with mem=");
    put32(SEGMENT + 12, 0x9fc00);
    expect(EXIT_GUEST_TOO_LARGE, "its segment 0x9fc00 to 0xa1000");
    put32(SEGMENT + 12, 0xffffff00);
    expect(EXIT_GUEST_TOO_LARGE, "its segment 0xffffff00 to 0x100001300");
    put32(SEGMENT + 20, (uint32_t)RAM - 0x100000);
    expect(EXIT_GUEST_TOO_LARGE, "no room for the multiboot information after its end at 0x400000");
    memset(many, 'a', sizeof(many) - 1);
    arguments = many;
    expect(EXIT_MODULE_WORDS, "its command line has 1101 characters; at most 1023 are supported");
    write_error = -ENOMEM;
    expect(EXIT_NO_MEMORY, "no host memory for its segment at 0x100000 (error -12)");
}

/* Files that a guest gets as modules lie after the information, each on pages of its own. */
static void own_modules(void **state)
{
    (void)state;
    struct guest_start start;
    struct guest_image image = {
        .name = "g",
        .file = file,
        .size = file_size,
        .arguments = "",
        .modules = {{"abc", 3, GUEST_MODULE_FILE, "env"}, {"defg", 4, GUEST_MODULE_INITRD, "two"}},
        .module_count = 2};
    uint32_t info[17], entries[8];

    guest_layout(RAM, image.ram);
    assert_int_equal(load_all(&image, &start), EXIT_OK);
    memcpy(info, memory + start.info, sizeof(info));
    assert_int_equal(info[5], 2);
    memcpy(entries, memory + info[6], sizeof(entries));
    for (unsigned i = 0; i < 2; i++) {
        const uint32_t *entry = entries + 4 * i;
        assert_int_equal(entry[0] % 4096, 0);
        assert_int_equal(entry[1] - entry[0], image.modules[i].size);
        assert_memory_equal(memory + entry[0], image.modules[i].file, image.modules[i].size);
        assert_string_equal((char *)memory + entry[2], image.modules[i].string);
    }
    assert_true(entries[4] > entries[1]);

    image.modules[0].size = RAM;
    assert_int_equal(load_all(&image, &start), EXIT_GUEST_TOO_LARGE);
    assert_non_null(strstr(support_log(), "guest g: no room for its module env of 4194304 bytes"));
}

static void put_segment(unsigned index, uint32_t base, uint32_t size)
{
    const uint32_t segment[8] = {1, FILE_AT, 0, base, size < 16 ? size : 16, size, 7, 0x1000};
    memcpy(file + 0x100 + index * sizeof(segment), segment, sizeof(segment));
    put32(28, 0x100);
    put16(44, (uint16_t)(index + 1));
}

/* The plan has room for all segments and modules that a guest can have. */
static void the_largest_plan(void **state)
{
    (void)state;
    struct guest_start start;
    struct guest_image image = {.name = "g",
                                .file = file,
                                .size = file_size,
                                .arguments = "",
                                .module_count = GUEST_MODULES};
    uint32_t info[17];
    for (unsigned i = 0; i < 16; i++)
        put_segment(i, 0x100000 + i * 0x2000, 0x1000);
    for (unsigned i = 0; i < GUEST_MODULES; i++)
        image.modules[i] = (struct guest_module){"abc", 3, GUEST_MODULE_FILE, "env"};
    guest_layout(RAM, image.ram);
    assert_int_equal(load_all(&image, &start), EXIT_OK);
    memcpy(info, memory + start.info, sizeof(info));
    assert_int_equal(info[5], GUEST_MODULES);
}

/* Every pair of segments that overlap, by one byte or wholly, is refused in either order. Segments
 * that only touch, that are empty, or that are not loaded do not overlap. */
static void segments_may_not_overlap(void **state)
{
    (void)state;
    struct guest_start start;
    static const struct {
        uint32_t base, size;
        const char *message;
    } rows[] = {
        {0x110fff, 1, "its segments 1, 0x110000 to 0x111000, and 2, 0x110fff to 0x111000, overlap"},
        {0x10ffff, 2, "its segments 1, 0x110000 to 0x111000, and 2, 0x10ffff to 0x110001, overlap"},
        {0x100000, 1, "its segments 0, 0x100000 to 0x101000, and 2, 0x100000 to 0x100001, overlap"},
        {0xf0000, 0x11000, "its segments 0, 0x100000 to 0x101000, and 2, 0xf0000 to 0x101000"},
        {0xfffff, 0xfffff001,
         "its segments 0, 0x100000 to 0x101000, and 2, 0xfffff to 0x1000ff000"},
        {0x101000, 0xf000, NULL},
        {0x111000, 0x1000, NULL},
        {0x110800, 0, NULL},
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        put_segment(0, 0x100000, 0x1000);
        put_segment(1, 0x110000, 0x1000);
        put_segment(2, rows[i].base, rows[i].size);
        if (rows[i].message) {
            assert_int_equal(load(&start), EXIT_MODULE_NOT_ELF);
            assert_non_null(strstr(support_log(), rows[i].message));
            assert_int_equal(memory[0x100000], 0xee); /* nothing was loaded */
        } else {
            assert_int_equal(load(&start), EXIT_OK);
        }
        setup(NULL);
    }
    put_segment(0, 0x100000, 0x1000);
    put_segment(1, 0x100000, 0x1000);
    put32(0x100 + 32, 4); /* a note */
    assert_int_equal(load(&start), EXIT_OK);
}

/* Of a file that is cut off at any length, no byte beyond the end is read; ASan checks this. */
static void cut_off_anywhere(void **state)
{
    (void)state;
    struct guest_start start;
    for (uint64_t size = 0; size < FILE_AT + 0x200; size += size < 200 ? 1 : 61) {
        uint8_t *copy = malloc(size ? size : 1);
        memcpy(copy, file, size);
        struct guest_image image = {.name = "g", .file = copy, .size = size, .arguments = ""};
        guest_layout(RAM, image.ram);
        assert_int_not_equal(load_all(&image, &start), EXIT_OK);
        free(copy);
    }
}

/* A hostile file: the loader returns, whichever single byte of the headers is changed. */
static void every_byte(void **state)
{
    (void)state;
    struct guest_start start;
    for (unsigned at = 0; at < MULTIBOOT + 12; at++) {
        for (unsigned value = 0; value < 256; value += 5) {
            setup(NULL);
            file[at] = (uint8_t)value;
            (void)!load(&start);
        }
    }
}

static void layout(void **state)
{
    (void)state;
    struct guest_range ram[GUEST_RAM_PIECES];
    guest_layout(8ull << 30, ram);
    assert_int_equal(ram[0].size, 0xa0000);
    assert_int_equal(ram[1].base.v, 0x100000);
    assert_int_equal(ram[1].base.v + ram[1].size, 0xc0000000);
    assert_int_equal(ram[2].base.v, 0x100000000);
    assert_int_equal(ram[2].size, 5ull << 30);
    guest_layout(2ull << 20, ram);
    assert_int_equal(ram[1].size, 1 << 20);
    assert_int_equal(ram[2].size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(good, setup),
        cmocka_unit_test_setup(entry_points_of_others, setup),
        cmocka_unit_test_setup(bad_files, setup),
        cmocka_unit_test_setup(own_modules, setup),
        cmocka_unit_test_setup(no_room, setup),
        cmocka_unit_test_setup(the_largest_plan, setup),
        cmocka_unit_test_setup(segments_may_not_overlap, setup),
        cmocka_unit_test_setup(cut_off_anywhere, setup),
        cmocka_unit_test_setup(every_byte, setup),
        cmocka_unit_test_setup(layout, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
